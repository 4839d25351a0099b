"""Rearranging never changes rows, also when two services do it at once and when appends go on beside it."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipelines.io import delta_upkeep
from pipelines.io.delta import Move, open_store
from pipelines.io.delta_upkeep import Upkeep, checkpoint, compact, vacuum

SCHEMA = pa.schema([("raw_offset", pa.int64()), ("text", pa.string()), ("received_date", pa.date32())])
KEEP = Upkeep(
    compact_at_files=4,
    small_file_bytes=1 << 20,
    round_bytes=1 << 22,
    rest_factor=0,
    checkpoint_every_commits=10,
    vacuum_retention_hours=1,
)


def filled(path, commits: int):
    store = open_store(path, SCHEMA, ["received_date"], name="silver.test", description="", checkpoint_every=10)
    for n in range(commits):
        append(store, n)
    return store


def append(store, n: int) -> None:
    day = pa.array([20000 + n % 2] * 2, pa.int32()).cast(pa.date32())
    batch = pa.table([[2 * n, 2 * n + 1], ["你好", None], day], schema=SCHEMA)
    store.append(batch, {"c/t/0": Move(2 * n or None, 2 * n + 2)})


def offsets(path) -> list[int]:
    return sorted(DeltaTable(path).to_pyarrow_table()["raw_offset"].to_pylist())


def test_one_round_merges_the_fullest_partition_and_keeps_rows_and_positions(tmp_path):
    filled(tmp_path, 9)  # five files of one day, four of the other
    before = DeltaTable(tmp_path).to_pyarrow_table().sort_by("raw_offset")
    assert compact(tmp_path, KEEP) == 5
    after = DeltaTable(tmp_path)
    assert after.to_pyarrow_table().sort_by("raw_offset").equals(before)
    assert after.transaction_version("c/t/0") == 18
    assert compact(tmp_path, KEEP) == 4
    assert len(DeltaTable(tmp_path).file_uris()) == 2
    assert compact(tmp_path, KEEP) == 0


def test_merging_rests_between_slices_of_5000_rows(tmp_path, monkeypatch):
    """A file of 12,000 rows is read as 5,000 + 5,000 + 2,000, each file of 1 row alone; the rest is the policy's."""
    store = open_store(tmp_path, SCHEMA, ["received_date"], name="silver.test", description="", checkpoint_every=10)
    for start, end in ((0, 12_000), (12_000, 12_001), (12_001, 12_002), (12_002, 12_003)):
        day = pa.array([20000] * (end - start), pa.int32()).cast(pa.date32())
        rows = pa.table([range(start, end), ["你好"] * (end - start), day], schema=SCHEMA)
        store.append(rows, {"c/t/0": Move(start or None, end)})
    slices, factors = [], []

    def spied(batches, rest_factor):
        factors.append(rest_factor)
        for batch in batches:
            slices.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(delta_upkeep, "paced", spied)
    assert compact(tmp_path, replace(KEEP, rest_factor=3)) == 4
    assert factors == [3]
    assert sorted(slices) == [1, 1, 1, 2000, 5000, 5000]
    assert offsets(tmp_path) == list(range(12_003))


def test_the_merged_file_has_statistics_for_skipping(tmp_path):
    filled(tmp_path, 9)
    compact(tmp_path, KEEP)
    files = pa.table(DeltaTable(tmp_path).get_add_actions(flatten=True)).to_pylist()
    merged = max(files, key=lambda f: f["num_records"])
    assert (merged["min.raw_offset"], merged["max.raw_offset"], merged["num_records"]) == (0, 17, 10)


def test_of_two_rearrangements_of_the_same_files_one_is_refused(tmp_path, monkeypatch):
    """Without the fence delta-rs 1.6.6 commits both, and every row is there twice."""
    filled(tmp_path, 8)
    first_commit = delta_upkeep.replace_files

    def slow_commit(table, adds, chosen):
        monkeypatch.setattr(delta_upkeep, "replace_files", first_commit)
        assert compact(tmp_path, KEEP) == 4  # the other service, while we were merging
        return first_commit(table, adds, chosen)

    monkeypatch.setattr(delta_upkeep, "replace_files", slow_commit)
    assert compact(tmp_path, KEEP) == 0
    assert offsets(tmp_path) == list(range(16))


def test_appends_go_on_while_files_are_merged(tmp_path, monkeypatch):
    store = filled(tmp_path, 8)
    first_commit = delta_upkeep.replace_files

    def slow_commit(table, adds, chosen):
        append(store, 8)
        return first_commit(table, adds, chosen)

    monkeypatch.setattr(delta_upkeep, "replace_files", slow_commit)
    assert compact(tmp_path, KEEP) == 4
    append(store, 9)  # and an append whose snapshot is older than the merge
    assert offsets(tmp_path) == list(range(20))


def test_columns_are_those_of_the_table_and_files_of_before_a_column_read_null(tmp_path):
    filled(tmp_path, 4)
    wider = SCHEMA.append(pa.field("score", pa.float64()))
    store = open_store(tmp_path, wider, ["received_date"], name="silver.test", description="")
    day = pa.array([20000], pa.int32()).cast(pa.date32())
    for n in range(2):
        batch = pa.table([[100 + n], ["新"], day, [4.5]], schema=wider)
        store.append(batch, {"c/t/0": Move(8 + n, 9 + n)})
    assert compact(tmp_path, KEEP) == 4
    found = DeltaTable(tmp_path).to_pyarrow_table().sort_by("raw_offset")
    assert found["score"].to_pylist() == [None] * 8 + [4.5, 4.5]
    assert found["raw_offset"].to_pylist() == [*range(8), 100, 101]


def test_a_round_is_bounded_in_bytes(tmp_path):
    filled(tmp_path, 12)
    size = pa.table(DeltaTable(tmp_path).get_add_actions(flatten=True))["size_bytes"][0].as_py()
    tight = Upkeep(**(KEEP.__dict__ | {"round_bytes": int(size * 2.5)}))
    assert compact(tmp_path, tight) == 2


def test_rows_that_do_not_add_up_are_never_committed(tmp_path, monkeypatch):
    filled(tmp_path, 8)
    real = delta_upkeep.files_of

    def wrong(table):
        return [delta_upkeep.TableFile(f.path, f.size, f.rows + 1, f.written_ms, f.partition) for f in real(table)]

    monkeypatch.setattr(delta_upkeep, "files_of", wrong)
    with pytest.raises(delta_upkeep.RearrangeFailed, match="hold 12 rows, merged 8"):
        compact(tmp_path, KEEP)
    assert offsets(tmp_path) == list(range(16))


def test_vacuum_removes_leavings_of_killed_writers_but_not_files_being_written(tmp_path):
    filled(tmp_path, 2)
    folder = tmp_path / "received_date=2024-10-04"
    old, new = folder / "part-old.parquet", folder / "part-new.parquet"
    for leaving in (old, new):
        leaving.write_bytes(b"x")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert vacuum(tmp_path, KEEP) == 1
    assert (old.exists(), new.exists()) == (False, True)
    assert offsets(tmp_path) == [0, 1, 2, 3]


def test_a_second_vacuum_finds_nothing_and_writes_nothing(tmp_path, monkeypatch):
    """The log still names the files that were removed two hours ago; they are deleted once."""
    path = tmp_path / "客服"  # an address writes this folder in another way than the disk
    filled(path, 9)
    now = time.time()
    with monkeypatch.context() as then:
        then.setattr(time, "time", lambda: now - 7200)
        assert compact(path, KEEP) == 5
    assert vacuum(path, KEEP) == 5
    version = DeltaTable(path).version()
    assert vacuum(path, KEEP) == 0
    assert DeltaTable(path).version() == version
    assert offsets(path) == list(range(18))


def test_vacuum_under_an_hour_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Upkeep(**(KEEP.__dict__ | {"vacuum_retention_hours": 0}))


def test_a_checkpoint_is_written_when_due_and_positions_are_in_it(tmp_path):
    store = filled(tmp_path, 9)
    assert checkpoint(tmp_path, KEEP) is False
    append(store, 9)
    assert checkpoint(tmp_path, KEEP) is True
    assert checkpoint(tmp_path, KEEP) is False
    assert DeltaTable(tmp_path).transaction_version("c/t/0") == 20
