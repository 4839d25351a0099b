"""Rows are gone from a table, its history, its log and its folder; the other rows are what they were."""

from __future__ import annotations

import re
import time

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.io import delta_erasure, delta_upkeep
from pipelines.io.delta import LostRace, Move, open_store
from pipelines.io.delta_erasure import count, erase
from pipelines.io.delta_upkeep import RearrangeFailed, Upkeep

SCHEMA = pa.schema([("raw_offset", pa.int64()), ("customer_id", pa.string()), ("text", pa.string()),
                    ("received_date", pa.date32())])  # fmt: skip
SECRET = "王小明住在梧桐路"
KEEP = Upkeep(compact_at_files=2, small_file_bytes=1 << 20, round_bytes=1 << 22, rest_factor=0,
              checkpoint_every_commits=10, vacuum_retention_hours=1)  # fmt: skip


def store_at(path):
    return open_store(path, SCHEMA, ["received_date"], name="silver.test", description="", checkpoint_every=10)


def append(store, start: int, customers: list[str]) -> None:
    day = pa.array([20000 + n % 2 for n in range(len(customers))], pa.int32()).cast(pa.date32())
    texts = [f"{SECRET} {n}" if c == "c_1" else f"text {n}" for n, c in enumerate(customers)]
    rows = pa.table([range(start, start + len(customers)), customers, texts, day], schema=SCHEMA)
    store.append(rows, {"c/t/0": Move(start or None, start + len(customers))})


def theirs(rows: pl.DataFrame) -> pl.Series:
    return rows["customer_id"].eq("c_1").fill_null(False)


def rows(path) -> pa.Table:
    return DeltaTable(path).to_pyarrow_table().sort_by("raw_offset")


def bytes_of(path) -> str:
    """Everything in the folder a person could be read from: Parquet decoded, logs as text."""
    told = []
    for file in path.rglob("*"):
        if file.suffix == ".parquet":
            told.append(str(pl.read_parquet(file, hive_partitioning=False).to_dicts()))
        elif file.is_file():
            told.append(file.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(told)


@pytest.fixture
def table(tmp_path):
    store = store_at(tmp_path)
    append(store, 0, ["c_1", "c_2", "c_3", None])
    append(store, 4, ["c_2", "c_2"])  # a file without them
    append(store, 6, ["c_1", "c_1"])  # a file of theirs alone
    return tmp_path


def test_their_rows_are_gone_everywhere_and_the_others_are_untouched(table):
    before = rows(table)
    assert SECRET in bytes_of(table)
    assert '"c_1"' in bytes_of(table).replace("\\", "")  # the log has least and greatest customer_id of each file
    done = erase(table, ["customer_id"], theirs)
    assert (done.rows_before, done.rows_removed, done.young_leavings) == (8, 3, 0)
    others = before.filter(pa.array([c != "c_1" for c in before["customer_id"].to_pylist()]))
    assert rows(table).equals(others)
    left = bytes_of(table)
    assert SECRET not in left
    assert not re.search(r"c_1\b", left)
    assert count(table, ["customer_id"], theirs) == 0


def test_positions_stay_and_the_writer_goes_on_after_it_opened_the_table_anew(table):
    erase(table, ["customer_id"], theirs)
    store = store_at(table)
    assert store.positions(["c/t/0"]) == {"c/t/0": 8}
    append(store, 8, ["c_1"])
    assert count(table, ["customer_id"], theirs) == 1  # who comes again is a new customer
    with pytest.raises(LostRace):
        append(store, 8, ["c_2"])


def test_done_twice_it_removes_nothing_more(table):
    erase(table, ["customer_id"], theirs)
    after = rows(table)
    assert erase(table, ["customer_id"], theirs).rows_removed == 0
    assert rows(table).equals(after)


def test_rows_compacted_before_are_found_and_small_files_of_old_versions_are_gone(table):
    assert delta_upkeep.compact(table, KEEP)
    erase(table, ["customer_id"], theirs)
    assert SECRET not in bytes_of(table)
    on_disk = {f.name for f in table.rglob("*.parquet") if "_delta_log" not in f.parts}
    assert on_disk == {uri.rpartition("/")[2] for uri in DeltaTable(table).file_uris()}


def test_a_compaction_planned_before_does_not_bring_them_back(table, monkeypatch):
    """It read the old files; by the time of its commit the log it was planned on is gone, and it fails as a whole."""
    real = delta_upkeep.replace_files

    def late(*arguments, **more):
        monkeypatch.setattr(delta_upkeep, "replace_files", real)
        erase(table, ["customer_id"], theirs)
        return real(*arguments, **more)

    monkeypatch.setattr(delta_upkeep, "replace_files", late)
    with pytest.raises(DeltaError):  # upkeep logs it and looks again
        delta_upkeep.compact(table, KEEP)
    assert count(table, ["customer_id"], theirs) == 0
    assert rows(table).num_rows == 5


def test_losing_to_a_compaction_it_looks_again(table, monkeypatch):
    real = delta_erasure.replace_files

    def late(*arguments, **more):
        monkeypatch.setattr(delta_erasure, "replace_files", real)
        assert delta_upkeep.compact(table, KEEP)
        return real(*arguments, **more)

    monkeypatch.setattr(delta_erasure, "replace_files", late)
    assert erase(table, ["customer_id"], theirs).rows_removed == 3
    assert rows(table).num_rows == 5
    # What it wrote for the lost commit is a leaving that holds nothing of theirs.
    assert SECRET not in bytes_of(table)


def test_a_young_file_nobody_refers_to_is_kept_and_told_an_old_one_goes(table):
    theirs_in_it = pa.table({"customer_id": ["c_1"], "text": [SECRET]})
    young, old = table / "part-young.parquet", table / "part-old.parquet"
    for file in (young, old):
        pl.from_arrow(theirs_in_it).write_parquet(file)
    import os

    os.utime(old, (time.time() - 4000,) * 2)
    done = erase(table, ["customer_id"], theirs)
    assert (done.young_leavings, young.exists(), old.exists()) == (1, True, False)


def test_counts_that_do_not_fit_commit_nothing(table, monkeypatch):
    before, real = rows(table), delta_erasure.files_of
    monkeypatch.setattr(
        delta_erasure, "files_of",
        lambda t: [delta_upkeep.TableFile(f.path, f.size, f.rows + 1, f.written_ms, f.partition) for f in real(t)],
    )  # fmt: skip
    with pytest.raises(RearrangeFailed, match="nothing was changed"):
        erase(table, ["customer_id"], theirs)
    assert rows(table).equals(before)
