"""Submissions whose end nobody saw, and jobs the record does not describe: nothing may be forgotten or deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.stack import flink_jobs, flink_records
from infra.stack.flink_jobs import LiveJob, SubmitFailed
from infra.stack.flink_records import JobRecord, Run
from infra.stack.settings import Settings
from jobs.services.job_keeper import Keeper


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(tmp_path, 20000)


def record(*job_ids: str) -> JobRecord:
    return JobRecord("clean", "clean.py", runs=[Run(job_id, None, 0.0, "submitted") for job_id in job_ids])


@pytest.mark.parametrize(("ended", "kept_id"), [(False, True), (True, False)])
def test_only_a_client_that_ended_by_itself_frees_the_job_id(settings, monkeypatch, ended, kept_id):
    # A client killed after its time may have handed the job over: under another id it would run twice.
    asked = []
    monkeypatch.setattr(flink_jobs, "_known", lambda *_: False)
    monkeypatch.setattr(flink_jobs, "_await_known", lambda *_: False)
    monkeypatch.setattr(
        flink_jobs, "_run_client", lambda s, r, run, lock: (asked.append(run.job_id), ("why", ended))[1]
    )
    with pytest.raises(SubmitFailed, match="why"):
        flink_jobs.submit(settings, record("a"), "chk-1", lock=0)
    with pytest.raises(SubmitFailed, match="why"):
        flink_jobs.submit(settings, flink_records.load(settings, "clean"), "chk-1", lock=0)
    assert (asked[0] == asked[1]) is kept_id
    assert len(flink_records.load(settings, "clean").runs) == (2 if kept_id else 1)


@pytest.mark.parametrize(("live", "deleted"), [("c", ["a"]), ("x", [])])
def test_old_runs_go_only_when_the_newest_of_the_record_is_the_one_that_lives(settings, monkeypatch, live, deleted):
    for job in ("a", "b", "c"):
        (settings.checkpoints / job / "chk-1").mkdir(parents=True)
        (settings.checkpoints / job / "chk-1" / "_metadata").write_bytes(b"")
    flink_records.save(settings, record("c", "b", "a"))
    monkeypatch.setattr(flink_jobs, "running_job", lambda *_: LiveJob(live, "clean", "RUNNING", 0.0))
    Keeper(settings).look()
    assert sorted({"a", "b", "c"} - {path.name for path in settings.checkpoints.iterdir()}) == deleted
