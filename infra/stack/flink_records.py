"""What was deployed: one JSON file a Flink job, with the runs it had, so that any later run resumes the right state."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from infra.stack.files import write_json
from infra.stack.settings import Settings

RUNS_KEPT = 100  # a job that fails at once is tried every minute; what fell off the list is never cleared
METADATA_MAGIC = 0x4960672D
RUNNING, STOPPED = "running", "stopped"


class LockBusy(RuntimeError):
    """Another deploy or resubmission of this job is under way."""


@dataclass(frozen=True)
class Run:
    """One submission: Flink's job id, the snapshot it started from (None: from nothing), when, and how it went.

    outcome: 'submitting' until the job manager has it for certain, then 'submitted', or 'refused'.
    """

    job_id: str
    restored_from: str | None
    submitted_at_s: float
    outcome: str = "submitting"


@dataclass(frozen=True)
class JobRecord:
    """A deployed job. desired: 'running' or 'stopped'. runs: newest first. error: why it does not run, plain words."""

    name: str
    script: str
    args: list[str] = field(default_factory=list)
    parallelism: int = 2
    desired: str = RUNNING
    runs: list[Run] = field(default_factory=list)
    error: str | None = None

    def with_run(self, run: Run) -> JobRecord:
        """The record with this run in front (or in place of the same run noted before)."""
        others = [old for old in self.runs if old.job_id != run.job_id]
        return replace(self, runs=[run, *others][:RUNS_KEPT])


def _path(settings: Settings, name: str) -> Path:
    return settings.job_records / f"{name}.json"


def load(settings: Settings, name: str) -> JobRecord | None:
    """The record of one job; None when it was never deployed here."""
    path = _path(settings, name)
    if not path.exists():
        return None
    fields = json.loads(path.read_text(encoding="utf-8"))
    return JobRecord(**{**fields, "runs": [Run(**run) for run in fields["runs"]]})


def load_all(settings: Settings) -> list[JobRecord]:
    """The records of all jobs, by name."""
    found = (load(settings, path.stem) for path in sorted(settings.job_records.glob("*.json")))
    return [record for record in found if record is not None]


def save(settings: Settings, record: JobRecord) -> JobRecord:
    """Writes the record (complete or not at all) and returns it."""
    write_json(_path(settings, record.name), asdict(record))
    return record


@contextlib.contextmanager
def locked(settings: Settings, name: str, wait_s: float = 0) -> Iterator[int]:
    """Exclusive right to submit or stop one job; yields the descriptor that holds it.

    The descriptor is handed to the submitting client, so the right lasts until that client has ended, even when
    whoever started it was killed: a second submission can never overlap the first.
    Raises LockBusy when it is not free within `wait_s`.
    """
    settings.job_records.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with open(settings.job_records / f"{name}.lock", "w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LockBusy(f"another deploy or restart of {name} is under way; try again in a minute") from None
                time.sleep(0.2)
        yield lock.fileno()


def snapshot_id(metadata: Path) -> int | None:
    """Flink's running number of a checkpoint or savepoint, out of its _metadata; None when it is no such file.

    Checkpoints and savepoints of one run share the numbers, so the larger one is the later one.
    """
    try:
        head = metadata.read_bytes()[:16]
    except FileNotFoundError:
        return None
    if len(head) < 16:
        return None
    magic, _, number = struct.unpack(">iiq", head)
    return number if magic == METADATA_MAGIC else None


def savepoint_folder(settings: Settings, job_id: str) -> Path:
    """Where savepoints of one run go; a folder of its own, so that a savepoint is found even if nobody noted it."""
    return settings.savepoints / job_id


def newest_snapshot(settings: Settings, job_id: str) -> Path | None:
    """The newest completed checkpoint or savepoint of one run (the one that has _metadata); None without any."""
    completed = [
        *(settings.checkpoints / job_id).glob("chk-*/_metadata"),
        *savepoint_folder(settings, job_id).glob("savepoint-*/_metadata"),
    ]
    numbered = [(snapshot_id(metadata), metadata.parent) for metadata in completed]
    # A file that is there but unreadable counts as newest: resuming from an older one would write rows twice.
    unreadable = [folder for number, folder in numbered if number is None]
    if unreadable:
        return max(unreadable, key=lambda folder: (folder / "_metadata").stat().st_mtime)
    return max(numbered, default=(0, None))[1]


def resume_point(settings: Settings, record: JobRecord) -> str | None:
    """Where the next run must start: the newest run's newest snapshot, else what that run itself started from.

    Older runs never matter: what a run started from was the newest of the run before it. None: from nothing.
    """
    for run in record.runs:
        snapshot = newest_snapshot(settings, run.job_id)
        if snapshot is not None:
            return str(snapshot)
        return run.restored_from
    return None


def prune(settings: Settings, record: JobRecord) -> list[str]:
    """Deletes snapshots of runs older than the last two, once the newest has a checkpoint; returns the job ids.

    The caller makes sure that the newest run of the record is the one that lives. A run's first own checkpoint holds
    all it needs (Flink's NO_CLAIM), so nothing refers to older runs any more; a savepoint says nothing about that.
    """
    if len(record.runs) <= 2 or not any((settings.checkpoints / record.runs[0].job_id).glob("chk-*/_metadata")):
        return []
    gone = []
    for run in record.runs[2:]:
        for folder in (settings.checkpoints / run.job_id, savepoint_folder(settings, run.job_id)):
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(run.job_id)
    return list(dict.fromkeys(gone))
