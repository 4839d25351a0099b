"""Asking the stack's Airflow over its REST interface: start a DAG for a day, see how its runs end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any

import httpx

from infra.airflow import server
from infra.stack.settings import Settings

ENDED = frozenset({"success", "failed"})


class AirflowRefused(RuntimeError):
    """Airflow answered with an error; the message has what was asked and what it said."""


@dataclass(frozen=True)
class Run:
    """One run of a DAG. `seconds` once it has ended."""

    dag_id: str
    run_id: str
    day: str | None
    state: str
    seconds: float | None


class Airflow:
    """A logged-in client; use it as a context."""

    def __init__(self, settings: Settings):
        self._http = httpx.Client(base_url=server.url(settings), timeout=30, trust_env=False)
        password = (settings.keys / f"airflow_{server.OPERATOR}.password").read_text(encoding="utf-8").strip()
        token = self._ask("POST", "/auth/token", json={"username": server.OPERATOR, "password": password})
        self._http.headers["Authorization"] = f"Bearer {token['access_token']}"

    def __enter__(self) -> Airflow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def dags(self) -> set[str]:
        """Ids of the DAGs it has read and can run."""
        return {dag["dag_id"] for dag in self._ask("GET", "/api/v2/dags", params={"limit": 100})["dags"]}

    def start(self, dag_id: str, day: str | None = None) -> str:
        """Starts a DAG for a business day (its partition: what waits for its tables follows); the run's id."""
        wanted = {"logical_date": None, "partition_key": day}
        return self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=wanted)["dag_run_id"]

    def runs(self, dag_id: str, day: str | None = None) -> list[Run]:
        """Runs of a DAG, newest first; of one day where it is named."""
        asked = {"order_by": "-run_after", "limit": 100}
        found = self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns", params=asked)["dag_runs"]
        return [_run(run) for run in found if day is None or run["partition_key"] == day]

    def tasks(self, run: Run) -> dict[str, str]:
        """State of each task of a run."""
        found = self._ask("GET", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] or "waiting" for task in found}

    def await_end(
        self, dag_id: str, day: str | None, limit_s: float, told: Callable[[str], None] = lambda state: None
    ) -> Run:
        """The newest run of a DAG (for a day) once it has ended; raises TimeoutError with the states of its tasks."""
        deadline = time.monotonic() + limit_s
        while True:
            newest = next(iter(self.runs(dag_id, day)), None)
            if newest is not None and newest.state in ENDED:
                return newest
            if time.monotonic() > deadline:
                state = self.tasks(newest) if newest else "it was not started"
                raise TimeoutError(f"{dag_id} (day {day}) did not end within {limit_s:.0f} s: {state}")
            told(newest.state if newest else "waits")
            time.sleep(1)

    def await_dags(self, wanted: set[str], limit_s: float) -> None:
        """Until all of these are read; raises TimeoutError naming those that are not."""
        deadline = time.monotonic() + limit_s
        while missing := wanted - self.dags():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Airflow has not read {', '.join(sorted(missing))} within {limit_s:.0f} s")
            time.sleep(1)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, path, **options)
        if answer.is_error:
            raise AirflowRefused(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()


def _run(told: dict[str, Any]) -> Run:
    began, ended = (datetime.fromisoformat(told[name]) if told[name] else None for name in ("start_date", "end_date"))
    seconds = (ended - began).total_seconds() if began and ended else None
    return Run(told["dag_id"], told["dag_run_id"], told["partition_key"], told["state"], seconds)
