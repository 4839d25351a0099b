"""Whether the parts and the Flink jobs of a stack are well: shared by `kefulake status` and the metrics service."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from infra.stack import flink, flink_jobs, flink_records, lifecycle, processes, supervisor
from infra.stack.programs import PROGRAMS
from infra.stack.settings import Settings


@dataclass(frozen=True)
class Part:
    """One supervised part. trouble: None when well, else why not. memory_mb: it and its children, resident."""

    name: str
    trouble: str | None
    pid: int
    up_s: float
    memory_mb: float
    address: str


@dataclass(frozen=True)
class Job:
    """One deployed Flink job. state: Flink's word, or 'missing'; trouble: None when it is as it was deployed to be."""

    name: str
    state: str
    trouble: str | None
    job_id: str = ""
    restarts: int = 0
    checkpoint_age_s: float | None = None
    checkpoint_ms: int | None = None


def parts(settings: Settings) -> list[Part]:
    """Every part the supervisor looks after, in starting order; without a supervisor, what runs on without one."""
    states = supervisor.states(settings)
    if not states:
        return _orphans(settings)
    found = []
    for program in sorted((p for p in PROGRAMS if p.name in states), key=lambda p: p.stage):
        info = states[program.name]
        pid = info["pid"]
        ports = list(program.ports(settings).values())
        found.append(
            Part(
                name=program.name,
                trouble=lifecycle.trouble(settings, program, states),
                pid=pid,
                up_s=time.time() - info["start"] if pid else 0.0,
                memory_mb=processes.resident_mb(psutil.Process(pid)) if pid and psutil.pid_exists(pid) else 0.0,
                address=f"127.0.0.1:{ports[0]}" if ports else "",
            )
        )
    return found


def _orphans(settings: Settings) -> list[Part]:
    why = "runs without its supervisor (kefulake up takes it over, kefulake down stops it)"
    return [
        Part(part, why, process.pid, time.time() - process.create_time(), processes.resident_mb(process), "")
        for process, part in processes.of_home(settings.home)
    ]


def jobs(settings: Settings) -> list[Job]:
    """Every job that was ever deployed here, as Flink sees it now."""
    records = flink_records.load_all(settings)
    if not records:
        return []
    try:
        live = {job.name: job for job in flink_jobs.live_jobs(settings)}
    except OSError:
        live = {}
    return [_job(settings, record, live.get(record.name)) for record in records]


def _job(settings: Settings, record: flink_records.JobRecord, live: flink_jobs.LiveJob | None) -> Job:
    if live is None:
        if record.desired == flink_records.STOPPED:
            return Job(record.name, "stopped", None)
        return Job(record.name, "missing", record.error or "it should run; the job keeper starts it again")
    restarts, age_s, took_ms = _checkpoints(settings, live.job_id)
    trouble = None if live.state == "RUNNING" else (flink_jobs.failure(settings, live.job_id) or live.state.lower())
    return Job(record.name, live.state, trouble, live.job_id, restarts, age_s, took_ms)


def _checkpoints(settings: Settings, job_id: str) -> tuple[int, float | None, int | None]:
    """Restarts of the job, age (s) and duration (ms) of its last completed checkpoint."""
    try:
        told = flink.rest(settings, f"/jobs/{job_id}/checkpoints")
        numbers = flink.rest(settings, f"/jobs/{job_id}/metrics?get=numRestarts")
    except OSError:
        return 0, None, None
    restarts = int(float(numbers[0]["value"])) if numbers else 0
    last = (told.get("latest") or {}).get("completed")
    if last is None:
        return restarts, None, None
    return restarts, time.time() - last["latest_ack_timestamp"] / 1000, last["end_to_end_duration"]


def await_jobs(settings: Settings, tell: Callable[[str, str], None], limit_s: float = 180) -> bool:
    """Waits until every deployed job that should run does (the job keeper submits it); False when one does not."""
    began, told = time.monotonic(), set()
    while time.monotonic() - began < limit_s:
        wanted = [job for job in jobs(settings) if job.state != "stopped"]
        for job in wanted:
            if job.trouble is None and job.name not in told:
                told.add(job.name)
                tell(job.name, f"ready ({time.monotonic() - began:.1f} s)")
            elif job.trouble is not None:
                tell(job.name, f"waiting: {job.trouble.splitlines()[0]}")
        if all(job.trouble is None for job in wanted):
            return True
        time.sleep(0.5)
    return False
