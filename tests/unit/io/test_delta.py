"""Rows and positions go in as one commit, and of two writers with the same messages one is refused."""

from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.io.delta import LostRace, Move, SchemaRefused, open_store

SCHEMA = pa.schema([pa.field("raw_offset", pa.int64(), nullable=False), pa.field("received_date", pa.string())])


def opened(path, schema=SCHEMA, partition_by=("received_date",)):
    return open_store(path, schema, partition_by, name="silver.test", description="a table", checkpoint_every=5)


def rows(first: int, count: int) -> pa.Table:
    return pa.table([list(range(first, first + count)), ["2026-01-05"] * count], schema=SCHEMA)


def offsets(path) -> list[int]:
    return sorted(DeltaTable(path).to_pyarrow_table()["raw_offset"].to_pylist())


def test_rows_and_positions_of_several_sources_are_one_commit(tmp_path):
    store = opened(tmp_path)
    store.append(rows(0, 3), {"c/t/0": Move(None, 2), "c/t/1": Move(None, 1)})
    assert store.version == 1
    assert opened(tmp_path).positions(["c/t/0", "c/t/1", "c/t/2"]) == {"c/t/0": 2, "c/t/1": 1}


def test_a_writer_that_did_not_see_the_others_commit_is_refused(tmp_path):
    one, other = opened(tmp_path), opened(tmp_path)
    one.append(rows(0, 3), {"c/t/0": Move(None, 3)})
    with pytest.raises(LostRace):
        other.append(rows(0, 3), {"c/t/0": Move(None, 3)})
    assert offsets(tmp_path) == [0, 1, 2]


def test_a_commit_that_comes_in_while_writing_is_found_by_delta(tmp_path, monkeypatch):
    """The other's commit lands after our comparison: only delta-rs's own check stands between us and a double row."""
    one, other = opened(tmp_path), opened(tmp_path)
    one.append(rows(0, 3), {"c/t/0": Move(None, 3)})
    monkeypatch.setattr(other, "refresh", lambda: None)
    with pytest.raises(LostRace, match="Concurrent transaction"):
        other.append(rows(0, 3), {"c/t/0": Move(None, 3)})
    assert offsets(tmp_path) == [0, 1, 2]


def test_writers_of_different_sources_do_not_disturb_each_other(tmp_path):
    one, other = opened(tmp_path), opened(tmp_path)
    one.append(rows(0, 3), {"c/t/0": Move(None, 3)})
    other.append(rows(10, 2), {"c/t/1": Move(None, 12)})
    assert offsets(tmp_path) == [0, 1, 2, 10, 11]
    assert opened(tmp_path).positions(["c/t/0", "c/t/1"]) == {"c/t/0": 3, "c/t/1": 12}


def test_remembered_positions_are_dropped_when_others_committed(tmp_path):
    one, other = opened(tmp_path), opened(tmp_path)
    one.append(rows(0, 1), {"c/t/0": Move(None, 1)})
    assert one.positions(["c/t/1"]) == {}
    other.append(rows(5, 1), {"c/t/1": Move(None, 6)})
    one.append(rows(1, 1), {"c/t/0": Move(1, 2)})
    assert one.positions(["c/t/0", "c/t/1"]) == {"c/t/0": 2, "c/t/1": 6}


def test_positions_alone_move_without_a_file(tmp_path):
    store = opened(tmp_path)
    store.append(SCHEMA.empty_table(), {"c/t/0": Move(None, 7)})
    assert store.is_empty()
    assert opened(tmp_path).positions(["c/t/0"]) == {"c/t/0": 7}


def test_positions_outlive_checkpoints_and_log_cleanup(tmp_path):
    store = opened(tmp_path)
    store.append(rows(0, 1), {"c/old/0": Move(None, 1)})
    for n in range(1, 8):
        store.append(rows(n, 1), {"c/t/0": Move(n - 1 or None, n)})
    table = DeltaTable(tmp_path)
    table.create_checkpoint()
    for entry in (tmp_path / "_delta_log").glob("*.json"):
        if int(entry.stem) < table.version():
            entry.unlink()  # what cleanup_metadata does after the retention
    assert opened(tmp_path).positions(["c/old/0", "c/t/0"]) == {"c/old/0": 1, "c/t/0": 7}


def test_a_snapshot_older_than_the_log_is_refused_and_a_new_one_goes_on(tmp_path):
    """A table at rest for longer than its log is kept: never may a commit end up behind a checkpoint, unseen."""
    idle, busy = opened(tmp_path), opened(tmp_path)
    for n in range(8):
        busy.append(rows(n, 1), {"c/t/0": Move(n or None, n + 1)})
    table = DeltaTable(tmp_path)
    table.create_checkpoint()
    for entry in (tmp_path / "_delta_log").glob("*.json"):
        if int(entry.stem) < table.version():
            entry.unlink()
    try:
        idle.append(rows(50, 1), {"c/t/1": Move(None, 51)})
    except DeltaError:
        opened(tmp_path).append(rows(50, 1), {"c/t/1": Move(None, 51)})
    assert offsets(tmp_path) == [*range(8), 50]


def test_new_nullable_column_is_taken_and_old_rows_read_null(tmp_path):
    opened(tmp_path).append(rows(0, 1), {"c/t/0": Move(None, 1)})
    wider = SCHEMA.append(pa.field("score", pa.float64()))
    store = opened(tmp_path, wider)
    store.append(pa.table([[1], ["2026-01-05"], [4.5]], schema=wider), {"c/t/0": Move(1, 2)})
    assert DeltaTable(tmp_path).to_pyarrow_table().sort_by("raw_offset")["score"].to_pylist() == [None, 4.5]


@pytest.mark.parametrize(
    ("schema", "partition_by", "said"),
    [
        # a column that is gone: old rows hold it, readers ask for it
        (pa.schema([SCHEMA.field(1)]), ["received_date"], "raw_offset is in the table, not in the contract"),
        # another type
        (pa.schema([("raw_offset", pa.string()), SCHEMA.field(1)]), ["received_date"], "raw_offset is .*long.*string"),
        # new and required: rows already written lack it
        (SCHEMA.append(pa.field("x", pa.int32(), nullable=False)), ["received_date"], "x is new and required"),
        # other partitions
        (SCHEMA, [], "partitioned by"),
    ],
)
def test_breaking_schema_changes_are_refused(tmp_path, schema, partition_by, said):
    opened(tmp_path).append(rows(0, 1), {"c/t/0": Move(None, 1)})
    with pytest.raises(SchemaRefused, match=said):
        opened(tmp_path, schema, partition_by)
