"""When flush believes that the job has judged everything, against a job, a broker and a clock written by hand."""

from __future__ import annotations

import pytest

from infra.stack.flink_jobs import CheckpointFailed
from infra.stack.flink_source import ReadUpTo
from infra.stack.settings import Settings
from jobs.ops import flush
from pipelines.io import progress

ENDS = {"raw.app/0": 10}
NOW_S = 1_000_000.0
LONG_AGO_S, JUST_NOW_S = 0.0, NOW_S - 5


@pytest.fixture
def job(monkeypatch):
    """What the job says look by look; the last word holds on. `checkpoints` counts what it was asked for."""

    class Job:
        committed: list[int]
        read: list[ReadUpTo]
        refusals = 0
        checkpoints = 0

        def next_of(self, words: list):
            return words.pop(0) if len(words) > 1 else words[0]

        def checkpoint(self, *_):
            self.checkpoints += 1
            if self.checkpoints <= self.refusals:
                raise CheckpointFailed("Not all required tasks are currently running")

    job = Job()
    monkeypatch.setattr(progress, "committed", lambda *_: {"raw.app/0": job.next_of(job.committed)})
    monkeypatch.setattr(flush, "read_up_to", lambda *_: job.next_of(job.read))
    monkeypatch.setattr(flush, "_running_job", lambda _: "j1")
    monkeypatch.setattr(flush.flink_jobs, "checkpoint", job.checkpoint)
    monkeypatch.setattr(flush, "LONGEST_S", 0.0)  # no look waits
    monkeypatch.setattr(flush.time, "time", lambda: NOW_S)
    return job


def read(offset: int, restarted_at_s: float = LONG_AGO_S) -> ReadUpTo:
    return ReadUpTo({"raw.app/0": offset}, restarted_at_s)


def judge(tmp_path, limit_s: float = 5.0) -> tuple[int, int]:
    return flush.judge(Settings.load(tmp_path), ENDS, limit_s)


def test_all_is_committed_already(job, tmp_path):
    job.committed, job.read = [10], [read(0)]
    assert judge(tmp_path) == (0, 0)  # none was waiting, so no checkpoint


def test_one_checkpoint_once_the_source_has_handed_on_everything(job, tmp_path):
    job.committed, job.read = [4], [read(6), read(9), read(10)]
    assert judge(tmp_path) == (6, 1)  # 10 - 4; the commit itself follows too late to be waited for


def test_a_checkpoint_that_fails_is_asked_for_again(job, tmp_path):
    job.committed, job.read, job.refusals = [4], [read(10)], 2
    assert judge(tmp_path) == (6, 3)


def test_a_restart_between_the_look_and_the_checkpoint(job, tmp_path):
    """The run that had read to the end is lost; the checkpoint may be one of the next, which has read less."""
    job.committed = [4, 4, 4, 10]
    job.read = [read(10), read(10, JUST_NOW_S)]
    assert judge(tmp_path) == (6, 1)
    assert job.committed == [10]  # it did not return before the commits were through, at the fourth look


def test_after_a_restart_what_is_told_of_the_lost_run_does_not_count(job, tmp_path):
    job.committed, job.read = [4, 4, 10], [read(10, JUST_NOW_S)]
    assert judge(tmp_path) == (6, 0)  # the regular checkpoint brought it


def test_at_the_limit_it_says_how_many_and_why(job, tmp_path):
    job.committed, job.read, job.refusals = [4], [read(10)], 1_000_000
    with pytest.raises(flush.FlushFailed, match=r"all is judged and not committed.*Not all required tasks"):
        judge(tmp_path, limit_s=0.2)
    job.committed, job.read = [4], [read(7)]
    with pytest.raises(flush.FlushFailed, match="3 messages are not judged"):
        judge(tmp_path, limit_s=0.2)
