"""The hooks of jobs and services, one line each where the work is done.

The client library takes a second to import and 31 MB, so nothing imports it before there is something to tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.lineage.graph import Graph

if TYPE_CHECKING:
    from pipelines.lineage.runs import LineageRun

Built = TypeVar("Built")


def told_as_build(publish: Callable[..., Built]) -> Callable[..., Built]:
    """Wraps ``publish(build, table, settings, *, notes, ...)``: a run of the table's job, which reads the sources that
    the notes name, at their versions. A build that the gate refuses is a run that failed.
    """

    @wraps(publish)
    def told(build: Any, table: str, settings: Settings, **more: Any) -> Built:
        from pipelines.lineage.runs import new_run, telling

        run = new_run(contracts.table(table).producers[0], outputs=[table], settings=settings)
        for name, version in ((more.get("notes") or {}).get("sources") or {}).items():
            run.reads(name, version)
        with telling(run):
            report = publish(build, table, settings, **more)
            run.writes(table, _version(settings, table), getattr(report, "checked_rows", None))
            return report

    return told


def told_as_run(job: str) -> Callable[[Callable[..., Built]], Callable[..., Built]]:
    """Wraps a command: a run of this job, with what the contracts say that it reads and writes.

    A command that ends by an exception, or by another exit code than 0, is a run that failed.
    """

    def wrap(command: Callable[..., Built]) -> Callable[..., Built]:
        @wraps(command)
        def told(*args: Any, **options: Any) -> Built:
            run = _declared_run(Settings.load(), job)
            run.tell("START")
            try:
                done = command(*args, **options)
            except BaseException as error:
                well = getattr(error, "exit_code", 1) == 0  # how a command says that it has ended
                run.tell("COMPLETE" if well else "FAIL", None if well else error)
                raise
            run.tell("COMPLETE")
            return done

        return told

    return wrap


def flink_started(settings: Settings, job: str, job_id: str) -> None:
    """A Flink job came to run: START, with the topics that its contract says. The run has Flink's own ID."""
    _flink_run(settings, job, job_id).tell("START")


def flink_stopped(settings: Settings, job: str, job_id: str) -> None:
    """It was stopped with a savepoint, for good or to go on as another run: COMPLETE."""
    _flink_run(settings, job, job_id).tell("COMPLETE")


def of_job(made: Graph, job: str) -> tuple[list[str], list[str]]:
    """What the contracts say a job reads and writes, by ``kind name``.

    >>> from pipelines.lineage.graph import graph
    >>> reads, writes = of_job(graph(), "clean_interactions")
    >>> "topic raw.app" in reads, "topic interactions.clean" in writes, "topic raw.app" in writes
    (True, True, False)
    """
    steps = [step for step in made.steps.values() if job in step.jobs]
    reads = dict.fromkeys(str(node) for step in steps for node in step.inputs)
    return list(reads), [str(step.output) for step in steps]


class ServiceRuns:
    """A service that writes several tables: a run a table, told at the start, every so often, and at the end."""

    def __init__(
        self, settings: Settings, job: str, tables: Iterable[str], clock: Callable[[], float] = time.monotonic
    ):
        self._settings, self._job, self._tables, self._clock = settings, job, list(tables), clock
        self._every_s = contracts.policy("lineage")["service_every_s"]
        self._runs: list[LineageRun] = []
        self._told_at: float | None = None

    def tell_when_due(self) -> None:
        """START the first time, then RUNNING once in policy ``service_every_s``; nothing else."""
        now = self._clock()
        if self._told_at is not None and now - self._told_at < self._every_s:
            return
        state = "START" if self._told_at is None else "RUNNING"
        if self._told_at is None:
            self._runs = [_table_run(self._settings, self._job, table) for table in self._tables]
        self._told_at = now
        for run in self._runs:
            run.tell(state)

    def end(self, well: bool) -> None:
        """COMPLETE where the service ended as asked, else FAIL."""
        for run in self._runs:
            run.tell("COMPLETE" if well else "FAIL")


def _table_run(settings: Settings, job: str, table: str) -> LineageRun:
    from pipelines.lineage.runs import SERVICE, new_run

    sources = [f"topic {name}" for name in contracts.table(table).topics]
    return new_run(f"{job}/{table}", sources, [f"table {table}"], settings=settings, processing=SERVICE)


def _flink_run(settings: Settings, job: str, job_id: str) -> LineageRun:
    from pipelines.lineage.runs import STREAMING

    return _declared_run(settings, job, run_id=str(UUID(job_id)), processing=STREAMING)


def _declared_run(settings: Settings, job: str, **more: Any) -> LineageRun:
    from pipelines.lineage.runs import new_run

    run = new_run(job, settings=settings, **more)
    reads, writes = of_job(run.made, job)
    for name in reads:
        run.reads(name)
    for name in writes:
        run.writes(name)
    return run


def _version(settings: Settings, table: str) -> int | None:
    from pipelines.io.spark_delta import version_of

    return version_of(settings.table_path(table))
