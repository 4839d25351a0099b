"""The one table of everything the supervisor runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.airflow import server as airflow
from infra.stack import flink, flink_jobs, health, kafka, mariadb, topics
from infra.stack.settings import Settings
from infra.trino import server as trino

# A core is shared about 9 : 1 (10) and 29 : 1 (15) with a part of niceness 0.
WRITERS, WATCHERS = 10, 15


def _nothing(settings: Settings) -> None:
    return None


def _no_ports(settings: Settings) -> dict[str, int]:
    return {}


def _no_environment(settings: Settings) -> dict[str, str]:
    return {}


def _register_tables(settings: Settings) -> None:
    from pipelines.io import trino_catalog

    trino_catalog.sync(settings)


@dataclass(frozen=True)
class Program:
    """One supervised part.

    stage: parts start stage by stage, each waiting for the one before. stop_turn: lower ones stop first.
    prepare: idempotent, before the first start (configuration, formatting).
    after: idempotent, whenever `up` finds it healthy (topics). before_stop: while it still runs.
    ports: what for → port. health: None when fine, else why not.
    wanted: False where a server of your own replaces it.
    scratch: a folder emptied before each start, for what a killed part could not remove itself.
    niceness: above 0 for what may wait when the cores are scarce: a table's freshness is promised in a minute, a clean
    record's in fractions of a second, and each checkpoint gives the writers of tables all its rows at once.
    """

    name: str
    stage: int
    stop_turn: int
    command: Callable[[Settings], list[str]]
    prepare: Callable[[Settings], None] = _nothing
    after: Callable[[Settings], None] = _nothing
    before_stop: Callable[[Settings], None] = _nothing
    environment: Callable[[Settings], dict[str, str]] = _no_environment
    ports: Callable[[Settings], dict[str, int]] = _no_ports
    health: Callable[[Settings], str | None] = _nothing
    wanted: Callable[[Settings], bool] = lambda settings: True
    start_limit_s: float = 300
    stop_limit_s: int = 20
    optional: bool = False
    scratch: Callable[[Settings], Path | None] = _nothing
    preparing: str = "preparing"
    niceness: int = 0


def service(name: str, module: str, **options: object) -> Program:
    """A Python service of our own, run as a module by this interpreter."""
    return Program(
        name=name,
        stage=2,
        stop_turn=1,
        command=lambda settings: [sys.executable, "-m", module],
        **options,
    )


def airflow_part(
    name: str, component: str, command: Callable[[Settings], list[str]], stage: int, **options: object
) -> Program:
    """One process of Airflow; the API server comes first, because the others report to it."""
    return Program(
        name=name,
        stage=stage,
        stop_turn=0,
        optional=True,
        command=command,
        environment=airflow.environment,
        health=lambda settings: airflow.health(settings, component),
        niceness=WRITERS,
        **options,
    )


PROGRAMS: tuple[Program, ...] = (
    Program(
        name="kafka",
        stage=1,
        stop_turn=3,
        prepare=kafka.prepare,
        command=kafka.command,
        after=topics.ensure_topics,
        ports=lambda s: {"Kafka": s.ports.kafka, "Kafka controller": s.ports.kafka_controller},
        health=kafka.health,
        wanted=lambda s: s.own_kafka,
        stop_limit_s=30,
    ),
    Program(
        name="flink-jobmanager",
        stage=1,
        stop_turn=2,
        prepare=flink.prepare,
        command=flink.jobmanager_command,
        environment=flink.environment,
        scratch=lambda s: flink.scratch_folder(s, "jobmanager"),
        ports=lambda s: {
            "Flink REST": s.ports.flink_rest,
            "Flink job manager": s.ports.flink_rpc,
            "Flink blob server": s.ports.flink_blob,
        },
        health=flink.jobmanager_health,
        before_stop=flink_jobs.stop_all_with_savepoint,
    ),
    Program(
        name="flink-taskmanager",
        stage=1,
        stop_turn=2,
        command=flink.taskmanager_command,
        environment=flink.environment,
        scratch=lambda s: flink.scratch_folder(s, "taskmanager"),
        ports=lambda s: {
            "Flink task manager": s.ports.flink_taskmanager_rpc,
            "Flink data exchange": s.ports.flink_taskmanager_data,
        },
        health=flink.taskmanager_health,
    ),
    Program(
        name="mariadb",
        stage=1,
        stop_turn=3,
        prepare=mariadb.prepare,
        command=mariadb.command,
        after=mariadb.ensure_served_tables,
        environment=mariadb.environment,
        ports=lambda s: {"MariaDB": s.ports.mariadb},
        health=mariadb.health,
        wanted=lambda s: s.own_mariadb,
        stop_limit_s=30,
    ),
    Program(
        name="trino",
        stage=1,
        stop_turn=1,
        optional=True,
        preparing="preparing (the first time 821 MB are fetched)",
        prepare=trino.prepare,
        command=trino.command,
        after=_register_tables,
        ports=lambda s: {"Trino": s.ports.trino},
        health=trino.health,
        start_limit_s=300,
    ),
    service("job-keeper", "jobs.services.job_keeper"),
    service(
        "gateway",
        "jobs.services.gateway",
        ports=lambda s: {"gateway": s.ports.gateway},
        health=lambda s: health.http(f"{s.gateway_url}/healthz"),
    ),
    service("tiering", "jobs.services.tiering", niceness=WRITERS),
    service("serving-writer", "jobs.services.serving_writer", niceness=WRITERS),
    service("identity-resolver", "jobs.services.identity_resolver", niceness=WRITERS),
    service(
        "customer-lookup",
        "jobs.services.customer_lookup",
        ports=lambda s: {"customer look-up": s.ports.lookup},
        health=lambda s: health.http(f"{s.lookup_url}/healthz"),
    ),
    service("balance", "jobs.services.balance", niceness=WATCHERS),
    service("backup-shipper", "jobs.services.backup_shipper", niceness=WRITERS),
    service(
        "metrics",
        "jobs.services.metrics",
        ports=lambda s: {"metrics": s.ports.metrics},
        health=lambda s: health.http(f"http://127.0.0.1:{s.ports.metrics}/metrics"),
    ),
    airflow_part(
        "airflow-api-server",
        "metadatabase",
        airflow.api_server_command,
        stage=3,
        prepare=airflow.prepare,
        preparing="preparing (the first time its database is made: half a minute)",
        ports=lambda s: {"Airflow": s.ports.airflow},
    ),
    airflow_part("airflow-scheduler", "scheduler", airflow.scheduler_command, stage=4),
    airflow_part("airflow-dag-processor", "dag_processor", airflow.dag_processor_command, stage=4),
)

# What `--with` and `--only` take beside the parts themselves.
GROUPS = {"airflow": tuple(program.name for program in PROGRAMS if program.name.startswith("airflow-"))}


class UnknownPart(ValueError):
    """A name that is no part of the stack."""


def select(settings: Settings, only: list[str] | None = None, extra: list[str] | None = None) -> list[Program]:
    """The parts to run, in starting order: the named ones, or all but the optional ones plus `extra`.

    Raises UnknownPart for a name that is not in the table.
    """
    named, also = _parts_of(only or []), _parts_of(extra or [])
    chosen = [
        program
        for program in PROGRAMS
        if (program.name in named if named else not program.optional) or program.name in also
    ]
    return sorted((p for p in chosen if p.wanted(settings)), key=lambda program: program.stage)


def _parts_of(names: list[str]) -> set[str]:
    known = {program.name: (program.name,) for program in PROGRAMS} | GROUPS
    for name in names:
        if name not in known:
            raise UnknownPart(f"{name!r} is no part of the stack; there are: {', '.join(known)}")
    return {part for name in names for part in known[name]}
