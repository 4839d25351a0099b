"""Submitting, finding and stopping Flink jobs, so that a job runs once or not at all, never twice."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
import urllib.error
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from infra.stack import flink, flink_records
from infra.stack.flink_records import JobRecord, Run
from infra.stack.settings import PROJECT_ROOT, Settings

log = logging.getLogger(__name__)
TERMINAL = frozenset({"FINISHED", "CANCELED", "FAILED", "SUSPENDED"})
SUBMIT_LIMIT_S = 180
STOP_LIMIT_S = 120


class SubmitFailed(RuntimeError):
    """The job manager did not take the job; the message carries Flink's own words."""


class StopFailed(RuntimeError):
    """No savepoint was made; the job runs on."""


class CheckpointFailed(RuntimeError):
    """A checkpoint that was asked for did not come; the next one in turn may."""


@dataclass(frozen=True)
class LiveJob:
    """A job the job manager knows and that has not ended. state: Flink's word (RUNNING, RESTARTING, …)."""

    job_id: str
    name: str
    state: str
    started_at_s: float


def live_jobs(settings: Settings) -> list[LiveJob]:
    """All jobs that have not ended. Raises OSError when the job manager does not answer."""
    listed = flink.rest(settings, "/jobs/overview")["jobs"]
    return [
        LiveJob(job["jid"], job["name"], job["state"], job["start-time"] / 1000)
        for job in listed
        if job["state"] not in TERMINAL
    ]


def running_job(settings: Settings, name: str) -> LiveJob | None:
    """The job of this name that has not ended, None when there is none. Raises OSError as `live_jobs`."""
    return next((job for job in live_jobs(settings) if job.name == name), None)


def latest_checkpoint(settings: Settings, record: JobRecord) -> str | None:
    """Where the job's next run must start (see flink_records.resume_point)."""
    return flink_records.resume_point(settings, record)


def submit(settings: Settings, record: JobRecord, restore_from: str | None, lock: int) -> str:
    """Starts a run of the job from a snapshot (None: from nothing); returns Flink's job id.

    The caller holds `flink_records.locked` and passes its descriptor. The job id is chosen and written down first,
    and Flink refuses a second job of the same id: an attempt whose end nobody saw can be repeated safely.
    Raises SubmitFailed; the record then says so.
    """
    unfinished = record.runs[0] if record.runs and record.runs[0].outcome == "submitting" else None
    if unfinished is not None and _known(settings, unfinished.job_id):
        return _concluded(settings, record, unfinished)
    run = Run(unfinished.job_id if unfinished else uuid.uuid4().hex, restore_from, time.time())
    record = flink_records.save(settings, record.with_run(run))
    words, ended = _run_client(settings, record, run, lock)
    if _await_known(settings, run.job_id):
        return _concluded(settings, record, run)
    if not ended:
        # The job manager may have it and not know it yet: the run stays 'submitting', the next try takes the same id.
        raise SubmitFailed(f"{record.name}: {words}")
    refused = replace(record.with_run(replace(run, outcome="refused")), error=words)
    if newest_is_empty(settings, run):
        # It never lived, so the run before it is again the one whose snapshots count.
        refused = replace(refused, runs=refused.runs[1:])
    flink_records.save(settings, refused)
    raise SubmitFailed(f"{record.name} was not taken by Flink: {words}")


def newest_is_empty(settings: Settings, run: Run) -> bool:
    """True when a run left no snapshot at all."""
    return flink_records.newest_snapshot(settings, run.job_id) is None


def _concluded(settings: Settings, record: JobRecord, run: Run) -> str:
    flink_records.save(settings, replace(record.with_run(replace(run, outcome="submitted")), error=None))
    return run.job_id


def _known(settings: Settings, job_id: str) -> bool:
    """True when the job manager has this job, in whatever state."""
    try:
        flink.rest(settings, f"/jobs/{job_id}")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise
    return True


def _await_known(settings: Settings, job_id: str, wait_s: float = 10) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            if _known(settings, job_id):
                return True
        except OSError as error:
            if time.monotonic() >= deadline:
                raise SubmitFailed(f"the job manager went away during the submission ({error})") from error
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.5)


def _run_client(settings: Settings, record: JobRecord, run: Run, lock: int) -> tuple[str, bool]:
    """Runs `flink run`; what it had to say if it failed ('' otherwise), and whether it came to an end by itself."""
    arguments = ["run", "-d", "-p", str(record.parallelism)]
    arguments += [f"-Dpipeline.name={record.name}", f"-D$internal.pipeline.job-id={run.job_id}"]
    arguments += ["-s", run.restored_from] if run.restored_from else []
    arguments += ["-py", str((PROJECT_ROOT / record.script).resolve()), *record.args]
    client = subprocess.Popen(
        flink.client_command(settings, *arguments),
        cwd=PROJECT_ROOT,
        env=os.environ | flink.environment(settings) | _home(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=(lock,),
    )
    try:
        output, _ = client.communicate(timeout=SUBMIT_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(client.pid, signal.SIGKILL)
        output, _ = client.communicate()
        return f"no answer within {SUBMIT_LIMIT_S} s\n{_reason(output)}", False
    (settings.logs / f"submit-{record.name}.log").write_text(output, encoding="utf-8")
    return ("" if client.returncode == 0 else _reason(output)), True


def _home(settings: Settings) -> dict[str, str]:
    return {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}


def _reason(output: str) -> str:
    """The causes out of a Java or Python trace: they say more than its frames.

    >>> _reason("x\\njava.lang.A: no\\n\\tat a.b\\nCaused by: java.lang.B: really no\\n\\tat c.d")
    'java.lang.B: really no'
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    errors = [line for line in lines if "Error" in line.split(":")[0] or "Exception" in line.split(":")[0]]
    return "\n".join(dict.fromkeys([*causes, *([] if causes else errors)][-3:])) or "\n".join(lines[-5:])


def failure(settings: Settings, job_id: str) -> str | None:
    """Why a job failed, Flink's root cause; None when it has not."""
    try:
        history = flink.rest(settings, f"/jobs/{job_id}/exceptions")["exceptionHistory"]["entries"]
    except (OSError, KeyError):
        return None
    return _reason(history[0]["stacktrace"]) if history else None


def stop_with_savepoint(settings: Settings, job_id: str, limit_s: float = STOP_LIMIT_S) -> str:
    """Stops a job once everything it read is written and committed; returns the savepoint's folder.

    Raises StopFailed when Flink could not, with its words; the job then runs on.
    """
    folder = flink_records.savepoint_folder(settings, job_id)
    folder.mkdir(parents=True, exist_ok=True)
    body = {"targetDirectory": folder.as_uri(), "drain": False, "formatType": "NATIVE"}
    try:
        made = _operation(settings, job_id, "stop", body, "savepoints", limit_s)
    except urllib.error.HTTPError as error:
        raise StopFailed(f"Flink refused to stop {job_id}: {error.read().decode(errors='replace')[:500]}") from error
    if made is None:
        raise StopFailed(f"no savepoint of {job_id} within {limit_s:.0f} s; the job runs on")
    return _savepoint(made)


def checkpoint(settings: Settings, job_id: str, limit_s: float) -> None:
    """Takes a checkpoint now: what the job has read by then is committed, without waiting for the next one in turn.

    Raises CheckpointFailed with Flink's words, or when none came in time; OSError when the job manager is away.
    """
    try:
        taken = _operation(settings, job_id, "checkpoints", {}, "checkpoints", limit_s)
    except urllib.error.HTTPError as error:
        raise CheckpointFailed(f"Flink refused: {error.read().decode(errors='replace')[:500]}") from error
    if taken is None:
        raise CheckpointFailed(f"no checkpoint of {job_id} within {limit_s:.0f} s")
    if cause := taken.get("failureCause"):
        raise CheckpointFailed(f"no checkpoint of {job_id}: {_reason(str(cause))}")


def _operation(settings: Settings, job_id: str, verb: str, body: dict, kind: str, limit_s: float) -> dict | None:
    """Has Flink do something that takes a while; what came of it, None when it was not through in time."""
    trigger = flink.rest(settings, f"/jobs/{job_id}/{verb}", method="POST", body=body)["request-id"]
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        told = flink.rest(settings, f"/jobs/{job_id}/{kind}/{trigger}")
        if told["status"]["id"] == "COMPLETED":
            return told["operation"]
        time.sleep(0.1)
    return None


def _savepoint(operation: dict) -> str:
    if "location" in operation:
        return str(Path(operation["location"].removeprefix("file:")))
    raise StopFailed(_reason(operation.get("failure-cause", {}).get("stack-trace", "no reason given")))


def stop_all_with_savepoint(settings: Settings, limit_s: float = 30) -> None:
    """Before the cluster goes down: every running job is stopped with a savepoint, which its next run finds.

    A plain kill is as exact, as long as the broker is back before it ends the transaction the last checkpoint had
    prepared; a savepoint leaves none open. A job that cannot make one in time resumes from its checkpoint.
    """
    try:
        jobs = [job for job in live_jobs(settings) if job.state == "RUNNING"]
    except OSError:
        return
    for job in jobs:
        try:
            log.info("%s stopped with savepoint %s", job.name, stop_with_savepoint(settings, job.job_id, limit_s))
        except (StopFailed, OSError) as error:
            log.warning("%s will resume from its last checkpoint: %s", job.name, error)
