"""The value tier in Spark's form and in the rule's own, on the same orders: equal to the row."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines import contracts
from pipelines.insight import rfm
from pipelines.tables import order_values

pytestmark = pytest.mark.spark
END = datetime(2026, 7, 1, tzinfo=UTC)
POLICY = contracts.policy("value_tiers")
COLUMNS = ["customer_id", *rfm.VALUES.values(), *rfm.VALUES, "value_tier", "value_rule"]


def _random(seed: int, customers: int) -> list[tuple]:
    """Small numbers, so that many tie; some outside the window, in dollars, or worth nothing."""
    chance = random.Random(seed)
    return [
        (
            f"c{chance.randrange(customers)}",
            END - timedelta(days=chance.randrange(-2, 260), seconds=chance.randrange(9)),
            100 * chance.randrange(6),
            chance.choice(["CNY"] * 5 + ["USD"]),
        )
        for _ in range(customers * 3)
    ]


ORDERS = {
    # 35 customers: 0.2 of them is 7.000000000000001 in binary, which would ask for the eighth
    "a fifth is a whole number": [(f"c{n:02d}", END - timedelta(days=n + 1), 100 * (n + 1), "CNY") for n in range(35)],
    "many ties": _random(1, 40),
    "more customers": _random(2, 300),
    "one customer": [("c", END - timedelta(microseconds=1), 100, "CNY"), ("c", END, 900, "CNY")],
    "nobody in the window": [("c", END - timedelta(days=181), 100, "CNY"), ("d", END - timedelta(days=1), 5, "USD")],
    "none": [],
}


@pytest.mark.parametrize("what", ORDERS)
def test_both_forms_agree(spark, what):
    schema = {"customer_id": pl.String, "occurred_at": pl.Datetime("us", "UTC"), "amount_minor": pl.Int64}
    ours = pl.DataFrame(ORDERS[what], schema=schema | {"currency": pl.String}, orient="row")
    by_rule = rfm.value_tiers(ours, POLICY, period_end_at=END).select(COLUMNS).sort("customer_id").rows()
    theirs = spark.createDataFrame(
        ORDERS[what], "customer_id string, occurred_at timestamp, amount_minor long, currency string"
    )
    found = order_values.build(theirs, as_of_at=END, policy=POLICY).select(COLUMNS)
    assert sorted(tuple(row) for row in found.collect()) == by_rule
