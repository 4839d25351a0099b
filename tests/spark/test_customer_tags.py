"""gold.customer_tags against worked cases: each row of tests/cases/customer_tags/*/case.yaml says why it is there."""

from __future__ import annotations

import pytest

from jobs.spark.sources import settled
from pipelines import contracts
from pipelines.tables import customer_360, customer_tags
from pipelines.tables.current_rows import current_rows
from tests.spark.conftest import behaviours, load_case
from tests.spark.records import IDENTITY, current_records

pytestmark = pytest.mark.spark
POLICIES = {name: contracts.policy(name) for name in ("customer_tags", "gold", "value_tiers")}


def _build(frame, case):
    rows = settled(
        current_rows(
            frame("silver.interactions", case.get("interactions", [])),
            frame("silver.feedback", [r | {"raw_partition": 1} for r in case.get("feedback", [])]),
            frame("silver.identity_links", case.get("links", [])),
            IDENTITY,
        )
    )
    at, policy = case["as_of_at"], POLICIES["gold"]["contacts"]
    base, orders, paid, values = current_records(frame, case)
    view = settled(customer_360.build(rows, base, orders, values, as_of_at=at, policy=policy))
    contacts = customer_360.known_contacts(rows, as_of_at=at, policy=policy)
    return customer_tags.build(view, contacts, paid, as_of_at=at, policies=POLICIES)


@pytest.mark.parametrize("behaviour", behaviours("customer_tags"))
def test_case(frame, behaviour):
    case = load_case("customer_tags", behaviour)
    built = _build(frame, case)
    assert built.columns == [f.name for f in contracts.table(customer_tags.TABLE).fields]
    found = {(row["customer_id"], row["tag"]): row for row in built.collect()}
    groups = {row["tag_group"] for row in case["expect"]}
    of_groups = {key: row["tag_value"] for key, row in found.items() if row["tag_group"] in groups}
    assert of_groups == {(row["customer_id"], row["tag"]): row["tag_value"] for row in case["expect"]}
    for row in case["expect"]:
        got = found[row["customer_id"], row["tag"]].asDict()
        assert {name: got[name] for name in row if name != "why"} == {n: v for n, v in row.items() if n != "why"}
