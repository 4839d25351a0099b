"""A planted defect of each kind, in each table of the lake: found, named, on its day and on no other."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import lake_days
from pipelines.quality import lake_gate
from pipelines.quality.checks import checks_of, lake_tables
from tests.unit.quality.defects import BUSINESS, identified, planted
from tests.unit.quality.lake import AT, DAY, SOUND, another_day

LAYERS = {contracts.table(name).layer for name in lake_tables()}


def write(settings: Settings, table: str, rows: list[dict]) -> None:
    """Rows as a writer that minds no contract would leave them: key columns may be NULL."""
    contract = contracts.table(table)
    schema = pa.schema([field.with_nullable(True) for field in contracts.arrow_schema(contract)])
    complete = [{name: row.get(name) for name in schema.names} for row in rows]
    path = settings.table_path(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pa.Table.from_pylist(complete, schema=schema)
    write_deltalake(str(path), frame, mode="append", partition_by=list(contract.partition_by) or None)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return Settings.load(home=tmp_path_factory.mktemp("home"), port_base=26900)


@pytest.fixture(scope="module")
def reports(settings) -> dict:
    """Each table with a sound row of another day, and on one day a sound row and all that is planted."""
    for table in lake_tables():
        rows = [identified(table, 0), *(row for _, row in planted(table))]
        if lake_days.has_days(table):
            later = AT.replace(day=another_day().day)
            moved = {name: later for name in ("received_at", "processed_at", "occurred_at") if name in SOUND[table]}
            rows.append(identified(table, 0) | moved | {"received_date": another_day()})
        write(settings, table, rows)
    parts = list(lake_gate.parts_of(settings, dict.fromkeys(lake_tables())))
    return {(report.table, report.day): report for report in lake_gate.judge(settings, parts, checked_at=AT)}


def test_every_table_of_the_lake_has_a_suite_and_all_layers_are_there():
    assert {"bronze", "silver", "gold", "quarantine", "review"} <= LAYERS
    assert all(checks_of(table) for table in lake_tables())
    assert set(SOUND) == set(lake_tables())


def test_every_business_check_has_a_row_made_by_hand_that_breaks_it():
    told = {table: {c.name for c in checks_of(table) if c.because} for table in lake_tables()}
    assert {table: set(rows) for table, rows in BUSINESS.items()} == {t: names for t, names in told.items() if names}


@pytest.mark.parametrize("table", lake_tables())
def test_each_planted_defect_is_found_on_its_row(reports, table):
    report = reports[table, DAY if lake_days.has_days(table) else None]
    found = {result.name: result for result in report.results}
    for check, row in planted(table):
        result = found[check.name]
        assert not result.passed, check.name
        assert result.bad_rows >= 1, check.name
        key = contracts.table(table).primary_key
        if all(row[name] is not None for name in key) and check.kind != "unique" and result.bad_rows <= 5:
            named = [tuple(map(str, one.values())) for one in json.loads(result.bad_sample)]
            assert any(str(row[key[-1]])[:10] in " ".join(one) for one in named), (check.name, named)


@pytest.mark.parametrize("table", [name for name in lake_tables() if lake_days.has_days(name)])
def test_another_day_passes(reports, table):
    report = reports[table, another_day()]
    assert report.checked_rows == 1
    assert [r.name for r in report.failures] == []


def test_sound_rows_break_nothing(settings, tmp_path):
    sound = dataclasses.replace(settings, home=tmp_path)
    for table in lake_tables():
        write(sound, table, [identified(table, n) for n in range(2)])
    parts = list(lake_gate.parts_of(sound, dict.fromkeys(lake_tables())))
    failures = [(r.table, f.name, f.because) for r in lake_gate.judge(sound, parts, checked_at=AT) for f in r.failures]
    assert failures == []
