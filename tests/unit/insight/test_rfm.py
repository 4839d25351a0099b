"""RFM worked by hand: the window's ends, ties, currencies, refunds, and what no shuffle may change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.insight import rfm

END = datetime(2026, 7, 1, tzinfo=UTC)
POLICY = contracts.policy("value_tiers")


def orders(*rows):
    """(customer, days before END, amount in fen[, currency])"""
    full = [(c, END - timedelta(days=d), amount, *(more or ("CNY",))) for c, d, amount, *more in rows]
    schema = {"customer_id": pl.String, "occurred_at": pl.Datetime("us", "UTC"), "amount_minor": pl.Int64}
    return pl.DataFrame(full, schema=schema | {"currency": pl.String}, orient="row")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", 180, 100)], ("a", 180, 1, 100, 0)),  # exactly the window's length back: inside
        ([("a", 180.001, 100)], ("a", None, 0, 0, 0)),  # a minute more: outside, but a customer who has ordered
        ([("a", 0, 100), ("a", 3, 50)], ("a", 3, 1, 50, 0)),  # at the period's end: of the next period
        ([("a", 1.9, 100)], ("a", 1, 1, 100, 0)),  # whole days, not rounded
        ([("a", 5, 100), ("a", 5, 100)], ("a", 5, 2, 200, 0)),  # two orders of one day are two
        ([("a", 5, 100), ("a", 1, 0)], ("a", 5, 1, 100, 0)),  # refunded to nothing: no order, not even a recent one
        ([("a", 5, 100), ("a", 1, 900, "USD")], ("a", 5, 1, 100, 1)),  # dollars are not added to yuan
    ],
)
def test_values_of_one_customer(rows, expected):
    found = rfm.customer_values(orders(*rows), period_end_at=END, window_days=180, currency="CNY")
    assert found.rows() == [expected]


def test_five_customers_one_in_each_fifth():
    """Money 10, 20, 30, 40, 50: the cuts are 10, 20, 30, 40 and each lies above one more of them."""
    rows = [(name, 10 * n, 10 * n) for n, name in enumerate("abcde", 1)]
    found = rfm.value_tiers(orders(*rows), POLICY, period_end_at=END)
    assert found["m_score"].to_list() == [1, 2, 3, 4, 5]
    assert found["r_score"].to_list() == [5, 4, 3, 2, 1]  # a ordered 10 days ago, e 50
    assert found["f_score"].to_list() == [1] * 5  # one order each: all tie at the bottom, nobody is frequent
    assert found["value_tier"].to_list() == ["low", "low", "middle", "middle", "high"]
    assert found["value_rule"].to_list() == ["m_score >= 1"] * 2 + ["m_score >= 3"] * 2 + ["m_score >= 5"]


def test_the_fourth_fifth_by_money_is_high_if_it_ordered_most_often():
    """Orders 1, 1, 1, 2, 1: the frequency cuts are 1, 1, 1, 1, so d scores 5; its 40 fen lie above three cuts."""
    rows = [("a", 5, 10), ("b", 4, 20), ("c", 3, 30), ("d", 9, 20), ("d", 8, 20), ("e", 2, 50)]
    found = rfm.value_tiers(orders(*rows), POLICY, period_end_at=END)
    assert dict(found.select("customer_id", "value_rule").rows())["d"] == "m_score >= 4 and f_score >= 5"


@pytest.mark.parametrize(
    ("customers", "cuts"),
    [
        (7, [20, 30, 50, 60]),  # 1.4, 2.8, 4.2, 5.6 customers: the next whole one each time
        (35, [70, 140, 210, 280]),  # exactly 7, 14, 21, 28; in binary 0.2 * 35 is a hair more than 7
        (1, [10, 10, 10, 10]),  # one customer is every fifth, and above none
    ],
)
def test_a_cut_is_the_first_value_that_reaches_its_share(customers, cuts):
    money = [10 * n for n in range(1, customers + 1)]
    values = pl.DataFrame({"recency_days": [1] * customers, "frequency": [1] * customers, "monetary_minor": money})
    assert rfm.cut_points(values, score_shares=POLICY["score_shares"])["m_score"] == cuts


def test_a_tie_over_a_cut_falls_on_one_side():
    """Four of five paid 10: the cuts are 10, 10, 10, 10, so those four score 1, and the fifth lies above all."""
    found = rfm.value_tiers(orders(*[(n, 1, 10) for n in "abcd"], ("e", 1, 11)), POLICY, period_end_at=END)
    assert found["m_score"].to_list() == [1, 1, 1, 1, 5]
    assert found["r_score"].to_list() == [1] * 5  # all on one day: nobody is more recent than another


def test_lapsed_unclassified_and_unknown_are_three_things():
    found = rfm.value_tiers(
        orders(("a", 200, 900), ("b", 3, 900, "USD"), (None, 3, 900), ("d", 3, 0)), POLICY, period_end_at=END
    )
    # Nobody's order and a customer whose only order was refunded have no row: nothing is known of their value.
    assert found.select("customer_id", "value_tier").rows() == [("a", "lapsed"), ("b", "unclassified")]


def test_no_orders_no_rows():
    assert len(rfm.value_tiers(orders(), POLICY, period_end_at=END)) == 0


ROWS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 220), st.integers(0, 500)), min_size=1, max_size=40
)


@given(rows=ROWS, chance=st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(rows, chance):
    once = rfm.value_tiers(orders(*rows), POLICY, period_end_at=END)
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert rfm.value_tiers(orders(*shuffled), POLICY, period_end_at=END).equals(once)


@given(rows=ROWS)
def test_more_money_never_has_a_lower_score_and_everybody_has_a_tier(rows):
    found = rfm.value_tiers(orders(*rows), POLICY, period_end_at=END)
    assert found["value_tier"].null_count() == found["value_rule"].null_count() == 0
    inside = found.filter(pl.col("frequency") > 0).sort("monetary_minor")
    assert inside["m_score"].is_sorted()
    assert set(inside["m_score"]) <= {1, 2, 3, 4, 5}
    assert inside.sort("recency_days", descending=True)["r_score"].is_sorted()


@given(rows=ROWS)
def test_high_value_customers_are_the_fewest_that_reach_the_share(rows):
    given_orders = orders(*rows)
    period = {"starts_at": END - timedelta(days=220), "ends_at": END, "currency": "CNY"}
    found = rfm.high_value_customers(given_orders, share=0.5, **period)
    paid = given_orders.filter(pl.col("occurred_at") < END).group_by("customer_id").agg(pl.col("amount_minor").sum())
    by = dict(paid.rows())
    total = sum(by.values())
    if total == 0:
        assert found == set()
        return
    assert 2 * sum(by[c] for c in found) >= total
    least = min(by[c] for c in found)
    assert 2 * sum(by[c] for c in found if by[c] > least) < total  # without those at the end it is not reached
    assert {c for c, amount in by.items() if amount >= least} == found
