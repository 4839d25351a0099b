"""gold.customer_360 against worked cases: tests/cases/customer_360/<behaviour>/case.yaml says why each row is there."""

from __future__ import annotations

import pytest

from pipelines import contracts
from pipelines.tables import customer_360
from pipelines.tables.current_rows import current_rows
from tests.spark.conftest import behaviours, load_case

pytestmark = pytest.mark.spark
PRECEDENCE = contracts.policy("identity")["precedence"]


def _build(frame, case):
    rows = current_rows(
        frame("silver.interactions", case.get("interactions", [])),
        frame("silver.feedback", [r | {"raw_partition": 1} for r in case.get("feedback", [])]),
        frame("silver.identity_links", case.get("links", [])),
        PRECEDENCE,
    )
    return customer_360.build(rows, as_of_at=case["as_of_at"], policy=contracts.policy("gold")["contacts"])


@pytest.mark.parametrize("behaviour", behaviours("customer_360"))
def test_case(frame, behaviour):
    case = load_case("customer_360", behaviour)
    found = {row["customer_id"]: row.asDict() for row in _build(frame, case).collect()}
    expected = {row["customer_id"]: row for row in case["expect"]}
    assert set(found) == set(expected)
    for customer, columns in expected.items():
        got = {name: _aware(found[customer][name]) for name in columns}
        assert got == columns


def test_columns_are_those_of_the_contract_and_the_channels_add_up(frame):
    case = load_case("customer_360", "one_customer_over_three_channels")
    view = _build(frame, case)
    assert view.columns == [f.name for f in contracts.table(customer_360.TABLE).fields]
    for row in view.collect():
        assert row["contacts"] == sum(row[f"contacts_{c}"] for c in customer_360.contact_channels())


def test_every_channel_of_the_contract_but_the_ticket_system_has_a_column():
    assert set(customer_360.contact_channels()) == set(contracts.field("channel").values) - {"ticket_system"}


def _aware(value):
    """Spark hands instants back in the process's zone, without saying so."""
    from datetime import UTC, datetime

    return value.astimezone(UTC) if isinstance(value, datetime) else value
