"""Prints the DAGs as JSON, in a process of its own: Airflow takes over logging, and writes below its home."""

from __future__ import annotations

import doctest
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.definitions.asset import Asset
from airflow.serialization.serialized_objects import DagSerialization
from jinja2 import StrictUndefined

DAGS = Path(__file__).resolve().parents[2] / "dags"
# A Saturday: its run is at some hour of Sunday the 29th.
DAY = "2026-11-28"
RUN = SimpleNamespace(partition_key=DAY, logical_date=None, run_after=datetime(2026, 11, 28, 17, tzinfo=UTC))


def described(dag: Any) -> dict[str, Any]:
    """One DAG as the scheduler reads it; raises for what could not be stored."""
    dag.template_undefined = StrictUndefined
    stored = DagSerialization.to_dict(dag)["dag"]
    timetable = stored["timetable"]
    return {
        "doc": dag.doc_md,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "schedule": timetable["__type"].rpartition(".")[2],
        "timing": timetable["__var"],
        "tasks": {task.task_id: _task(task) for task in dag.tasks},
    }


def _task(task: Any) -> dict[str, Any]:
    told = {
        "pool": task.pool,
        "downstream": sorted(task.downstream_task_ids),
        "limit_s": task.execution_timeout.total_seconds() if task.execution_timeout else None,
        "writes": sorted(o.name for o in task.outlets if isinstance(o, Asset)),
        "alerts": [f"{c.__module__}.{c.__name__}" for c in task.on_failure_callback],
    }
    if hasattr(task, "bash_command"):
        task.render_template_fields({"params": {"day": None}, "dag_run": RUN, **task.dag.user_defined_macros})
        told |= {"command": task.bash_command, "env": task.env}
    return told


if __name__ == "__main__":
    from infra.airflow import alerts, business_day, wiring

    failures = sum(doctest.testmod(module).failed for module in (wiring, alerts, business_day))
    bag = DagBag(sys.argv[1] if len(sys.argv) > 1 else DAGS)
    dags = {dag.dag_id: described(dag) for dag in bag.dags.values()}
    print("\n" + json.dumps({"errors": bag.import_errors, "doctest_failures": failures, "dags": dags}, default=str))
