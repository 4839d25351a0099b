"""Whom a day concerns, and the rows an incremental build reads of them: enough to count them anew, and hardly more."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pytest

from pipelines import contracts
from pipelines.io import lake_changes, lake_slices
from pipelines.io.lake_changes import LINKS, Between
from pipelines.io.spark_delta import version_of
from pipelines.tables.current_rows import identifier_columns, token_columns
from tests.unit.io.lake import AT, interaction, write

IDENTITY = contracts.policy("identity")
TABLES = ("silver.interactions", "silver.feedback", "silver.customers", "silver.orders", LINKS)
UNTIL = AT + timedelta(days=1)
# They differ where a provisional name is cut from: in its 24 characters before the last eight.
PHONES = [f"ph1_{n:02x}{0:030x}" for n in range(6)]
UNIONIDS = [f"un1_{16 + n:02x}{0:030x}" for n in range(6)]


def named(token: str) -> str:
    """The provisional name a token gives: see pipelines.identity.provisional."""
    return f"p_{token[-32:][:24]}"


def link(token: str, customer: str | None, minutes: int) -> dict:
    return {"token": token, "token_type": "phone", "stretch": 0, "customer_id": customer, "link_rule": "attested",
            "valid_from_at": AT.replace(year=1970), "recorded_at": AT + timedelta(minutes=minutes)}  # fmt: skip


@pytest.fixture
def lake(tmp_path):
    write(tmp_path, "silver.interactions", [
        interaction(1, phone_token=PHONES[0], customer_id="c0"),
        interaction(2, phone_token=PHONES[1], customer_id="c1"),
        interaction(3, unionid_token=UNIONIDS[1], customer_id="c1"),
        interaction(4, phone_token=PHONES[2], customer_id=named(PHONES[2]), source_message_id="m4"),
        interaction(5, phone_token=PHONES[3], customer_id="c3", source_message_id="m5"),
    ])  # fmt: skip
    links = [link(PHONES[0], "c0", 0), link(PHONES[1], "c1", 0), link(UNIONIDS[1], "c1", 0), link(PHONES[3], "c3", 0)]
    write(tmp_path, LINKS, links)
    return tmp_path


def versions(lake) -> dict[str, int | None]:
    return {name: version_of(lake.joinpath(*name.split("."))) for name in TABLES}


def sliced(lake, before, tmp_path, also=()) -> tuple[set[str], set[int]] | None:
    """Customers concerned, and offsets of the messages they hang on."""
    paths = {name: lake.joinpath(*name.split(".")) for name in TABLES}
    with duckdb.connect() as connection:
        found = lake_changes.touched(
            connection, paths, before, versions(lake), tokens=identifier_columns(IDENTITY), until=UNTIL,
            folder=tmp_path / "found", also=also,
        )  # fmt: skip
        if found is None:
            return None
        made = lake_slices.write_slices(
            connection, paths, versions(lake), tokens=identifier_columns(IDENTITY),
            provisional=token_columns(IDENTITY["provisional"]), folder=tmp_path / "found",
        )  # fmt: skip
        customers = {row[0] for row in connection.read_parquet(str(made.customers)).fetchall()}
        rows = connection.read_parquet(str(made.tables["silver.interactions"])).project("raw_offset").fetchall()
    return customers, {row[0] for row in rows}


def test_a_new_message_brings_all_rows_of_its_customer_whatever_identifier_they_carry(lake, tmp_path):
    before = versions(lake)
    write(lake, "silver.interactions", [interaction(6, phone_token=PHONES[1], customer_id="c1")])
    assert sliced(lake, before, tmp_path) == ({"c1", named(PHONES[1])}, {2, 3, 6})


def test_a_merge_concerns_both_and_a_first_link_whoever_had_the_provisional_name(lake, tmp_path):
    before = versions(lake)
    write(lake, LINKS, [link(PHONES[1], "c0", 5), link(UNIONIDS[1], "c0", 5), link(PHONES[2], "c2", 5)])
    customers, rows = sliced(lake, before, tmp_path)
    assert {"c0", "c1", "c2", named(PHONES[2])} <= customers
    assert "c3" not in customers
    assert rows == {1, 2, 3, 4}


def test_an_edit_under_another_identifier_brings_the_message_it_replaces_and_its_customer(lake, tmp_path):
    before = versions(lake)
    edit = interaction(6, phone_token=PHONES[0], customer_id="c0", source_message_id="m5", source_revision=1)
    write(lake, "silver.interactions", [edit])
    customers, rows = sliced(lake, before, tmp_path)
    assert {"c0", "c3"} <= customers
    assert rows == {1, 5, 6}


def test_a_row_that_an_older_edit_of_somebody_else_replaced_still_is_replaced(lake, tmp_path):
    edit = interaction(6, phone_token=PHONES[0], customer_id="c0", source_message_id="m5", source_revision=1)
    write(lake, "silver.interactions", [edit])
    before = versions(lake)
    write(lake, "silver.interactions", [interaction(7, phone_token=PHONES[3], customer_id="c3")])
    customers, rows = sliced(lake, before, tmp_path)
    assert "c3" in customers
    assert "c0" not in customers
    assert {5, 6, 7} <= rows  # without 6, the message that c0 took over would count for c3 again


def test_what_replaces_a_message_may_lie_in_the_other_table(lake, tmp_path):
    """m5 was a message of c3 and is feedback of nobody since an edit: the slice of c3 has to know it."""
    edit = interaction(1, raw_topic="raw.edits", source_message_id="m5", source_revision=1, kind="feedback")
    write(lake, "silver.feedback", [edit])
    before = versions(lake)
    write(lake, "silver.interactions", [interaction(7, phone_token=PHONES[3], customer_id="c3")])
    sliced(lake, before, tmp_path)
    feedback = duckdb.read_parquet(str(tmp_path / "found" / "silver.feedback.parquet"))
    assert feedback.project("raw_topic, raw_offset").fetchall() == [("raw.edits", 1)]


def test_a_record_known_before_its_time_takes_itself_from_who_had_it_when_its_time_comes(lake, tmp_path):
    """o1 is c0's until noon and nobody's from then on; both rows were there when the build of ten o'clock looked."""
    at_ten, noon = AT + timedelta(hours=2), AT + timedelta(hours=4)
    order = {"channel": "orders", "account": "shop", "order_id": "o1"}
    write(lake, "silver.orders", [
        interaction(1, **order, updated_at=AT, phone_token=PHONES[0], customer_id="c0"),
        interaction(2, **order, updated_at=noon, occurred_at=noon, customer_id=None, identity_status="anonymous"),
    ])  # fmt: skip
    passed = Between("silver.orders", "occurred_at", at_ten, UNTIL)
    customers, rows = sliced(lake, versions(lake), tmp_path, also=[passed])
    assert "c0" in customers
    assert rows == {1}
    assert sliced(lake, versions(lake), tmp_path, also=[passed._replace(end_at=noon)]) is None


def test_who_enters_or_leaves_a_window_is_concerned_without_any_news(lake, tmp_path):
    later = AT + timedelta(hours=1)
    write(lake, "silver.interactions", [interaction(6, phone_token=PHONES[1], customer_id="c1", received_at=later)])
    window = Between("silver.interactions", "occurred_at", later, later + timedelta(minutes=1))
    assert sliced(lake, versions(lake), tmp_path, also=[window]) == ({"c1", named(PHONES[1])}, {2, 3, 6})
    past_its_end = window._replace(end_at=later)
    assert sliced(lake, versions(lake), tmp_path, also=[past_its_end]) is None


def test_no_news_no_slices(lake, tmp_path):
    assert sliced(lake, versions(lake), tmp_path) is None
