"""gold.customer_360 against worked cases: tests/cases/customer_360/<behaviour>/case.yaml says why each row is there."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from jobs.spark.sources import settled
from pipelines import contracts
from pipelines.identity.provisional import provisional_id
from pipelines.tables import customer_360
from pipelines.tables.current_rows import current_rows, provisional_name
from tests.spark.conftest import behaviours, load_case
from tests.spark.records import customer_records

pytestmark = pytest.mark.spark
IDENTITY = contracts.policy("identity")
AT = datetime(2026, 1, 5, tzinfo=UTC)


def _build(frame, case):
    rows = settled(
        current_rows(
            frame("silver.interactions", case.get("interactions", [])),
            frame("silver.feedback", [r | {"raw_partition": 1} for r in case.get("feedback", [])]),
            frame("silver.identity_links", case.get("links", [])),
            IDENTITY,
        ).select(*customer_360.COLUMNS)  # a large lake's build keeps no others
    )
    records = customer_records(frame, case)
    return customer_360.build(rows, *records, as_of_at=case["as_of_at"], policy=contracts.policy("gold")["contacts"])


@pytest.mark.parametrize("behaviour", behaviours("customer_360"))
def test_case(frame, behaviour):
    case = load_case("customer_360", behaviour)
    view = _build(frame, case)
    assert view.columns == [f.name for f in contracts.table(customer_360.TABLE).fields]
    found = {row["customer_id"]: row.asDict() for row in view.collect()}
    expected = {row["customer_id"]: row for row in case["expect"]}
    assert set(found) == set(expected)
    for customer, columns in expected.items():
        got = {name: _aware(found[customer][name]) for name in columns}
        assert got == columns
    for row in found.values():
        assert row["contacts"] == sum(row[f"contacts_{c}"] for c in customer_360.contact_channels())


def test_every_channel_of_contact_has_a_column_and_no_source_of_records():
    assert set(customer_360.contact_channels()) == set(contracts.field("channel").values) - {
        "ticket_system",
        "crm",
        "orders",
    }


def test_the_provisional_name_is_the_one_the_stream_gives(frame):
    rows = [
        {"occurred_at": AT, "phone_token": "ph1_" + "a" * 32, "unionid_token": "un1_" + "b" * 32},  # unionid names
        {"occurred_at": AT, "phone_token": "ph12_" + "0123456789abcdef" * 2},  # a key version of two digits
        {"occurred_at": AT, "national_id_token": "id1_" + "c" * 32},  # never names anybody
        {"occurred_at": AT},
    ]
    order = IDENTITY["provisional"]
    named = frame("silver.interactions", rows).select(provisional_name(order).alias("name")).collect()
    tokens = {kind: pl.Series([r.get(f"{kind}_token") for r in rows], dtype=pl.String) for kind in order}
    assert [row["name"] for row in named] == provisional_id(tokens, order).to_list()


def _aware(value):
    """Spark hands instants back in the process's zone, without saying so."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value
