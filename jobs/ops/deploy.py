"""``kefulake deploy JOB``: start a Flink job, or replace it by its changed form with nothing lost and nothing twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack import flink, flink_jobs, flink_records, roots
from infra.stack.files import write_json
from infra.stack.flink_records import RUNNING, STOPPED, JobRecord
from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.ops.job_plan import differences, state_signature
from pipelines import contracts
from pipelines.lineage.hooks import flink_started, flink_stopped

JOBS = {"clean_interactions": "jobs/flink/clean_interactions.py"}
RUNNING_WAIT_S = 120
EXPLAIN_LIMIT_S = 300
_PROGRESS = Console(stderr=True)


class Refused(RuntimeError):
    """The deployment was not made; the message says why and what to do. What ran before runs on."""


def command(
    job: Annotated[str, typer.Argument(help=f"One of: {', '.join(JOBS)}.")],
    parallelism: Annotated[int, typer.Option(help="Parallel workers; 2 on two cores.", min=1, max=128)] = 2,
    checkpoint_s: Annotated[
        float | None, typer.Option(help="Seconds between checkpoints, and so between commits; the job's own: 10.")
    ] = None,
    bundle_ms: Annotated[
        int | None, typer.Option(help="Every so many ms a Python batch that is not full goes out; the job's own: 40.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the job with a savepoint and leave it stopped.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the state can be carried over.")] = False,
) -> None:
    """Start a Flink job, or replace it by its changed form with nothing lost.

    A running job is stopped with a savepoint and resumed from it. A change that its state cannot follow is refused
    before anything stops.
    """
    settings = Settings.load()
    try:
        if job not in JOBS:
            raise Refused(f"There is no job {job!r}; there are: {', '.join(JOBS)}.")
        if stop:
            rows = stop_job(settings, job)
        else:
            given = {"--parallelism": parallelism, "--checkpoint-s": checkpoint_s, "--bundle-ms": bundle_ms}
            tuning = [word for name, value in given.items() if value is not None for word in (name, str(value))]
            arguments = [*job_arguments(settings), *tuning]
            wanted = JobRecord(job, JOBS[job], arguments, parallelism)
            rows = deploy(settings, wanted, check_only=check)
    except (
        Refused,
        contracts.ContractError,
        flink_jobs.SubmitFailed,
        flink_jobs.StopFailed,
        flink_records.LockBusy,
        OSError,
    ) as error:
        typer.echo(f"kefulake deploy: {error}", err=True)
        raise typer.Exit(1) from error
    table = Table("what", "value", title=f"{job}")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def job_arguments(settings: Settings) -> list[str]:
    """What every job is told: where the broker and the keys are, whose root it is, the contracts it is to run by.

    Raises WrongRegion when the broker is another region's.
    """
    roots.require_own_cluster(settings)
    schemas = snapshot_schemas(settings, contracts.schemas_folder())
    told = ["--bootstrap", settings.bootstrap, "--keys-file", str(settings.keys_file), "--schemas", str(schemas)]
    return [*told, "--region", roots.region_of(settings)]


def snapshot_schemas(settings: Settings, schemas: Path) -> Path:
    """A copy of the contracts named by its content: a job runs by what was deployed, not by what lies in a checkout.

    A worker that restarts after a crash reads thresholds again; from the checkout it would take an edit nobody
    deployed. Raises contracts.ContractError where the contracts are not sound.
    """
    contracts.load(schemas)
    files = sorted(p for p in schemas.rglob("*.yaml") if p.is_file())
    digest = hashlib.sha256(b"".join(str(p.relative_to(schemas)).encode() + p.read_bytes() for p in files))
    target = settings.job_records / f"schemas-{digest.hexdigest()[:16]}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=settings.job_records) as folder:
            shutil.copytree(schemas, Path(folder) / "schemas", ignore=shutil.ignore_patterns("examples"))
            (Path(folder) / "schemas").rename(target)
    return target


def deploy(settings: Settings, wanted: JobRecord, *, check_only: bool = False) -> list[tuple[str, str]]:
    """Bring ``wanted`` to run; rows of what happened.

    Raises:
        Refused: the state of the deployed job cannot be carried over, or the new job did not reach RUNNING.
        SubmitFailed, StopFailed: Flink refused; LockBusy: another deployment is under way; OSError: Flink is down.
    """
    began = time.monotonic()
    with _PROGRESS.status(f"planning {wanted.name}"):
        signature = state_signature(explain(settings, wanted))
    before = flink_records.load(settings, wanted.name)
    changed = differences(_deployed_signature(settings, wanted.name), signature) if before else []
    if changed:
        listed = "\n  ".join(changed)
        raise Refused(
            f"the state of {wanted.name} cannot be carried over into this version; nothing was stopped.\n  {listed}\n"
            "Keep the operators' keys and aggregates, or deploy the change as a job of another name."
        )
    if check_only:
        return [("state", "can be carried over" if before else "none yet: the job was never deployed")]
    with flink_records.locked(settings, wanted.name, wait_s=60) as lock:
        before = flink_records.load(settings, wanted.name)
        savepoint = _stop_running(settings, wanted.name, before)
        record = replace(wanted, runs=before.runs if before else [], desired=RUNNING)
        restore_from = savepoint or (flink_jobs.latest_checkpoint(settings, record) if record.runs else None)
        write_json(_signature_file(settings, wanted.name), signature)
        with _PROGRESS.status(f"submitting {wanted.name}"):
            job_id = flink_jobs.submit(settings, flink_records.save(settings, record), restore_from, lock)
    with _PROGRESS.status(f"waiting for {wanted.name} to run"):
        _await_running(settings, job_id)
    flink_started(settings, wanted.name, job_id)
    origin = restore_from or "nothing: the earliest raw messages"
    took = f"{time.monotonic() - began:.1f} s"
    return [("job id", job_id), ("resumed from", origin), ("state", "RUNNING"), ("took", took)]


def stop_job(settings: Settings, name: str) -> list[tuple[str, str]]:
    """Stop a job with a savepoint and note that it is meant to stay stopped."""
    with flink_records.locked(settings, name, wait_s=60):
        record = flink_records.load(settings, name)
        if record is None:
            raise Refused(f"{name} was never deployed here.")
        flink_records.save(settings, replace(record, desired=STOPPED))
        savepoint = _stop_running(settings, name, record)
    return [("state", "stopped"), ("savepoint", savepoint or "none: it was not running")]


def explain(settings: Settings, wanted: JobRecord) -> str:
    """The planner's text for the job as it is now; nothing is started. Raises Refused where it cannot be planned."""
    command = [sys.executable, str(PROJECT_ROOT / wanted.script), *wanted.args, "--explain"]
    environment = os.environ | flink.environment(settings)
    try:
        client = subprocess.run(
            command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=EXPLAIN_LIMIT_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Refused(
            f"planning {wanted.name} took longer than {EXPLAIN_LIMIT_S} s; nothing was stopped. "
            "The machine is overloaded: try again when it is calmer."
        ) from error
    if client.returncode != 0:
        raise Refused(f"{wanted.name} cannot be planned; nothing was stopped.\n{client.stderr.strip()[-1500:]}")
    return client.stdout


def _stop_running(settings: Settings, name: str, record: JobRecord | None) -> str | None:
    running = flink_jobs.running_job(settings, name)
    if running is None:
        return None
    if record is None:
        raise Refused(f"a job named {name} runs ({running.job_id}) that was not deployed from here; stop it first.")
    with _PROGRESS.status(f"stopping {name} with a savepoint"):
        savepoint = flink_jobs.stop_with_savepoint(settings, running.job_id)
    flink_stopped(settings, name, running.job_id)
    return savepoint


def _signature_file(settings: Settings, name: str) -> Path:
    return settings.job_records / f"{name}.state-signature"


def _deployed_signature(settings: Settings, name: str) -> list[str]:
    try:
        return json.loads(_signature_file(settings, name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused(f"{error.filename} is missing: what {name} keeps in its state is not known.") from error


def _await_running(settings: Settings, job_id: str) -> None:
    deadline = time.monotonic() + RUNNING_WAIT_S
    while time.monotonic() < deadline:
        told = flink.rest(settings, f"/jobs/{job_id}")
        states = {vertex["status"] for vertex in told["vertices"]}
        if told["state"] == "RUNNING" and states == {"RUNNING"}:
            return
        if told["state"] in flink_jobs.TERMINAL:
            raise Refused(f"the job ended as {told['state']}: {flink_jobs.failure(settings, job_id)}")
        time.sleep(0.3)
    reason = flink_jobs.failure(settings, job_id) or "no failure reported; see the task manager's log"
    raise Refused(f"the job did not come to run within {RUNNING_WAIT_S} s: {reason}")
