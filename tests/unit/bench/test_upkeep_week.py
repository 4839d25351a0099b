"""The simulated week is what the tiering service writes, and its upkeep bounds the files and keeps the rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from deltalake import DeltaTable

from pipelines import contracts
from pipelines.io.delta import Move, open_store
from pipelines.io.delta_upkeep import Upkeep
from tests.bench import upkeep
from tests.bench.upkeep_week import APPLICATION, TABLE, Scale, Week

START = datetime(2026, 1, 5, tzinfo=UTC)
SMALL = Scale(days=2, commit_every_s=1800, rows=3)  # 48 commits a day


def rows(path) -> list[dict]:
    return DeltaTable(path).to_pyarrow_table().sort_by("raw_offset").to_pylist()


def test_what_is_written_directly_is_what_the_store_writes(tmp_path):
    """Same rows, files, positions and statistics; then the store goes on where the simulation ended."""
    week = Week([tmp_path / "direct"], SMALL, START)
    again = Week([tmp_path / "again"], SMALL, START)  # the same seed: the same rows
    contract = contracts.table(TABLE)
    path, direct = tmp_path / "store", tmp_path / "direct" / "silver" / "interactions"
    store = open_store(path, week.schema, contract.partition_by, name=TABLE, description="")
    for nth in range(50):  # over midnight
        store.append(again.batch(), {APPLICATION: Move(nth * 3 or None, nth * 3 + 3)})
        again._rng.bytes(16)  # the name of its file
        again.commits += 1
        week.commit()
    assert rows(direct) == rows(path)
    assert len({r["received_date"] for r in rows(direct)}) == 2
    tables = [DeltaTable(p) for p in (direct, path)]
    assert {len(t.file_uris()) for t in tables} == {50}
    assert {t.transaction_version(APPLICATION) for t in tables} == {150}
    names = ["num_records", "min.raw_offset", "max.raw_offset", "min.received_at", "max.received_at", "min.customer_id",
             "partition.received_date"]  # fmt: skip
    told = [sorted(zip(*(t.get_add_actions(flatten=True)[n].to_pylist() for n in names), strict=True)) for t in tables]
    assert told[0] == told[1]
    goes_on = open_store(direct, week.schema, contract.partition_by, name=TABLE, description="")
    assert goes_on.append(week.batch(), {APPLICATION: Move(150, 153)}) == 3


def test_upkeep_bounds_the_files_and_both_lakes_answer_alike(tmp_path):
    """48 commits a day, looked after every 2: never more than the policy's 24 small files and those merged before."""
    report = upkeep.run(tmp_path, SMALL, repeats=1)
    assert report["simulated"]["commits"] == 96
    files = {side: [day[side]["files"] for day in report["days"]] for side in (upkeep.WITH, upkeep.WITHOUT)}
    assert files[upkeep.WITHOUT] == [48, 96]
    most = contracts.policy("tiering")["upkeep"]["compact_at_files"]
    assert all(n <= day * most for day, n in enumerate(files[upkeep.WITH], start=1)), files
    assert report["maintain_on_the_neglected_lake"]["files_after"] == 2  # a day is a partition
    lakes = [tmp_path / side / "lake" / "silver" / "interactions" for side in ("with", "without")]
    assert len(rows(lakes[0])) == 96 * 3
    assert rows(lakes[0]) == rows(lakes[1])


def test_the_log_goes_on_no_longer_than_its_retention(tmp_path):
    """400 commits, two an hour: 100 of them in 50 hours, kept up to a checkpoint on both sides (100 commits each)."""
    policy = contracts.policy("tiering")["upkeep"]
    assert (policy["log_retention_hours"], policy["checkpoint_every_commits"]) == (50, 100)
    week, path = Week([tmp_path], SMALL, START), tmp_path / "silver" / "interactions"
    keep = replace(Upkeep.of(policy), rest_factor=0)
    for nth in range(400):
        week.commit()
        if nth % 4 == 3:
            upkeep.keep_hourly(path, keep, week)
    entries = len(list((path / "_delta_log").glob("0*.json")))
    assert 100 <= entries <= 330  # with the merges of every 24 files among them
    assert len(rows(path)) == 400 * 3
