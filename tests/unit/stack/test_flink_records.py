"""Where a job's next run starts. A wrong answer here is lost or doubled rows."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.stack import flink_records
from infra.stack.flink_records import JobRecord, LockBusy, Run
from infra.stack.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(tmp_path, 20000)


def metadata(folder: Path, number: int, names: bytes = b"") -> None:
    """A _metadata file as Flink begins it: magic, version 6, running number; then, among others, names of files."""
    folder.mkdir(parents=True)
    (folder / "_metadata").write_bytes(struct.pack(">iiq", 0x4960672D, 6, number) + names)


def record(*runs: tuple[str, str | None]) -> JobRecord:
    return JobRecord("clean", "clean.py", runs=[Run(job, origin, 0.0, "submitted") for job, origin in runs])


def test_never_deployed_starts_from_nothing(settings: Settings) -> None:
    assert flink_records.resume_point(settings, record()) is None


def test_newest_completed_checkpoint_by_number_not_by_name(settings: Settings) -> None:
    metadata(settings.checkpoints / "b" / "chk-9", 9)
    metadata(settings.checkpoints / "b" / "chk-10", 10)  # "chk-10" sorts before "chk-9"
    (settings.checkpoints / "b" / "chk-11").mkdir()  # begun, never completed: nothing of it was committed
    assert flink_records.resume_point(settings, record(("b", None))) == str(settings.checkpoints / "b" / "chk-10")


def test_run_that_completed_nothing_starts_again_where_it_started(settings: Settings) -> None:
    metadata(settings.checkpoints / "a" / "chk-3", 3)
    metadata(settings.checkpoints / "a" / "chk-4", 4)
    found = flink_records.resume_point(settings, record(("b", "/savepoints/a/savepoint-1"), ("a", None)))
    assert found == "/savepoints/a/savepoint-1"  # not a's chk-4: the savepoint came after it


def test_first_run_without_checkpoint_starts_from_nothing_again(settings: Settings) -> None:
    assert flink_records.resume_point(settings, record(("a", None))) is None


def test_savepoint_nobody_noted_is_found(settings: Settings) -> None:
    # `deploy` was killed between Flink's savepoint (which commits) and writing its path down.
    metadata(settings.checkpoints / "a" / "chk-7", 7)
    metadata(settings.savepoints / "a" / "savepoint-a-1", 8)
    assert flink_records.resume_point(settings, record(("a", None))) == str(settings.savepoints / "a" / "savepoint-a-1")


def test_checkpoint_after_a_savepoint_wins(settings: Settings) -> None:
    # A savepoint was taken but the job ran on.
    metadata(settings.savepoints / "a" / "savepoint-a-1", 8)
    metadata(settings.checkpoints / "a" / "chk-9", 9)
    assert flink_records.resume_point(settings, record(("a", None))) == str(settings.checkpoints / "a" / "chk-9")


def test_damaged_newest_checkpoint_is_not_passed_over(settings: Settings) -> None:
    # chk-8 was completed, so its rows are committed; going back to chk-7 would write them twice.
    metadata(settings.checkpoints / "a" / "chk-7", 7)
    (settings.checkpoints / "a" / "chk-8").mkdir()
    (settings.checkpoints / "a" / "chk-8" / "_metadata").write_bytes(b"")
    assert flink_records.resume_point(settings, record(("a", None))) == str(settings.checkpoints / "a" / "chk-8")


def stored(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"state")


def left_in(settings: Settings, job: str) -> set[str]:
    return {path.name for path in (settings.checkpoints / job).rglob("*") if path.is_file()}


def test_prune_leaves_what_a_claimed_snapshot_still_needs(settings: Settings) -> None:
    # Run c started from b's chk-7, b from a's chk-4. Rows of run a still live, so c's own chk-8 names a's file.
    stored(settings.checkpoints / "a" / "shared", "1a0d-needed", "2b1e-past")
    stored(settings.checkpoints / "a" / "chk-3", "3c2f-kept-beside-the-last")
    metadata(settings.checkpoints / "a" / "chk-2", 2)
    stored(settings.checkpoints / "a" / "dstl", "4d3a-written-to-no-snapshot")
    metadata(settings.checkpoints / "b" / "chk-7", 7)
    stored(settings.checkpoints / "b" / "shared", "5e4b-past-too")
    runs = record(("c", "b/chk-7"), ("b", "a/chk-4"), ("a", None))
    assert flink_records.prune(settings, runs) == []
    assert len(left_in(settings, "a")) == 5  # c has no snapshot yet: should it fail, everything may be needed
    metadata(settings.checkpoints / "c" / "chk-8", 8, names=b"\0\x0b1a0d-needed\0")
    assert flink_records.prune(settings, runs) == []
    assert left_in(settings, "a") == {"1a0d-needed"}
    assert [path.name for path in (settings.checkpoints / "a").iterdir()] == ["shared"]
    assert left_in(settings, "b") == {"_metadata", "5e4b-past-too"}  # the last two runs are Flink's own affair


def test_prune_counts_the_run_before_the_newest_too(settings: Settings) -> None:
    # Flink keeps b's chk-7 until c has three snapshots of its own.
    stored(settings.checkpoints / "a" / "shared", "1a0d-needed")
    metadata(settings.checkpoints / "b" / "chk-7", 7, names=b"1a0d-needed")
    metadata(settings.checkpoints / "c" / "chk-8", 8)
    assert flink_records.prune(settings, record(("c", "b"), ("b", "a"), ("a", None))) == []
    assert left_in(settings, "a") == {"1a0d-needed"}


def test_prune_removes_a_run_to_which_nothing_refers(settings: Settings) -> None:
    metadata(settings.checkpoints / "a" / "chk-3", 3)
    metadata(settings.savepoints / "a" / "savepoint-a-1", 4)
    stored(settings.checkpoints / "other-job" / "shared", "9f8c-of-another-job")
    metadata(settings.checkpoints / "c" / "chk-8", 8)
    assert flink_records.prune(settings, record(("c", "b"), ("b", "a"), ("a", None))) == ["a"]
    assert {path.name for path in settings.checkpoints.iterdir()} == {"c", "other-job"}
    assert not (settings.savepoints / "a").exists()


def test_record_survives_writing_and_reading(settings: Settings) -> None:
    written = flink_records.save(settings, record(("a", None)).with_run(Run("b", "chk-1", 5.0)))
    assert flink_records.load(settings, "clean") == written
    assert [run.job_id for run in written.runs] == ["b", "a"]
    assert flink_records.load_all(settings) == [written]


def test_second_holder_of_the_lock_is_refused_and_the_lock_outlives_a_killed_holder(settings: Settings) -> None:
    with flink_records.locked(settings, "clean") as descriptor:
        # A client that inherits the descriptor, as the submitting JVM does.
        client = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE,
                                  pass_fds=(descriptor,))  # fmt: skip
        with pytest.raises(LockBusy), flink_records.locked(settings, "clean"):
            pass
    with pytest.raises(LockBusy, match="under way"), flink_records.locked(settings, "clean"):
        pass  # the holder is gone, its client is not
    client.kill()
    client.wait()
    began = time.monotonic()
    with flink_records.locked(settings, "clean", wait_s=5):
        assert time.monotonic() - began < 5
