"""``gold.data_balance`` follows its inputs by their logs: only what changed is counted again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from infra.stack.settings import Ports, Settings
from pipelines import contracts
from pipelines.io import balance_table, delta_upkeep
from pipelines.io.balance_inputs import changed_hours
from pipelines.io.balance_table import BalanceTable
from pipelines.io.delta import Move, open_store
from pipelines.tables.data_balance import BRONZE

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
GRACE = timedelta(minutes=15)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(tmp_path, Ports(20_000))


def put(settings: Settings, name: str, *places: tuple[int, int]) -> None:
    """Rows at (offset, minute after nine) of raw.app/0, by one commit."""
    table = contracts.table(name)
    schema = contracts.arrow_schema(table)
    store = open_store(settings.table_path(name), schema, table.partition_by, name=name, description="")
    columns = {
        "raw_topic": ["raw.app"] * len(places),
        "raw_partition": [0] * len(places),
        "raw_offset": [offset for offset, _ in places],
        "received_at": [NINE + timedelta(minutes=minute) for _, minute in places],
        "received_date": [NINE.date()] * len(places),
    }
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(len(places), f.type) for f in schema]
    before = store.positions(["c/t/0"]).get("c/t/0")
    store.append(pa.table(arrays, schema=schema), {"c/t/0": Move(before, (before or 0) + 1)})


def by_hour(rows: pa.Table) -> dict[int, tuple]:
    return {r["hour_at"].hour: (r["received"], r["kept"], r["missing"], r["closed"]) for r in rows.to_pylist()}


def test_only_hours_with_new_rows_are_counted_again(settings):
    put(settings, BRONZE, (0, 1), (1, 61))
    put(settings, "silver.interactions", (0, 1))
    balance = BalanceTable(settings, grace=GRACE)
    assert by_hour(balance.turn(None)) == {9: (1, 1, 0, False), 10: (1, 0, 1, False)}
    put(settings, "silver.interactions", (1, 61))
    assert by_hour(balance.turn(None)) == {10: (1, 1, 0, False)}
    assert balance.turn(None).num_rows == 0
    assert by_hour(balance_table.read(settings)) == {9: (1, 1, 0, False), 10: (1, 1, 0, False)}


def test_a_new_process_goes_on_where_the_table_says(settings):
    put(settings, BRONZE, (0, 1))
    BalanceTable(settings, grace=GRACE).turn(None)
    assert BalanceTable(settings, grace=GRACE).turn(None).num_rows == 0


def test_an_hour_is_closed_without_new_rows_once_all_parts_passed_it(settings):
    put(settings, BRONZE, (0, 1))
    balance = BalanceTable(settings, grace=GRACE)
    balance.turn(None)
    assert by_hour(balance.turn(NINE + timedelta(minutes=76))) == {9: (1, 0, 1, True)}
    assert by_hour(balance_table.read(settings)) == {9: (1, 0, 1, True)}


def test_hours_between_the_changed_ones_stay_as_they_are(settings):
    put(settings, BRONZE, (0, 1), (1, 61), (2, 121))
    balance = BalanceTable(settings, grace=GRACE)
    balance.turn(None)
    put(settings, "silver.feedback", (0, 1))
    put(settings, "silver.feedback", (2, 121))
    assert set(by_hour(balance.turn(None))) == {9, 11}
    assert by_hour(balance_table.read(settings)) == {
        9: (1, 1, 0, False),
        10: (1, 0, 1, False),
        11: (1, 1, 0, False),
    }


def test_rearranged_files_change_no_hour_and_a_shortened_log_changes_all(settings):
    for offset in range(4):
        put(settings, BRONZE, (offset, 1 + 60 * (offset % 2)))
    path = settings.table_path(BRONZE)
    version = DeltaTable(path).version()
    keep = delta_upkeep.Upkeep(
        compact_at_files=2, small_file_bytes=1 << 20, round_bytes=1 << 22, rest_factor=0, checkpoint_every_commits=1,
        vacuum_retention_hours=1,
    )  # fmt: skip
    assert delta_upkeep.compact(path, keep) == 4
    assert changed_hours(path, version) == (set(), version + 1)
    DeltaTable(path).create_checkpoint()
    for log in (path / "_delta_log").glob("*.json"):
        if int(log.stem) <= version:
            log.unlink()
    assert changed_hours(path, 1)[0] == {NINE, NINE + timedelta(hours=1)}


def test_nothing_came_in_yet(settings):
    assert BalanceTable(settings, grace=GRACE).turn(None).num_rows == 0
    assert balance_table.all_hours(settings) == set()
