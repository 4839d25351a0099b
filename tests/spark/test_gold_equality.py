"""Merge and split, there and back: every gold table is row by row what it was, and gold.restatements holds both ways.

One lake of many small worlds (tests/unit/identity/worlds.py), built three times: before, there, and back.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from jobs.spark import customer_360, customer_tags, hot_questions
from jobs.spark.sources import settled, silver_rows
from pipelines import contracts
from pipelines.io import duckdb_lake
from pipelines.io.balance_table import BalanceTable
from tests.spark.silver_of_worlds import Silver, token
from tests.unit.identity.worlds import SPLIT, TOLD_FROM, Plan, Step, World, plans
from tests.unit.io.lake import AT, write

pytestmark = pytest.mark.spark
WORLDS = 60
BALANCE = "gold.data_balance"
JOBS = {"gold.customer_360": customer_360, "gold.customer_tags": customer_tags, "gold.hot_questions": hot_questions}
AS_OF = "2026-05-01"
# 李雷 calls and writes in the app, each by a verified number of his own, and the CRM knows both as two customers.
LI_LEI = Plan((("crm", ("m0", "p0")), ("crm", ("m1", "p1"))), 0, (Step("merge", 0, 1),), SPLIT)


def drawn() -> list[Plan]:
    """The hand-made world first, then as many as Hypothesis draws: the same ones each time, told by their number."""
    found = [LI_LEI]

    @seed(20260105)
    @settings(max_examples=WORLDS, phases=[Phase.generate], database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(plans())
    def collect(plan: Plan) -> None:
        found.append(plan)

    collect()
    return found


@dataclasses.dataclass
class Story:
    """Rows by key of every gold table after each of the three builds, and all of gold.restatements."""

    plans: list[Plan]
    moved: set[int]
    builds: list[dict[str, dict[tuple, dict[str, Any]]]]
    restated: list[dict[str, Any]]


@pytest.fixture(scope="module")
def story(spark, settings, tmp_path_factory) -> Story:
    home = dataclasses.replace(settings, home=tmp_path_factory.mktemp("worlds"))
    all_plans, silver = drawn(), Silver()
    worlds = [World(number, plan) for number, plan in enumerate(all_plans)]
    for world in worlds:
        silver.of_world(world.number, world.plan)
    for table, rows in silver.rows.items():
        write(home.lake, table, rows)
    builds, links = [], []
    for way in (lambda world: None, World.go, World.come_back):
        for world in worlds:
            way(world)
        links.append([world.links for world in worlds])
        write(home.lake, "silver.identity_links", [told_row(w, row) for w in worlds for row in w.told])
        for world in worlds:
            world.told.clear()
        builds.append(build(spark, home))
    for world in worlds:
        world.close()
    moved = {number for number, (before, there) in enumerate(zip(*links[:2], strict=True)) if before != there}
    return Story(all_plans, moved, builds, rows_of(home, "gold.restatements"))


def told_row(world: World, row: dict[str, Any]) -> dict[str, Any]:
    """A record of identity.links as the tiering service leaves it in silver.identity_links."""
    instants = {name: None if row[name] is None else AT.fromtimestamp(row[name] / 1_000_000, AT.tzinfo)
                for name in ("valid_from_at", "valid_to_at", "recorded_at")}  # fmt: skip
    return row | instants | {"token": token(world.number, row["token"])}


def build(spark, home) -> dict[str, dict[tuple, dict[str, Any]]]:
    rows, versions = silver_rows(spark, home)
    rows = settled(rows).cache()
    for job in JOBS.values():
        job.publish(rows, versions, home, job.parse_args(["--as-of", AS_OF]))
    rows.unpersist()
    BalanceTable(home, grace=timedelta(0)).turn(None, TOLD_FROM)
    return {t: {tuple(r[k] for k in contracts.table(t).primary_key): r for r in rows_of(home, t)}
            for t in (*JOBS, BALANCE)}  # fmt: skip


def rows_of(home, table: str) -> list[dict[str, Any]]:
    found = duckdb_lake.ask(home.lake, f"SELECT * FROM {table}")
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


@pytest.mark.parametrize("table", JOBS)
def test_what_is_taken_back_leaves_every_row_as_it_was(story, table):
    before, there, back = (build[table] for build in story.builds)
    assert len(before) > WORLDS
    assert len(story.moved) > WORLDS // 3, "too many worlds in which nothing happened prove little"
    assert there != before
    assert back == before, (
        f"worlds {sorted({world_of(k) for k in before.keys() | back if before.get(k) != back.get(k)})}"
    )


def test_the_balance_knows_no_customer(story):
    before, there, back = (build[BALANCE] for build in story.builds)
    assert len(before) > WORLDS
    assert before == there == back  # computed_at too: no hour was counted again


def world_of(key: tuple) -> int | str:
    """The world of a row, by the customer in its key; a period's first day where there is none."""
    return int(key[0][2:10], 16) if key[0][1] == "_" else str(key[1])


def told(story: Story, table: str, nth: int) -> set[tuple]:
    """(key, column, old, new) that gold.restatements says of the figures of the nth build."""
    of_table = [row for row in story.restated if row["table_name"] == table]
    runs = sorted({row["restated_run_id"] for row in of_table})
    assert len(runs) == 2, "the first build's figures, and the second's; the third's stand"
    key = contracts.table(table).primary_key
    return {(tuple(json.loads(row["row_key"])[k] for k in key), row["column_name"], row["old_value"], row["new_value"])
            for row in of_table if row["restated_run_id"] == runs[nth]}  # fmt: skip


def differing(before: dict[tuple, dict], after: dict[tuple, dict]) -> set[tuple]:
    """(key, column) that differ; without a column where a row is on one side only. Counted without the code's help."""
    one_sided = {(key, None) for key in before.keys() ^ after.keys()}
    both = before.keys() & after.keys()
    return one_sided | {(key, c) for key in both for c in before[key] if before[key][c] != after[key][c]}


@pytest.mark.parametrize("table", JOBS)
def test_restatements_tell_the_way_there_and_the_same_way_back(story, table):
    before, there, back = (build[table] for build in story.builds)
    for nth, (one, other) in enumerate([(before, there), (there, back)]):
        expected = {(tuple(map(str, key)), column) for key, column in differing(one, other)}
        assert {(key, column) for key, column, _, _ in told(story, table, nth)} == expected
    returned = {(key, column, new, old) for key, column, old, new in told(story, table, 1)}
    assert returned == told(story, table, 0)


def test_who_did_not_move_is_restated_only_where_a_fifth_did(story):
    values = {"r_score", "f_score", "m_score", "value_tier", "value_rule", "tag_value", "rule"}
    reasons = set()
    for row in story.restated:
        customer = json.loads(row["row_key"]).get("customer_id")
        if customer is None:
            assert row["restatement_reason"] == "identity"
            continue
        reasons.add(row["restatement_reason"])
        if int(customer[2:10], 16) not in story.moved:
            assert (row["restatement_reason"], row["column_name"] in values) == ("fifths", True), row
    assert reasons == {"identity", "fifths"}


def test_li_lei_by_hand(story):
    """Two contacts under each number (the member number's and the phone's), four once a person said it is one man."""
    older, newer = ("c_" + f"{0:08x}{n:016x}" for n in (0, 1))
    contacts = [[build["gold.customer_360"].get((name,), {}).get("contacts") for name in (older, newer)]
                for build in story.builds]  # fmt: skip
    assert contacts == [[2, 2], [4, None], [2, 2]]
    said = [(nth, column, old, new) for nth in (0, 1) for key, column, old, new in told(story, "gold.customer_360", nth)
            if key == (older,) and column == "contacts"]  # fmt: skip
    assert said == [(0, "contacts", "2", "4"), (1, "contacts", "4", "2")]
    [gone] = [old for key, column, old, _ in told(story, "gold.customer_360", 0) if key == (newer,)]
    assert json.loads(gone)["contacts"] == 2
