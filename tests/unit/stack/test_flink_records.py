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


def metadata(folder: Path, number: int) -> None:
    """A _metadata file as Flink begins it: magic, version 6, running number."""
    folder.mkdir(parents=True)
    (folder / "_metadata").write_bytes(struct.pack(">iiq", 0x4960672D, 6, number) + b"state")


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


def test_prune_keeps_the_last_two_runs_and_waits_for_the_newest_ones_first_checkpoint(settings: Settings) -> None:
    for job in ("a", "b", "c"):
        (settings.checkpoints / job).mkdir(parents=True)
    runs = record(("c", "b"), ("b", "a"), ("a", None))
    assert flink_records.prune(settings, runs) == []  # c still needs what it started from
    metadata(settings.checkpoints / "c" / "chk-5", 5)
    assert flink_records.prune(settings, runs) == ["a"]
    assert {path.name for path in settings.checkpoints.iterdir()} == {"b", "c"}


def test_prune_does_not_take_a_savepoint_for_the_newest_runs_own_checkpoint(settings: Settings) -> None:
    # Taken before c's first checkpoint; when c fails then, it starts again from b's, not from the savepoint.
    for job in ("a", "b", "c"):
        (settings.checkpoints / job).mkdir(parents=True)
    metadata(settings.savepoints / "c" / "savepoint-c-1", 9)
    assert flink_records.prune(settings, record(("c", "b"), ("b", "a"), ("a", None))) == []
    assert {path.name for path in settings.checkpoints.iterdir()} == {"a", "b", "c"}


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
