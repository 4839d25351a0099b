"""Every DAG once by ``airflow dags test``, on a real stack with traffic, files of stores and an API to ask.

In the order of a night: each needs what the one before has brought.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from infra.airflow import server
from infra.stack import lifecycle, ports
from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.ops import demo_daily
from pipelines import contracts
from pipelines.io import duckdb_lake

# A whole night with its stack: 270 s alone on two cores, and more than the usual limit beside other work.
pytestmark = [pytest.mark.stack, pytest.mark.timeout(1500)]
A_MONDAY = "2026-11-23"  # no drill is due then: it is a test of its own
BIN = Path(sys.executable).parent


def run(settings: Settings, *command: str) -> str:
    done = subprocess.run(
        command,
        env=os.environ | server.environment(settings),
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def today() -> str:
    return str(datetime.now(ZoneInfo(contracts.policy("gold")["business_time_zone"])).date())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings.load(tmp_path_factory.mktemp("daily"), ports.free_base(28_000))
    with pytest.MonkeyPatch.context() as environment:
        for name in ("KEFULAKE_KAFKA", "KEFULAKE_DATABASE_URL", "KEFULAKE_MASTER_KEY", "KEFULAKE_BACKUP"):
            environment.delenv(name, raising=False)
        environment.setenv("KEFULAKE_HOME", str(settings.home))
        environment.setenv("KEFULAKE_PORT_BASE", str(settings.ports.base))
        with demo_daily.made_up_api(settings):
            try:
                demo_daily.recovery_key(settings)
                lifecycle.up(settings, only=None, extra=None, tell=lambda part, doing: None)
                run(settings, str(BIN / "kefulake"), "deploy", "clean_interactions")
                run(settings, str(BIN / "kefulake"), "simulate", "--events", "2000", "--rate", "1000", "--seed", "7")
                server.prepare(settings)
                yield settings
            finally:
                lifecycle.down(settings, tell=lambda part, doing: None)


def dags_test(settings: Settings, dag_id: str, day: str) -> dict[str, str]:
    """Runs a DAG in this moment for a day; state of each task."""
    run(settings, str(BIN / "airflow"), "dags", "test", dag_id, "--conf", json.dumps({"day": day}))
    with sqlite3.connect(server.database(settings)) as database:
        states = database.execute(
            "SELECT task_id, state FROM task_instance WHERE run_id = "
            "(SELECT run_id FROM dag_run WHERE dag_id = ? ORDER BY id DESC LIMIT 1) AND dag_id = ?",
            (dag_id, dag_id),
        )
        return dict(states.fetchall())


def rows(settings: Settings, table: str, where: str = "true") -> int:
    answer = duckdb_lake.ask(settings.lake, f"SELECT count(*) FROM {table} WHERE {where}")
    return next(iter(answer.rows))[0]


def test_a_night(home: Settings):
    """One test: what a DAG finds is what those before it left."""
    day = today()
    stores = demo_daily.deliver(home, datetime.fromisoformat(day).date())

    assert dags_test(home, "api_sync", day) == {"sync": "success", "complete": "success"}

    ended = dags_test(home, "store_import", day)
    assert set(ended.values()) == {"success"}
    assert rows(home, "bronze.store_files", "file_verdict = 'imported'") == stores
    received = rows(home, "bronze.raw_events", "raw_topic = 'raw.store'")
    assert received > 0
    for topic in ("raw.crm", "raw.ticket_system", "raw.orders", "raw.app"):
        assert rows(home, "bronze.raw_events", f"raw_topic = '{topic}'") > 0, topic

    again = dags_test(home, "store_import", day)
    assert set(again.values()) == {"success"}
    assert rows(home, "bronze.raw_events", "raw_topic = 'raw.store'") == received  # nothing is sent twice

    assert set(dags_test(home, "quality", day).values()) == {"success"}
    assert rows(home, "gold.quality_results", "table_name = 'silver.interactions'") > 0

    assert set(dags_test(home, "customer_360", day).values()) == {"success"}
    assert rows(home, "gold.customer_360") > 0

    assert set(dags_test(home, "maintenance", day).values()) == {"success"}

    backed_up = dags_test(home, "backup", A_MONDAY)
    assert backed_up == {
        "full": "success", "retention": "success", "is_sunday": "skipped", "drill": "skipped", "complete": "success",
    }  # fmt: skip

    assert "does not close" not in run(home, str(BIN / "kefulake"), "balance", "--final")
