"""Runs of jobs as OpenLineage events: START, then COMPLETE or FAIL, with what was read and written.

``with lineage_run("store_import", inputs=["/inbox/0123.csv"], outputs=["topic raw.store"]): ...``
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import error_message_run, job_type_job, parent_run, source_code_location_job
from openlineage.client.generated.base import set_producer
from openlineage.client.uuid import generate_new_uuid

from infra.stack.settings import Settings
from pipelines.lineage import receivers
from pipelines.lineage.code import place_of
from pipelines.lineage.datasets import input_of, output_of
from pipelines.lineage.graph import Graph, Node, graph

log = logging.getLogger(__name__)

PRODUCER = "urn:kefulake:0.1.0"
NAMESPACE, PARENT = "OPENLINEAGE_NAMESPACE", "OPENLINEAGE_PARENT_ID"
BATCH, STREAMING, SERVICE = "BATCH", "STREAMING", "SERVICE"
_INTEGRATION = {"Flink job": "FLINK", "Spark job": "SPARK"}
# Runs that name the same work of Airflow get the same parent, whichever process tells of it.
_AIRFLOW = uuid.uuid5(uuid.NAMESPACE_URL, "urn:kefulake:airflow")


@dataclass
class LineageRun:
    """One run. What it reads and writes may be told while it goes on; each event carries all that is known by then."""

    settings: Settings
    job: str
    run_id: str
    processing: str = BATCH
    made: Graph = field(default_factory=graph)
    inputs: dict[Node | str, int | None] = field(default_factory=dict)
    outputs: dict[Node | str, tuple[int | None, int | None]] = field(default_factory=dict)

    def reads(self, name: str, version: int | None = None) -> None:
        """A table, a topic (``topic NAME`` where a table has its name), or a file or address outside."""
        self.inputs[self._place(name)] = version

    def writes(self, name: str, version: int | None = None, rows: int | None = None) -> None:
        """The same, with the version it is now and the rows written."""
        self.outputs[self._place(name)] = (version, rows)

    def tell(self, state: str, error: BaseException | None = None) -> None:
        """Send an event of this run: START, RUNNING, COMPLETE or FAIL. Never raises."""
        receivers.send(self.settings, lambda: self.event(state, datetime.now(UTC), os.environ, error))

    def event(
        self, state: str, at: datetime, environment: Mapping[str, str], error: BaseException | None = None
    ) -> RunEvent:
        """The event as it would be sent at an instant, in an environment."""
        set_producer(PRODUCER)
        facets: dict[str, Any] = {}
        if parent := parent_of(environment):
            facets["parent"] = parent
        if error is not None:
            # The kind of error and no more: its text may quote what somebody wrote, and the receiver may be anybody's.
            told = f"{type(error).__name__}; the log of job {self.job} says more"
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message=told, programmingLanguage="PYTHON")
        return RunEvent(
            eventTime=at.isoformat(),
            eventType=RunState[state],
            run=Run(runId=self.run_id, facets=facets),
            job=Job(namespace=namespace(self.settings, environment), name=self.job, facets=self._job_facets()),
            inputs=[input_of(self.settings, self.made, n, version) for n, version in self.inputs.items()],
            outputs=[output_of(self.settings, self.made, n, *about) for n, about in self.outputs.items()],
            producer=PRODUCER,
        )

    def _place(self, name: str) -> Node | str:
        try:
            return self.made.find(name)
        except ValueError:
            if "/" not in name:
                raise
            return name

    def _job_facets(self) -> dict[str, Any]:
        kind, file = place_of(self.job.partition("/")[0]) or ("command", None)
        facets: dict[str, Any] = {
            "jobType": job_type_job.JobTypeJobFacet(
                processingType=self.processing, integration=_INTEGRATION.get(kind, "KEFULAKE"), jobType="JOB"
            )
        }
        if file is not None:
            code = source_code_location_job.SourceCodeLocationJobFacet(type="git", url=f"{PRODUCER}/{file}", path=file)
            facets["sourceCodeLocation"] = code
        return facets


def new_run(
    job: str,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
    *,
    settings: Settings | None = None,
    run_id: str | None = None,
    processing: str = BATCH,
) -> LineageRun:
    """A run that has told nothing yet. Raises ValueError for a name that is declared nowhere and is no path."""
    run = LineageRun(settings or Settings.load(), job, run_id or str(generate_new_uuid()), processing)
    for name in inputs:
        run.reads(name)
    for name in outputs:
        run.writes(name)
    return run


@contextmanager
def telling(run: LineageRun) -> Iterator[LineageRun]:
    """Tells START, and at the end COMPLETE or FAIL; an error goes on its way."""
    run.tell("START")
    try:
        yield run
    except BaseException as error:
        run.tell("FAIL", error)
        raise
    run.tell("COMPLETE")


def lineage_run(
    job: str, inputs: Iterable[str] = (), outputs: Iterable[str] = (), *, settings: Settings | None = None
) -> AbstractContextManager[LineageRun]:
    """What `telling` does, for a run of these inputs and outputs, which are named as `new_run` takes them."""
    return telling(new_run(job, inputs, outputs, settings=settings))


def namespace(settings: Settings, environment: Mapping[str, str]) -> str:
    """Of our jobs: as told, else the root's own.

    >>> from pathlib import Path
    >>> from infra.stack.settings import Ports
    >>> namespace(Settings(Path("/srv"), Ports(19200), "sg"), {})
    'kefulake.sg'
    """
    return environment.get(NAMESPACE) or ("kefulake" if settings.region is None else f"kefulake.{settings.region}")


def parent_of(environment: Mapping[str, str]) -> parent_run.ParentRunFacet | None:
    """The run this one belongs to: as OPENLINEAGE_PARENT_ID says, else the Airflow task that runs it; None without.

    >>> env = {"AIRFLOW_CTX_DAG_ID": "backup", "AIRFLOW_CTX_TASK_ID": "full", "AIRFLOW_CTX_DAG_RUN_ID": "r1"}
    >>> parent = parent_of(env | {"AIRFLOW_CTX_TRY_NUMBER": "2"})
    >>> parent.job.name, parent.root.job.name, parent.run.runId == parent_of(env).run.runId
    ('backup.full', 'backup', False)
    """
    if told := environment.get(PARENT):
        try:
            where, job, run_id = told.rsplit("/", 2)
            return parent_run.ParentRunFacet(run=parent_run.Run(run_id), job=parent_run.Job(where, job))
        except ValueError:
            log.warning("%s is %r, not NAMESPACE/JOB/RUN-ID with a UUID: not taken for a parent", PARENT, told)
    dag, task, of = (environment.get(f"AIRFLOW_CTX_{name}") for name in ("DAG_ID", "TASK_ID", "DAG_RUN_ID"))
    if not (dag and task and of):
        return None
    attempt, where = environment.get("AIRFLOW_CTX_TRY_NUMBER", "1"), environment.get(NAMESPACE) or "airflow"
    root = parent_run.Root(
        run=parent_run.RootRun(str(uuid.uuid5(_AIRFLOW, f"{dag}/{of}"))), job=parent_run.RootJob(where, dag)
    )
    run = parent_run.Run(str(uuid.uuid5(_AIRFLOW, f"{dag}/{task}/{of}/{attempt}")))
    return parent_run.ParentRunFacet(run=run, job=parent_run.Job(where, f"{dag}.{task}"), root=root)
