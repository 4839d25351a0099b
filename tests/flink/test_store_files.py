"""Five days of stores' files with every fault, through broker and job; a run killed, and everything delivered twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from typer.testing import CliRunner

from jobs import cli
from pipelines import contracts
from pipelines.io import balance_table
from pipelines.simulation.store_file_faults import SCENARIOS, world
from pipelines.simulation.store_files import Stores
from pipelines.simulation.store_visits import ROW_FAULTS
from tests.bench.scratch_stack import kefulake
from tests.bench.store_import import deliver_again, deliver_all
from tests.bench.store_import_check import Score, judge_rows
from tests.flink.conftest import tiering

OF_A_FILE = {
    "redelivered", "exported_anew", "corrected", "older_again", "half_workbook", "half_text", "cut_in_last_cell",
    "no_footer", "open_quote", "still_named_part", "never_completed", "given_up", "wrong_store", "mixed_stores",
    "undeclared_store", "wrong_day", "wrong_footer", "no_table", "shrunken",
}  # fmt: skip


@pytest.fixture
def lake(job):
    with tiering(job):
        yield job


def test_every_fault_is_found_nothing_else_touched_and_again_changes_nothing(lake):
    made = world(Stores(6, contracts.policy("store_import")["stores"], date(2026, 11, 20), 5, a_day=12), share=0.6)
    planted = {one.fault for one in made.files} | {row.fault for row in made.rows}
    assert planted >= OF_A_FILE | {fault.name for fault in ROW_FAULTS} | {"withdrawn"}
    assert len(SCENARIOS) == len(OF_A_FILE) - 2  # older_again and given_up are sequels
    score = Score()
    deliver_all(lake, made, score, kills=1, seed=6)
    kefulake("flush")
    judge_rows(score, made, lake.lake)
    assert (score.missed, score.false_alarms) == ([], [])
    assert score.found == score.planted
    assert balance(lake) == {"missing": 0, "twice": 0, "unknown": 0}
    assert deliver_again(lake, made) == []
    shows_file_and_line(made)


def balance(stack) -> dict[str, int]:
    """What does not balance in raw.store over all its hours, nothing flowing any more."""
    counted = balance_table.compute(
        stack, balance_table.all_hours(stack), passed_until=datetime(9999, 1, 1, tzinfo=UTC), grace=timedelta(0),
        memory_limit_mb=256, now=datetime.now(UTC),
    )  # fmt: skip
    lines = [line for line in counted.to_pylist() if line["raw_topic"] == "raw.store"]
    return {name: sum(line[name] for line in lines) for name in ("missing", "twice", "unknown")}


def shows_file_and_line(made) -> None:
    """`kefulake rejects show` names the file and line of a reject."""
    arguments = ["rejects", "show", "--rule", "row.misaligned", "--limit", "1000"]
    shown = CliRunner().invoke(cli.build(arguments), arguments, env={"COLUMNS": "200"}).stdout
    torn = [row for row in made.rows if row.rule == "row.misaligned"]
    assert torn
    for row in torn:
        assert f"from {row.path.rpartition('/')[2]}:{row.line}#" in shown
