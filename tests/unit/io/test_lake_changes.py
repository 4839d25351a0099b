"""Which rows came, or may have moved, between two versions: what a build did not know of what it counted."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pytest
from deltalake import DeltaTable

from pipelines import contracts
from pipelines.io import lake_changes
from pipelines.io.lake_span import VersionGone
from pipelines.io.spark_delta import version_of
from pipelines.tables.current_rows import identifier_columns
from tests.unit.io.lake import AT, interaction, write

TABLES = ("silver.interactions", "silver.feedback", "silver.customers", "silver.orders", lake_changes.LINKS)
TOKENS = identifier_columns(contracts.policy("identity"))
UNTIL = AT + timedelta(days=1)
PHONES = [f"ph1_{n:032x}" for n in range(4)]


def link(token: str, customer: str | None, minutes: int) -> dict:
    return {"token": token, "token_type": "phone", "stretch": 0, "customer_id": customer, "link_rule": "attested",
            "valid_from_at": AT.replace(year=1970), "recorded_at": AT + timedelta(minutes=minutes)}  # fmt: skip


def crm(nth: int, phone: str, *, verified: bool, **columns) -> dict:
    return interaction(nth, channel="crm", received_at=AT, phone_token=phone, phone_verified=verified,
                       record_key=f"crm/{nth}", updated_at=AT, **columns)  # fmt: skip


@pytest.fixture
def lake(tmp_path):
    write(tmp_path, "silver.interactions", [
        interaction(1, source_message_id="m1", phone_token=PHONES[0]),
        interaction(2, phone_token=PHONES[1]),
        interaction(3, phone_token=PHONES[2]),
    ])  # fmt: skip
    write(tmp_path, "silver.customers", [crm(1, PHONES[1], verified=True), crm(2, PHONES[1], verified=False)])
    write(tmp_path, lake_changes.LINKS, [link(PHONES[1], "c1", 0), link(PHONES[2], "c2", 0)])
    return tmp_path


def versions(lake) -> dict[str, int | None]:
    return {name: version_of(lake.joinpath(*name.split("."))) for name in TABLES}


def touched(lake, before, tmp_path, tables=TABLES) -> set[tuple]:
    """(table, phone, fresh, late) of the rows touched since."""
    paths = {name: lake.joinpath(*name.split(".")) for name in tables}
    with duckdb.connect() as connection:
        found = lake_changes.touched(
            connection, paths, before, versions(lake), tokens=TOKENS, until=UNTIL, folder=tmp_path / "found"
        )
        if found is None:
            return set()
        rows = connection.read_parquet(str(found.rows))
        return set(rows.project("source_table, phone_token, fresh, late").fetchall())


def test_nothing_came_nothing_touched(lake, tmp_path):
    assert touched(lake, versions(lake), tmp_path) == set()
    assert touched(lake, versions(lake), tmp_path, tables=(lake_changes.LINKS,)) == set()


def test_a_late_message_and_what_an_edit_replaces(lake, tmp_path):
    before = versions(lake)
    write(lake, "silver.interactions", [
        interaction(4, phone_token=PHONES[3]),  # happened before, came now
        interaction(5, phone_token=PHONES[3], occurred_at=UNTIL),  # of the day after: no figure of the day knows it
        interaction(6, source_message_id="m1", source_revision=1, phone_token=PHONES[3]),  # row 1 edited, other number
    ])  # fmt: skip
    late = {("silver.interactions", PHONES[3], True, True), ("silver.interactions", PHONES[0], False, True)}
    assert touched(lake, before, tmp_path) == late
    DeltaTable(str(lake / "silver" / "interactions")).optimize.compact()
    assert touched(lake, before, tmp_path) == late, "rearranged files bring nothing"


def test_an_edit_dated_in_the_future_takes_away_what_it_replaces(lake, tmp_path):
    """The newest revision counts whenever it is dated: row 1 is in no view any more, its edit in none yet."""
    before = versions(lake)
    edit = interaction(4, source_message_id="m1", source_revision=1, occurred_at=UNTIL, phone_token=PHONES[3])
    write(lake, "silver.interactions", [edit])
    assert touched(lake, before, tmp_path) == {("silver.interactions", PHONES[0], False, True)}


def test_links_that_say_something_else_touch_who_carries_the_identifier(lake, tmp_path):
    before = versions(lake)
    write(lake, lake_changes.LINKS, [
        link(PHONES[1], "c9", 60),
        link(PHONES[2], "c2", 60),  # recorded anew, and the same
        link(PHONES[3], "c3", 60),  # nobody carries it
    ])  # fmt: skip
    assert touched(lake, before, tmp_path) == {
        ("silver.interactions", PHONES[1], False, False),
        ("silver.customers", PHONES[1], False, False),  # record 1; the number of record 2 was never verified
    }


def test_a_record_that_came_later_is_told_by_its_table(lake, tmp_path):
    before = versions(lake)
    write(lake, "silver.orders", [interaction(1, channel="orders", account="shop", order_id="o1")])
    assert touched(lake, before, tmp_path) == {("silver.orders", None, True, True)}


def test_the_links_of_all_identifiers_of_a_row_go_along(lake, tmp_path):
    before = versions(lake)
    write(lake, "silver.interactions", [interaction(4, phone_token=PHONES[1])])
    touched(lake, before, tmp_path)
    with duckdb.connect() as connection:
        links = connection.read_parquet(f"{tmp_path}/found/links.parquet").project("token, customer_id").fetchall()
    assert links == [(PHONES[1], "c1")]


def test_a_version_whose_files_are_gone_is_said(lake, tmp_path):
    before = versions(lake)
    table = DeltaTable(str(lake / "silver" / "identity_links"))
    table.delete("customer_id = 'c1'")  # as an erasure does, with the history after it
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(VersionGone, match=r"silver.identity_links: 1 files of an earlier version are gone"):
        touched(lake, before, tmp_path)


@pytest.mark.parametrize("table", ["silver.interactions", "silver.customers"])
def test_rows_taken_out_since_are_said(lake, tmp_path, table):
    """Whole files may go without another one coming, and their rows belonged to somebody."""
    write(lake, "silver.interactions", [interaction(9, phone_token=PHONES[3])])
    before = versions(lake)
    DeltaTable(str(lake.joinpath(*table.split(".")))).delete("raw_offset IN (9, 1)")
    with pytest.raises(VersionGone, match=rf"{table}: rows were taken out since, e.g. raw\.\w+/0/[19]"):
        touched(lake, before, tmp_path)
