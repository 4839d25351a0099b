"""The job keeper under kills: the job is there again, once, and its output has no gap and no double."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.stack import flink_jobs, flink_records, lifecycle, ports, processes, supervisor
from infra.stack.flink_records import JobRecord
from infra.stack.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.soak]
NAME, TOPIC, LAST, PER_SECOND = "counting", "test.counted", 1_000_000, 500


def quiet(part: str, doing: str) -> None:
    """Progress nobody looks at."""


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Settings]:
    """The counting job is deployed and a job keeper runs, on a stack of this test alone.

    A keeper that was stopped at the end is a part that is down: on a shared stack the tests of its health would see it.
    """
    stack = Settings.load(tmp_path / "home", ports.free_base(26_200))
    try:
        lifecycle.up(stack, only=["kafka", "flink-jobmanager", "flink-taskmanager"], extra=None, tell=quiet)
        admin = AdminClient({"bootstrap.servers": stack.bootstrap})
        admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result()
        arguments = [stack.bootstrap, TOPIC, str(LAST), str(PER_SECOND)]
        flink_records.save(stack, JobRecord(NAME, "tests/e2e/counting_job.py", arguments, parallelism=1))
        lifecycle.up(stack, only=["job-keeper"], extra=None, tell=quiet)  # it submits what is missing
        yield stack
    finally:
        lifecycle.down(stack, quiet)
    assert list(processes.of_home(stack.home)) == []


class Counted:
    """Committed numbers so far, with how often each was seen."""

    def __init__(self, settings: Settings) -> None:
        self.seen: Counter[int] = Counter()
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap,
                "group.id": "test-counted",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self._consumer.subscribe([TOPIC])

    def drain(self, most_s: float = 60) -> None:
        """Reads what is committed by now; a job that goes on writing is read for ``most_s`` at most."""
        deadline = time.monotonic() + most_s
        while time.monotonic() < deadline and self._take(wait_s=3):
            pass

    def _take(self, wait_s: float) -> int:
        messages = [m for m in self._consumer.consume(5_000, timeout=wait_s) if m.error() is None]
        self.seen.update(json.loads(message.value())["n"] for message in messages)
        return len(messages)

    def advance(self, numbers: int, within_s: float = 300) -> None:
        """Reads on until so many more numbers than now were committed; fails after `within_s`."""
        self.drain(most_s=5)
        wanted = len(self.seen) + numbers
        deadline = time.monotonic() + within_s
        while len(self.seen) < wanted:
            assert time.monotonic() < deadline, f"{len(self.seen)} of {wanted} numbers after {within_s} s"
            self._take(wait_s=1)

    def close(self) -> None:
        self._consumer.close()


def kill(settings: Settings, part: str) -> None:
    os.kill(supervisor.states(settings)[part]["pid"], signal.SIGKILL)


@pytest.mark.timeout(1800)
def test_counting_goes_on_without_gap_or_double_over_kills(counting: Settings) -> None:
    counted = Counted(counting)
    try:
        counted.advance(2_000)
        kill(counting, "flink-jobmanager")  # the session cluster forgets the job
        counted.advance(2_000)
        kill(counting, "flink-taskmanager")  # the job manager restarts the job itself: the keeper keeps out of it
        counted.advance(2_000)
        kill(counting, "job-keeper")
        kill(counting, "flink-jobmanager")  # the keeper dies with the job it should restart
        counted.advance(2_000)
        [live] = [job for job in flink_jobs.live_jobs(counting) if job.name == NAME]
        flink_records.save(counting, replace(flink_records.load(counting, NAME), desired=flink_records.STOPPED))
        flink_jobs.stop_with_savepoint(counting, live.job_id)
        counted.drain()
    finally:
        counted.close()
    assert set(counted.seen.values()) == {1}  # none twice
    assert set(counted.seen) == set(range(1, max(counted.seen) + 1))  # none lost
    runs = flink_records.load(counting, NAME).runs
    assert len(runs) == 3  # the first and one after each kill of the job manager; none for the task manager
    assert [run.restored_from is None for run in runs] == [False, False, True]
