"""The daily upkeep: what is broken is named and the rest is kept, builds and services go on beside it."""

from __future__ import annotations

import fcntl
import json
import re
import threading
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from jobs import cli
from pipelines import contracts
from pipelines.io import delta_upkeep, gold_lock, lake_upkeep
from pipelines.io.delta import Move, open_store
from pipelines.io.lake_upkeep import keep_lake
from tests.unit.io.lake import interaction, write

DAY, NOW = date(2026, 1, 6), datetime(2026, 1, 6, 3, tzinfo=UTC)


@pytest.fixture
def lake(settings):
    """silver.interactions in 30 files of one day (the policy merges from 24 on), gold.hot_questions in one."""
    for nth in range(30):
        write(settings.lake, "silver.interactions", [interaction(nth, customer_id="c1", text="怎么退货？")])
    write(settings.lake, "gold.hot_questions", [{"period_type": "day", "period_start_date": DAY, "question_id": "q1"}])
    return settings


def rows(settings, name: str) -> list[dict]:
    return DeltaTable(settings.table_path(name)).to_pyarrow_table().sort_by("raw_offset").to_pylist()


def files(settings, name: str) -> int:
    return len(DeltaTable(settings.table_path(name)).file_uris())


def run(*arguments: str):
    return CliRunner().invoke(cli.build(["maintain"]), ["maintain", *arguments])


def test_thirty_small_files_are_one_and_the_rows_are_the_same(lake):
    before = rows(lake, "silver.interactions")
    done = run("--json")
    assert done.exit_code == 0, done.output
    told = {one["table"]: one for one in json.loads(done.stdout)}
    assert (told["silver.interactions"]["files_merged"], told["silver.interactions"]["after"]["files"]) == (30, 1)
    assert rows(lake, "silver.interactions") == before
    assert told["gold.hot_questions"]["files_merged"] == 0


def test_a_second_run_changes_nothing(lake):
    run()
    there = {p: p.stat().st_mtime_ns for p in lake.lake.rglob("*") if p.is_file()}
    done = run("--json")
    assert [one["table"] for one in json.loads(done.stdout) if one["files_merged"] or one["checkpoint"]] == []
    assert {p: p.stat().st_mtime_ns for p in lake.lake.rglob("*") if p.is_file()} == there


@pytest.mark.parametrize("step", ["checkpoint", "vacuum", "retention"])
def test_one_step_does_that_step_only(lake, step):
    done = run("--step", step)
    assert done.exit_code == 0, done.output
    assert files(lake, "silver.interactions") == 30


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("missing", r"1 files that its log names are not there, e\.g\. .*\.parquet\. Bring them back from the backup"),
        # somebody's export: vacuum would delete it a week later
        ("foreign", r"export\.csv is no file of this table \(1 such\)\. Move it out of the lake"),
        ("log", r"gold\.hot_questions: its log can't be read"),
        ("vectors", r"gold\.hot_questions uses deletion vectors"),  # merging its files would bring deleted rows back
    ],
)
def test_a_table_that_is_not_whole_is_named_and_the_others_are_kept(lake, damage, says):
    path = lake.table_path("gold.hot_questions")
    if damage == "missing":
        next(path.glob("*.parquet")).unlink()
    elif damage == "foreign":
        (path / "export.csv").write_text("a,b\n")
    elif damage == "log":
        next((path / "_delta_log").glob("*0.json")).write_text("{not json")
    else:
        DeltaTable(path).alter.set_table_properties({"delta.enableDeletionVectors": "true"})
    done = run()
    assert done.exit_code == 1
    assert re.search(says, " ".join(done.output.split())), done.output
    assert files(lake, "silver.interactions") == 1
    if damage == "foreign":
        assert (path / "export.csv").exists()


def test_a_record_of_retention_that_cannot_be_written_stops_its_table_and_no_other(lake, monkeypatch):
    def broken(*_):
        raise ValueError("audit.retention: its log cannot be read")

    monkeypatch.setattr(lake_upkeep.retention, "limits", lambda: {"gold.hot_questions": 30})
    monkeypatch.setattr(lake_upkeep.retention, "record", broken)
    kept = {one.table: one for one in keep_lake(lake, today=DAY, now=NOW)}
    assert kept["gold.hot_questions"].error == "audit.retention: its log cannot be read"
    assert (kept["silver.interactions"].error, kept["silver.interactions"].files_merged) == ("", 30)


def test_a_table_without_a_contract_is_left_alone_and_said(lake):
    folder = lake.lake / "silver" / "of_somebody"
    write_deltalake(str(folder), pa.table({"a": [1]}))
    before = DeltaTable(folder).version()
    done = run()
    assert done.exit_code == 0
    assert "silver.of_somebody has no contract and was left alone" in done.output
    assert DeltaTable(folder).version() == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("silver.interaction", "no table 'silver.interaction' is declared"),
        ("serving.customer_360", "is a table of MariaDB"),
        ("silver.orders", "is not in .* yet"),
    ],
)
def test_a_table_that_cannot_be_kept_is_refused(lake, name, says):
    assert re.search(says, str(run("--table", name).exception))


def test_rows_that_come_in_while_files_are_merged_are_not_lost(lake, monkeypatch):
    """The tiering service commits between planning and commit of a merge: both stand."""
    contract = contracts.table("silver.interactions")
    schema = contracts.arrow_schema(contract)
    real = delta_upkeep.replace_files
    came = []

    def late(*args, **kwargs):
        store = open_store(
            lake.table_path("silver.interactions"), schema, contract.partition_by, name="", description=""
        )
        row = {k: interaction(100 + len(came)).get(k) for k in schema.names}
        store.append(pa.Table.from_pylist([row], schema=schema), {"c/t/0": Move(len(came) or None, len(came) + 1)})
        came.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(delta_upkeep, "replace_files", late)
    (kept,) = keep_lake(lake, tables=["silver.interactions"], today=DAY, now=NOW)
    assert kept.error == ""
    found = [r["raw_offset"] for r in rows(lake, "silver.interactions")]
    assert sorted(found) == [*range(30), *range(100, 100 + len(came))]


def test_gold_waits_for_a_build_and_a_build_for_it(lake):
    """A build replaces the files it saw; merged ones would stay beside its rows."""
    told, ended = [], threading.Event()

    def upkeep():
        list(keep_lake(lake, tables=["gold.hot_questions"], today=DAY, now=NOW, tell=told.append))
        ended.set()

    with gold_lock.building(lake.home):
        thread = threading.Thread(target=upkeep)
        thread.start()
        while len(told) < 2:
            assert not ended.wait(0.01)
        assert told[1] == "a gold build is at work; the upkeep waits for its end"
        assert not ended.is_set()
    thread.join()
    assert ended.is_set()


def test_the_balance_waits_while_its_table_is_kept(lake, monkeypatch):
    write(lake.lake, "gold.data_balance", [{"raw_topic": "raw.app", "hour_at": NOW}])
    held = []
    real = lake_upkeep._keep

    def looked_at(*args):
        with (lake.home / "gold.data_balance.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(False)
            except OSError:
                held.append(True)
        return real(*args)

    monkeypatch.setattr(lake_upkeep, "_keep", looked_at)
    list(keep_lake(lake, tables=["gold.data_balance"], today=DAY, now=NOW))
    assert held == [True]
