"""The cardinality report on eleven records, counted by hand."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.identity.cardinality import offenders, report

ROWS = [
    ("crm/1", "ph1_a", "phone"),  # a: two CRM customers, contested
    ("crm/1", "un1_1", "unionid"),
    ("crm/2", "ph1_a", "phone"),
    ("crm/2", "mb1_2", "member"),
    ("s/1", "ph1_a", "phone"),
    ("s/1", "un1_1", "unionid"),  # 1: with one CRM customer, and with itself: not contested
    ("s/2", "ph1_b", "phone"),  # b: two unionids, contested
    ("s/2", "un1_1", "unionid"),
    ("s/3", "ph1_b", "phone"),
    ("s/3", "un1_2", "unionid"),
    ("s/4", "ph1_c", "phone"),
    ("s/5", "ph1_d", "phone"),
    *[(f"s/{n}", "ph1_hub", "phone") for n in (6, 7, 8, 9)],
    ("s/9", "ph1_hub", "phone"),  # the same fact again counts once
]
EVIDENCE = pl.DataFrame(ROWS, schema=["record_key", "token", "token_type"], orient="row")
LIMITS = {
    "unique_types": ["crm", "unionid"],
    "hub_records": 3,
    "max_hub_share": 0.5,
    "max_contested_share": 0.5,
    "min_tokens": 1,
}


def row(token_type, **limits):
    [found] = report(EVIDENCE, **(LIMITS | limits)).filter(pl.col("token_type") == token_type).to_dicts()
    return found


def test_phones_by_hand():
    """Five tokens with 3, 2, 1, 1 and 4 records; of the four that are no hub two have two owners."""
    assert row("phone") == {
        "token_type": "phone",
        "tokens": 5,
        "records": 11,
        "records_per_token_p50": 2,  # the third of 1, 1, 2, 3, 4
        "records_per_token_p99": 4,
        "records_per_token_max": 4,
        "tokens_per_record_p50": 1,
        "tokens_per_record_p99": 1,
        "tokens_per_record_max": 1,
        "contested_tokens": 2,
        "contested_share": 0.5,
        "hub_tokens": 1,
        "hub_share": 0.2,
        "verdict": "hubs",
        "reason": None,
    }


@pytest.mark.parametrize(
    ("token_type", "limits", "verdict", "reason"),
    [
        ("phone", {}, "hubs", None),  # both shares stand exactly at their limits or below: may link but for the hub
        ("phone", {"hub_records": 4}, "may_link", None),  # four records are not more than four
        ("phone", {"max_hub_share": 0.19}, "may_not_link", "1 of 5 tokens are hubs"),
        ("phone", {"max_contested_share": 0.49}, "may_not_link", "2 of 4 tokens have two owners, hubs left out"),
        ("phone", {"min_tokens": 6}, "may_not_link", "only 5 tokens, at least 6 are needed to judge"),
        # By CRM customers alone b is nobody's second: 1 of 4.
        ("phone", {"unique_types": ["crm"], "max_contested_share": 0.25}, "hubs", None),
        ("phone", {"unique_types": ["unionid"], "max_contested_share": 0.25}, "hubs", None),
        ("phone", {"hub_records": 0, "max_hub_share": 1.0}, "hubs", None),  # all are hubs: none left to be contested
        ("unionid", {"max_contested_share": 0.0}, "may_link", None),
        ("member", {"max_contested_share": 0.0}, "may_link", None),
    ],
)
def test_verdicts(token_type, limits, verdict, reason):
    found = row(token_type, **limits)
    assert (found["verdict"], found["reason"]) == (verdict, reason)


def test_a_record_may_hold_two_tokens_of_a_type():
    both = pl.concat([EVIDENCE, pl.DataFrame([("crm/1", "ph1_new", "phone")], schema=EVIDENCE.schema, orient="row")])
    [found] = report(both, **LIMITS).filter(pl.col("token_type") == "phone").to_dicts()
    assert (found["tokens_per_record_p50"], found["tokens_per_record_max"]) == (1, 2)


def test_the_worst_tokens_by_type():
    found = offenders(EVIDENCE, unique_types=["crm", "unionid"], top=2)
    assert found.rows() == [
        ("member", "mb1_2", 1, 1),
        ("phone", "ph1_hub", 4, 0),
        ("phone", "ph1_a", 3, 2),
        ("unionid", "un1_1", 3, 1),
        ("unionid", "un1_2", 1, 0),
    ]


FACTS = st.lists(
    st.tuples(
        st.sampled_from(["crm/1", "crm/2", "s/1", "s/2", "s/3"]),
        st.sampled_from([("ph1_a", "phone"), ("ph1_b", "phone"), ("un1_a", "unionid"), ("un1_b", "unionid")]),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(FACTS, st.integers(0, 4))
def test_shares_stay_shares_and_order_changes_nothing(facts, hub_records):
    rows = [(record, *token) for record, token in facts]
    evidence = pl.DataFrame(rows, schema=EVIDENCE.schema, orient="row")
    found = report(evidence, **(LIMITS | {"hub_records": hub_records}))
    assert found.equals(report(evidence.reverse(), **(LIMITS | {"hub_records": hub_records})))
    assert found["contested_share"].is_between(0, 1).all()
    assert found["hub_share"].is_between(0, 1).all()
    assert found["tokens"].sum() == evidence["token"].n_unique()
    assert (found["records_per_token_p50"] <= found["records_per_token_max"]).all()
