"""What every DAG is wired with: defaults, steps, days, pools, tables as assets. DAG files name and connect, no more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, Param, PartitionedAssetTimetable
from airflow.timetables.base import Timetable

from infra.airflow.alerts import tell_failure
from infra.airflow.business_day import BusinessDayTimetable
from pipelines import contracts

BUSINESS_ZONE = ZoneInfo(contracts.policy("gold")["business_time_zone"])
ENGINE, LIGHT = "engine", "light"
FIRST_DAY = datetime(2026, 1, 1, tzinfo=BUSINESS_ZONE)


def table(name: str) -> Asset:
    """A table as an asset; its partitions are business days.

    >>> table("gold.customer_360").uri
    'kefulake://gold/customer_360'
    """
    return Asset(name=name, uri=f"kefulake://{name.replace('.', '/')}")


def nightly(cron: str) -> BusinessDayTimetable:
    """At this time of the business zone, for the business day that has ended: its date is the run's partition."""
    return BusinessDayTimetable(cron, timezone=str(BUSINESS_ZONE), run_offset=-1)


def after(*tables: str) -> PartitionedAssetTimetable:
    """When all of these have the same day; that day is the run's partition."""
    assets = [table(name) for name in tables]
    joined = assets[0]
    for asset in assets[1:]:
        joined = joined & asset
    return PartitionedAssetTimetable(assets=joined)


def day_of(params: dict[str, Any], dag_run: Any) -> str:
    """The business day a run is for: the one asked for, else its partition, else the last that ended before it.

    >>> from types import SimpleNamespace as Run
    >>> day_of({"day": None}, Run(partition_key="2026-11-28", logical_date=None, run_after=None))
    '2026-11-28'

    A run by hand at 18:30 UTC is past midnight in Shanghai: the day that ended there is the 28th, not the 27th.

    >>> late = datetime.fromisoformat("2026-11-28T18:30:00+00:00")
    >>> by_hand = Run(partition_key=None, logical_date=late, run_after=None)
    >>> day_of({"day": None}, by_hand), day_of({"day": "2026-03-01"}, by_hand)
    ('2026-11-28', '2026-03-01')

    Raises:
        ValueError: the day asked for, or the partition, is no date.
    """
    if told := params.get("day") or getattr(dag_run, "partition_key", None):
        return date.fromisoformat(told).isoformat()
    instant = dag_run.logical_date or dag_run.run_after
    return (instant.astimezone(BUSINESS_ZONE).date() - timedelta(days=1)).isoformat()


def daily_dag(dag_id: str, *, schedule: Timetable | Any, doc: str | None, tags: Sequence[str] = ()) -> DAG:
    """A DAG with what all of ours share: one run at a time, no catching up unasked, a parameter for a past day."""
    return DAG(
        dag_id,
        schedule=schedule,
        start_date=FIRST_DAY,
        catchup=False,
        max_active_runs=1,
        doc_md=doc,
        tags=["kefulake", *tags],
        is_paused_upon_creation=False,
        user_defined_macros={"day_of": day_of},
        params={
            "day": Param(
                None, type=["null", "string"], format="date", description="Business day; empty: the run's own partition"
            )
        },
        default_args={
            "owner": "kefulake",
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=10),
            "on_failure_callback": tell_failure,
        },
    )


def step(
    task_id: str, command: str, *, pool: str = LIGHT, minutes: int, writes: Collection[str] = (), **options: Any
) -> BashOperator:
    """One command as a task. It finds its day in ``$DAY``: what came from a person is never part of a command line.

    Args:
        minutes: after so many it is stopped and tried again.
        writes: tables that have the run's day when it succeeded.
    """
    return BashOperator(
        task_id=task_id,
        bash_command=command,
        env={"DAY": "{{ day_of(params, dag_run) }}"},
        append_env=True,
        pool=pool,
        execution_timeout=timedelta(minutes=minutes),
        outlets=[table(name) for name in writes],
        **options,
    )


def complete() -> EmptyOperator:
    """The last task of each DAG: one place to wait for. What is not due is skipped, which is no failure."""
    return EmptyOperator(task_id="complete", trigger_rule="none_failed")
