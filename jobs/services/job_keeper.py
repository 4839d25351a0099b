"""The job keeper: every deployed Flink job runs, resumed from its newest completed snapshot, never twice.

A session cluster forgets its jobs when the job manager dies. This service asks Flink every two seconds and submits
again what is missing; `kefulake deploy` and it exclude each other by a lock a job (infra/stack/flink_records.py).
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra.stack import flink_jobs, flink_records
from infra.stack.flink_records import RUNNING, JobRecord
from infra.stack.settings import Settings

log = logging.getLogger("job_keeper")
LOOK_EVERY_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 4.0, 60.0


@dataclass
class Pause:
    """How long to wait before the next try of one job; doubles with each failure in a row."""

    seconds: float = 0.0
    until: float = 0.0

    def lengthen(self, now: float) -> None:
        """After a failed try."""
        self.seconds = min(max(FIRST_PAUSE_S, self.seconds * 2), LONGEST_PAUSE_S)
        self.until = now + self.seconds

    def over(self, now: float) -> bool:
        """True when the next try may be made."""
        return now >= self.until


@dataclass
class Keeper:
    """Looks after all deployed jobs of one stack."""

    settings: Settings
    pauses: dict[str, Pause] = field(default_factory=dict)
    pruned_at: dict[str, Path | None] = field(default_factory=dict)

    def look(self) -> None:
        """One round over all jobs. A job manager that does not answer is left to the supervisor."""
        for record in flink_records.load_all(self.settings):
            if record.desired != RUNNING:
                continue
            try:
                self._look_at(record)
            except flink_records.LockBusy:
                log.debug("%s: a deploy is under way", record.name)
            except OSError as error:
                log.info("the job manager does not answer (%s)", error)
                return

    def _look_at(self, record: JobRecord) -> None:
        live = flink_jobs.running_job(self.settings, record.name)
        if live is not None:
            if live.state == "RUNNING":
                self._well(record, live.job_id)
            return
        pause = self.pauses.setdefault(record.name, Pause())
        if not pause.over(time.monotonic()):
            return
        with flink_records.locked(self.settings, record.name) as lock:
            # Deployed, stopped or resubmitted while we came here? Only what the lock guards counts.
            fresh = flink_records.load(self.settings, record.name)
            if fresh is None or fresh.desired != RUNNING or flink_jobs.running_job(self.settings, record.name):
                return
            self._submit(fresh, pause, lock)

    def _submit(self, record: JobRecord, pause: Pause, lock: int) -> None:
        why = flink_jobs.failure(self.settings, record.runs[0].job_id) if record.runs else None
        if why is not None:
            record = flink_records.save(self.settings, replace(record, error=_explained(record, why)))
            log.warning("%s: %s", record.name, record.error)
        origin = flink_records.resume_point(self.settings, record)
        log.info("%s is missing: submitting it from %s", record.name, origin or "nothing")
        pause.lengthen(time.monotonic())
        try:
            job_id = flink_jobs.submit(self.settings, record, origin, lock)
        except flink_jobs.SubmitFailed as error:
            log.error("%s; next try in %.0f s", error, pause.seconds)
        else:
            log.info("%s runs as %s", record.name, job_id)

    def _well(self, record: JobRecord, live_id: str) -> None:
        self.pauses.pop(record.name, None)
        if not record.runs or record.runs[0].job_id != live_id:
            return  # deployed this moment, or not submitted by us: what it needs is not known
        newest = flink_records.newest_snapshot(self.settings, live_id)
        if self.pruned_at.get(record.name) != newest:  # what is needed changes with a snapshot only
            flink_records.prune(self.settings, record)
            self.pruned_at[record.name] = newest


def _explained(record: JobRecord, why: str) -> str:
    """Flink's reason; for a snapshot that cannot be read also why no older one is taken.

    >>> _explained(JobRecord("a", "a.py"), "Failed to rollback to checkpoint/savepoint file:/c/chk-7")[:44]
    'its snapshot cannot be restored, and an olde'
    """
    if "rollback to checkpoint/savepoint" not in why and "Could not load checkpoint/savepoint" not in why:
        return why
    return (
        "its snapshot cannot be restored, and an older one would write rows twice: what came after it is committed. "
        f"Repair or restore {record.runs[0].restored_from if record.runs else 'it'}. Flink says: {why}"
    )


def main() -> int:
    """Runs until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    keeper = Keeper(Settings.load())
    while not stopping.wait(LOOK_EVERY_S):
        keeper.look()
    return 0


if __name__ == "__main__":
    sys.exit(main())
