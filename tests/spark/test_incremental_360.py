"""A day's increment of gold.customer_360 is the full build, row by row: news, edits, links, windows and time alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import polars as pl
import pytest
from deltalake import DeltaTable

from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.spark import customer_360, restating
from jobs.spark.sources import settled, silver_rows
from pipelines.io import spark_delta
from pipelines.io.lake_span import VersionGone
from tests.bench.customer_360_lake import Size, write_day, write_history
from tests.unit.io.lake import interaction, write

pytestmark = pytest.mark.spark
SIZE = Size(customers=40, interactions=900, days=200, orders=90, seed=3)
UNTIL = SIZE.until_at
DAY = timedelta(days=1)
# An unknown caller, found on the day; a message that an edit of the day gives to somebody else.
PHONE = "ph1_" + "7" * 32


def member(person: int) -> str:
    """The member token of a person of the lake."""
    return f"mb1_{person:032d}"


def publish(spark, settings, as_of_at, *, full: bool = False) -> tuple[pl.DataFrame, bool]:
    """The table as published, and whether the build was an increment."""
    rows, versions = silver_rows(spark, settings)
    rows = settled(rows).cache()
    customer_360.publish(rows, versions, settings, SimpleNamespace(as_of=as_of_at, full=full))
    rows.unpersist()
    told = next(spark_delta.notes(settings.table_path("gold.customer_360")))
    return view_of(settings), told["incremental"]


def dirt_before(lake) -> None:
    """What the generator does not make, of the history."""
    at = UNTIL - 5 * DAY
    write(lake, "silver.interactions", [
        interaction(1, received_at=at, phone_token=PHONE, customer_id=f"p_{'7' * 24}", identity_status="provisional"),
        interaction(2, received_at=at, customer_id=None, identity_status="anonymous"),
        interaction(3, received_at=at, member_token=member(3), customer_id="c_3", source_message_id="edited"),
        # Nobody has news of c_5 on the day, but this contact leaves the window of 180 days.
        interaction(4, received_at=UNTIL - 180 * DAY, member_token=member(5), customer_id="c_5"),
    ])  # fmt: skip


def dirt_of_the_day(lake) -> None:
    """Somebody is found, an edit changes whose a message is, a message comes late."""
    at = UNTIL + DAY / 4
    write(lake, "silver.interactions", [
        interaction(5, received_at=at, occurred_at=UNTIL - 5 * DAY, member_token=member(4), customer_id="c_4",
                    source_message_id="edited", source_revision=1),
        interaction(6, received_at=at, occurred_at=UNTIL - 60 * DAY, member_token=member(6), customer_id="c_6"),
    ])  # fmt: skip
    write(lake, "silver.identity_links", [
        {"token": PHONE, "token_type": "phone", "stretch": 0, "customer_id": "c_7", "link_rule": "attested",
         "valid_from_at": UNTIL - 400 * DAY, "recorded_at": at},
    ])  # fmt: skip


@pytest.fixture(scope="module")
def published(spark, lake_folder, tmp_path_factory) -> SimpleNamespace:
    settings = Settings.load(home=tmp_path_factory.mktemp(lake_folder), port_base=26920)
    lake = settings.table_path("silver.interactions").parents[1]
    write_history(settings, SIZE)
    dirt_before(lake)
    before, first = publish(spark, settings, UNTIL)
    shutil.copytree(lake / "gold", settings.home / "yesterday")
    write_day(settings, SIZE)
    dirt_of_the_day(lake)
    increment, second = publish(spark, settings, UNTIL + DAY)
    restated = restatements(settings)
    full, third = publish(spark, settings, UNTIL + DAY, full=True)
    assert (first, second, third) == (False, True, False)
    return SimpleNamespace(settings=settings, before=before, increment=increment, full=full, restated=restated)


@pytest.fixture(scope="module")
def job(published) -> SimpleNamespace:
    """The same day from the same build of the day before, by the job as it is run, on Sail: killed, and run again."""
    settings = published.settings
    gold = settings.table_path("gold.customer_360").parent
    shutil.rmtree(gold)
    shutil.copytree(settings.home / "yesterday", gold)
    place = {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    environment = {k: v for k, v in os.environ.items() if "SPARK" not in k} | place
    command = [sys.executable, "-m", "jobs.spark.customer_360", "--as-of", (UNTIL + DAY).isoformat()]
    with subprocess.Popen(command, env=environment, cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True) as first:
        assert any("this build runs on Sail" in line for line in first.stderr)
        first.kill()  # with its slices cut and nothing published
    killed = view_of(settings)
    ran = subprocess.run(command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return SimpleNamespace(killed=killed, said=ran.stderr, view=view_of(settings), restated=restatements(settings))


def view_of(settings) -> pl.DataFrame:
    path = settings.table_path("gold.customer_360")
    return pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table()).sort("customer_id")


def restatements(settings) -> pl.DataFrame:
    """All rows in order, without the clock."""
    table = DeltaTable(str(settings.table_path("gold.restatements")))
    rows = pl.from_arrow(table.to_pyarrow_table()).drop("restated_at")
    return rows.sort(rows.columns)


def test_the_increment_is_the_full_build_row_by_row(published):
    assert published.increment.equals(published.full)
    assert not published.increment.drop("as_of_at").equals(published.before.drop("as_of_at"))


def test_what_the_day_brought_is_in_it(published):
    def contacts(view: pl.DataFrame) -> dict[str, int]:
        return dict(view.select("customer_id", "customer_messages").iter_rows())

    before, after = contacts(published.before), contacts(published.increment)
    assert f"p_{'7' * 24}" in before and f"p_{'7' * 24}" not in after  # noqa: PT018 - found, and no longer apart
    assert set(published.increment["as_of_at"]) == {UNTIL + DAY}


def test_what_was_published_before_is_restated_as_after_a_full_build(published):
    told = {row["row_key"]: row["restatement_reason"] for row in published.restated.iter_rows(named=True)}
    reasons = {key.split('"')[3]: reason for key, reason in told.items()}
    assert reasons[f"p_{'7' * 24}"] == "identity"
    assert "late_rows" in reasons["c_6"]  # 60 days late
    assert "late_rows" in reasons["c_3"]  # it lost the message that an edit gave to c_4


def test_a_job_killed_on_its_way_leaves_the_view_of_the_day_before(published, job):
    assert job.killed.equals(published.before)


def test_the_job_on_sail_publishes_what_this_engine_does(published, job):
    assert "incremental build" in job.said
    assert "this build runs on Sail" in job.said
    assert job.view.equals(published.full)
    assert job.restated.equals(published.restated)
    assert {"identity", "late_rows"} <= set(job.restated["restatement_reason"])


def test_a_link_that_comes_while_a_full_build_runs_is_known_to_the_next_increment(spark, tmp_path):
    settings = Settings.load(home=tmp_path, port_base=26920)
    lake = settings.table_path("silver.interactions").parents[1]
    unknown = f"p_{'7' * 24}"
    write(lake, "silver.interactions", [
        interaction(1, received_at=UNTIL - 5 * DAY, phone_token=PHONE, customer_id=unknown,
                    identity_status="provisional"),
    ])  # fmt: skip
    link = {"token": PHONE, "token_type": "phone", "stretch": 0, "link_rule": "attested", "customer_id": "c_0",
            "valid_from_at": UNTIL - 400 * DAY, "recorded_at": UNTIL - DAY}  # fmt: skip
    write(lake, "silver.identity_links", [link | {"token": "ph1_" + "8" * 32}])
    rows, versions = silver_rows(spark, settings)
    write(lake, "silver.identity_links", [link | {"customer_id": "c_7"}])
    customer_360.publish(settled(rows).cache(), versions, settings, SimpleNamespace(as_of=UNTIL, full=True))
    view, incremental = publish(spark, settings, UNTIL)
    assert incremental
    assert view["customer_id"].to_list() == ["c_7"]


def test_where_the_version_before_is_gone_everybody_is_compared_and_nobody_restated_as_gone(
    spark, tmp_path, monkeypatch
):
    """The upkeep of silver may take it during a full build; an increment has asked before it cut its slices."""
    settings = Settings.load(home=tmp_path, port_base=26920)
    lake = settings.table_path("silver.interactions").parents[1]
    at = UNTIL - 5 * DAY
    write(lake, "silver.interactions", [
        interaction(n, received_at=at, member_token=member(n), customer_id=f"c_{n}") for n in (1, 2)
    ])  # fmt: skip
    publish(spark, settings, UNTIL)
    late = interaction(3, received_at=UNTIL, occurred_at=at, member_token=member(1), customer_id="c_1")
    write(lake, "silver.interactions", [late])

    def gone(*_):
        raise VersionGone("silver.interactions can't be read at version 0 any more")

    monkeypatch.setattr(restating, "_touched", gone)
    view, incremental = publish(spark, settings, UNTIL + DAY, full=True)
    assert not incremental
    assert view["customer_id"].to_list() == ["c_1", "c_2"]
    restated = restatements(settings)
    assert {key.split('"')[3] for key in restated["row_key"]} == {"c_1"}


def test_a_table_made_anew_has_versions_of_the_same_numbers_and_everybody_is_built(spark, tmp_path):
    """Its version 1 holds a message that the build before has never seen, as that build's version 1 held another."""
    settings = Settings.load(home=tmp_path, port_base=26920)
    lake, messages = settings.table_path("silver.interactions").parents[1], settings.table_path("silver.interactions")
    at = UNTIL - 5 * DAY
    spoke = [interaction(n, received_at=at, member_token=member(n), customer_id=f"c_{n}") for n in range(4)]
    for one in spoke[:2]:
        write(lake, "silver.interactions", [one])
    publish(spark, settings, UNTIL)
    shutil.rmtree(messages)
    for one in spoke[1:]:
        write(lake, "silver.interactions", [one])
    view, incremental = publish(spark, settings, UNTIL)
    assert not incremental
    assert view["customer_id"].to_list() == ["c_1", "c_2", "c_3"]
    restated = restatements(settings)
    assert {key.split('"')[3] for key in restated["row_key"]} == {"c_0", "c_2", "c_3"}
    assert set(restated["restatement_reason"]) == {"rebuilt"}
