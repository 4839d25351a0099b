"""A day on Sail, after a full build on Spark and beside another: the jobs as they are run, a process each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import datetime
from types import SimpleNamespace

import polars as pl
import pytest
from deltalake import DeltaTable

from infra.stack.settings import PROJECT_ROOT, Settings
from tests.bench.customer_360_lake import write_day, write_history
from tests.spark.test_incremental_360 import DAY, SIZE, UNTIL, dirt_before, dirt_of_the_day

pytestmark = pytest.mark.spark
VIEW, RESTATEMENTS = "gold.customer_360", "gold.restatements"


def build(settings: Settings, as_of_at: datetime, *flags: str) -> str:
    """One run of the job; what it said."""
    place = {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    command = [sys.executable, "-m", "jobs.spark.customer_360", "--as-of", as_of_at.isoformat(), *flags]
    ran = subprocess.run(command, env=os.environ | place, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stderr


def rows(settings: Settings, table: str) -> list[dict]:
    """All rows in order, without the clock; a doubled row stays two."""
    found = pl.from_arrow(DeltaTable(str(settings.table_path(table))).to_pyarrow_table())
    found = found.drop("restated_at", strict=False)
    return found.sort(found.columns).to_dicts()


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> SimpleNamespace:
    """Yesterday's build on Spark; today's on Sail, and everybody's on Spark, both from yesterday's."""
    settings = Settings.load(home=tmp_path_factory.mktemp("客服 lake"), port_base=26960)
    lake = settings.table_path("silver.interactions").parents[1]
    write_history(settings, SIZE)
    dirt_before(lake)
    said = {"yesterday": build(settings, UNTIL)}
    write_day(settings, SIZE)
    dirt_of_the_day(lake)
    gold, yesterday = settings.table_path(VIEW).parent, settings.home / "yesterday"
    shutil.copytree(gold, yesterday)
    view, restated = {"yesterday": rows(settings, VIEW)}, {}
    for engine, flags in (("sail", ()), ("full", ("--full",))):
        shutil.rmtree(gold)
        shutil.copytree(yesterday, gold)
        said[engine] = build(settings, UNTIL + DAY, *flags)
        view[engine], restated[engine] = rows(settings, VIEW), rows(settings, RESTATEMENTS)
    return SimpleNamespace(said=said, view=view, restated=restated)


def test_each_ran_where_it_was_to(day):
    assert {engine for engine, said in day.said.items() if "this build runs on Sail" in said} == {"sail"}
    assert {engine for engine, said in day.said.items() if "incremental build" in said} == {"sail"}


def test_the_view_is_the_same_row_by_row(day):
    assert day.view["sail"] == day.view["full"]
    assert day.view["sail"] != day.view["yesterday"]


def test_what_was_published_before_is_restated_alike(day):
    assert day.restated["sail"] == day.restated["full"]
    assert {"identity", "late_rows"} <= {row["restatement_reason"] for row in day.restated["sail"]}
