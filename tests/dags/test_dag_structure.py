"""What holds for every DAG. A DAG that does not import fails no test by itself, so the exact list stands here."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from jobs.cli import COMMANDS
from pipelines import contracts
from tests.dags.conftest import ROOT, describe, with_airflow

DAGS = ROOT / "dags"
RENDERED = Path(__file__).parent / "rendered"
IDS = ["api_sync", "backup", "customer_360", "maintenance", "quality", "store_import"]


def commands(bag: dict) -> list[tuple[str, str, dict]]:
    return [
        (dag_id, task_id, task)
        for dag_id, dag in bag["dags"].items()
        for task_id, task in dag["tasks"].items()
        if "command" in task
    ]


def test_exactly_these_dags_import(bag):
    assert bag["errors"] == {}
    assert sorted(bag["dags"]) == IDS
    assert sorted(path.stem for path in DAGS.glob("*.py")) == IDS  # one DAG a file, of the file's name


def test_a_dag_that_does_not_import_would_be_seen(tmp_path):
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nimport no_such_module\n", encoding="utf-8")
    found = describe(tmp_path / "home", str(tmp_path))
    assert found["dags"] == {}
    assert "no_such_module" in str(found["errors"])


def test_examples_in_the_wiring_run(bag):
    assert bag["doctest_failures"] == 0


def test_rendered_commands_are_the_fixtures(bag):
    """Every change of what runs shows in review. REBUILD_FIXTURES=yes writes them anew."""
    rendered = {
        dag_id: "".join(
            f"{task_id}: DAY={task['env']['DAY']} {task['command']}\n"
            for of, task_id, task in commands(bag)
            if of == dag_id
        )
        for dag_id in bag["dags"]
    }
    if os.environ.get("REBUILD_FIXTURES") == "yes":
        for dag_id, text in rendered.items():
            (RENDERED / f"{dag_id}.expected").write_text(text, encoding="utf-8")
    assert {p.stem: p.read_text(encoding="utf-8") for p in RENDERED.glob("*.expected")} == rendered


def test_every_command_exists(bag):
    for dag_id, task_id, task in commands(bag):
        words = shlex.split(task["command"])
        if words[0] == "kefulake":
            assert words[1] in COMMANDS, f"{dag_id}.{task_id}"
        elif words[0] != "test":
            assert words[:2] == ["python", "-m"], f"{dag_id}.{task_id}"
            assert importlib.util.find_spec(words[2]), f"{dag_id}.{task_id}"


def test_nothing_that_people_give_is_part_of_a_command_line(bag):
    # The source holds no template outside the one variable, which bash never reads as words: "$DAY" stands quoted.
    for path in DAGS.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "{{" not in text
        assert text.count("$DAY") == text.count('"$DAY"')


def test_every_pool_is_declared(bag):
    declared = json.loads((ROOT / "infra" / "airflow" / "pools.json").read_text(encoding="utf-8"))
    used = {task["pool"] for _, _, task in commands(bag)}
    assert used == set(declared)
    assert sum(pool["slots"] for pool in declared.values()) == 3  # two cores: one build and two light ones at most


def test_every_task_ends_and_tells_when_it_fails(bag):
    for dag_id, task_id, task in commands(bag):
        assert task["limit_s"], f"{dag_id}.{task_id} may run for ever"
        assert task["alerts"] == ["infra.airflow.alerts.tell_failure"], f"{dag_id}.{task_id}"


def test_every_dag_ends_in_complete_and_runs_once_at_a_time(bag):
    for dag_id, dag in bag["dags"].items():
        ends = [task_id for task_id, task in dag["tasks"].items() if not task["downstream"]]
        assert ends == ["complete"], dag_id
        assert (dag["catchup"], dag["max_active_runs"]) == (False, 1), dag_id
        assert dag["doc"], dag_id


def needed(dag: dict) -> list[str]:
    """Names of the tables whose days a DAG waits for."""
    return re.findall(r"kefulake://([a-z0-9_/]+)", json.dumps(dag["timing"]))


def test_every_table_waited_for_is_written_by_somebody(bag):
    written = {name for _, _, task in commands(bag) for name in task["writes"]}
    waited_for = {name.replace("/", ".") for dag in bag["dags"].values() for name in needed(dag)}
    assert waited_for == {"silver.interactions", "gold.quality_results"}
    assert waited_for <= written
    assert written <= set(contracts.tables())


@pytest.mark.parametrize(
    ("dag_id", "cron"),
    [
        ("store_import", "0 1 * * *"),  # stores send by midnight; an hour for the slow ones
        ("backup", "0 3 * * *"),  # also when nothing else went well
        ("maintenance", "0 4 * * *"),  # after the backup has named its files
    ],
)
def test_nightly_dags_are_for_the_day_that_ended(bag, dag_id, cron):
    timing = bag["dags"][dag_id]["timing"]
    assert bag["dags"][dag_id]["schedule"] == "BusinessDayTimetable"
    assert (timing["expression"], timing["timezone"]) == (cron, "Asia/Shanghai")
    assert timing["run_offset"] == -1  # the run of the 29th is for the 28th


def test_the_chain_goes_store_import_quality_customer_360(bag):
    assert needed(bag["dags"]["quality"]) == ["silver/interactions"]
    assert needed(bag["dags"]["customer_360"]) == ["gold/quality_results"]  # never before the checks have passed
    assert bag["dags"]["store_import"]["tasks"]["flush"]["writes"] == ["silver.interactions"]
    assert bag["dags"]["quality"]["tasks"]["check_silver"]["writes"] == ["gold.quality_results"]


def test_api_sync_runs_every_quarter_of_an_hour(bag):
    assert bag["dags"]["api_sync"]["schedule"] == "CronTriggerTimetable"
    assert bag["dags"]["api_sync"]["timing"]["expression"] == "*/15 * * * *"


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_dag_files_are_wiring(path):
    """Docstring, imports, one `with`: no function, no table of settings, no SQL."""
    text = path.read_text(encoding="utf-8")
    body = ast.parse(text).body
    kinds = [type(node).__name__ for node in body]
    assert kinds[0] == "Expr"
    assert set(kinds[1:-1]) <= {"Import", "ImportFrom"}
    assert kinds[-1] == "With"
    assert not any(isinstance(node, ast.FunctionDef | ast.Lambda | ast.Dict) for node in ast.walk(body[-1]))
    assert not re.search(r"\b(SELECT|INSERT|DELETE|UPDATE)\b", text)
    assert len(text.splitlines()) <= 120


def test_the_worked_example_of_the_business_day(tmp_path):
    with_airflow(tmp_path, "doctest", "infra/airflow/business_day.py")
