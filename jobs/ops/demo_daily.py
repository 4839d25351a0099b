"""``kefulake demo-daily``: all DAGs of one business day through a real Airflow, on made-up files and a made-up API."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
import yaml
from rich.console import Console
from rich.table import Table

from infra.airflow.client import Airflow, Run
from infra.airflow.server import url
from infra.stack import lifecycle
from infra.stack.files import PRIVATE, private_folder, write_atomic
from infra.stack.settings import Settings
from jobs.ops.demo import DemoFailed, step
from jobs.ops.demo import checked_kefulake as kefulake
from jobs.ops.stack import PartProgress
from pipelines import contracts
from pipelines.backup import places
from pipelines.connectors import resources
from pipelines.simulation import api_http
from pipelines.simulation.api_faults import Schedule
from pipelines.simulation.api_population import Population
from pipelines.simulation.api_server import SECRETS, MisbehavingApi
from pipelines.simulation.store_files import Stores

SEED, RECORDS_A_RESOURCE = 7, 60
# Started for today; what waits for its tables follows by itself. The others Airflow starts of its own for yesterday.
STARTED, FOLLOW = ("api_sync", "store_import"), ("quality", "customer_360")
SCHEDULED = ("maintenance", "backup")
LIMIT_S = 900
console = Console()


def command(
    events: Annotated[int, typer.Option(help="Simulated messages of all channels.", min=1000)] = 5_000,
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Leave the stack up at the end.")] = False,
) -> None:
    """One day of the daily run: store files, APIs, checks, gold, upkeep, backup; then stop and keep the data."""
    settings = Settings.load()
    try:
        with made_up_api(settings):
            runs = run(settings, datetime.now(ZoneInfo(contracts.policy("gold")["business_time_zone"])).date(), events)
    except (DemoFailed, lifecycle.PartFailed, TimeoutError) as error:
        typer.echo(f"kefulake demo-daily: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        if not keep_running:
            with step("stop the stack, keep its data"), PartProgress() as progress:
                lifecycle.down(settings, progress.tell)
    show(runs)
    if keep_running:
        console.print(f"Airflow: {url(settings)}, user operator, password in {settings.keys}/airflow_operator.password")
    if any(one.state != "success" for one, _ in runs):
        raise typer.Exit(1)


def run(settings: Settings, day: date, events: int) -> list[tuple[Run, dict[str, str]]]:
    """The day, and how each DAG ended with its tasks. Raises DemoFailed, TimeoutError."""
    with step("a recovery key for backups", "kefulake backup init"):
        recovery_key(settings)
    # Airflow starts the night that has passed as soon as it is up; that night misses no store.
    deliver(settings, day - timedelta(days=1))
    with step("start the stack with Airflow", "kefulake up --with airflow"), PartProgress() as progress:
        lifecycle.up(settings, only=None, extra=["airflow"], tell=progress.tell)
    with step("deploy the cleaning job", "kefulake deploy clean_interactions"):
        kefulake("deploy", "clean_interactions")
    with step(f"{events:,} messages of all channels", f"kefulake simulate --events {events}"):
        kefulake("simulate", "--events", str(events), "--rate", "1000", "--seed", str(SEED))
    with step(f"files of {deliver(settings, day)} stores, in their several forms, in {settings.home}/inbox/stores"):
        pass
    with Airflow(settings) as airflow:
        return _dags(airflow, str(day))


def recovery_key(settings: Settings) -> None:
    """Sets up the key that backups are opened by, and its passphrase in this environment."""
    words = private_folder(private_folder(settings.home) / "demo") / "backup.passphrase"
    if not words.exists():
        write_atomic(words, secrets.token_urlsafe(24) + "\n", PRIVATE)
        kefulake("backup", "init", "--passphrase-file", str(words))
    os.environ[places.PASSPHRASE] = words.read_text(encoding="utf-8").strip()  # for the drill, which Airflow starts


def _dags(airflow: Airflow, day: str) -> list[tuple[Run, dict[str, str]]]:
    with step("wait until Airflow has read the DAGs"):
        airflow.await_dags({*STARTED, *FOLLOW, *SCHEDULED}, LIMIT_S)
    ended = []
    for dag_id in STARTED:
        with step(f"{dag_id} of {day}"):
            airflow.start(dag_id, day)
            ended.append(airflow.await_end(dag_id, day, LIMIT_S))
    for dag_id in FOLLOW:
        with step(f"{dag_id} of {day}, which follows by itself"):
            ended.append(airflow.await_end(dag_id, day, LIMIT_S))
    for dag_id in SCHEDULED:
        with step(f"{dag_id} of the day before, which Airflow has started when it came up"):
            ended.append(airflow.await_end(dag_id, None, LIMIT_S))
    return [(one, airflow.tasks(one)) for one in ended]


def deliver(settings: Settings, day: date) -> int:
    """A file of each declared store for the day, as its till writes it; how many."""
    declared = contracts.policy("store_import")["stores"]
    stores = Stores(SEED, declared, day, 1)
    inbox, closed_s = settings.home / "inbox" / "stores", time.time() - 3600
    for nth, store in enumerate(declared):
        form = stores.form_of(store, nth)
        path = inbox / stores.name(store, day, form, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stores.written(store, day, stores.visits(store, day), form).content)
        os.utime(path, (closed_s, closed_s))  # one written a moment ago might still be growing, and would wait
    return len(declared)


@contextmanager
def made_up_api(settings: Settings) -> Iterator[None]:
    """Every declared system on a port of this machine, well-behaved but for a fault now and then.

    Raises DemoFailed where the home knows real systems: a demo must not ask them.
    """
    access = settings.keys / "connectors.yaml"
    if access.exists() and "127.0.0.1" not in access.read_text(encoding="utf-8"):
        raise DemoFailed(f"{access} names real systems; let KEFULAKE_HOME name a home of the demo's own")
    declared = resources.declared()
    now_us = int(datetime.now().timestamp() * 1e6)
    populations = {name: Population(one, SEED, now_us) for name, one in declared.resources.items()}
    for population in populations.values():
        population.fill(RECORDS_A_RESOURCE, days=2)
    api = MisbehavingApi(declared, populations, Schedule(SEED, ("error_503", "cut", "half"), 0.1, churn=0.0), 1.0)
    with api_http.serving(api) as address:
        entry = {
            name: {"base_url": address} | {k: SECRETS[k] for k in _needed(source)}
            for name, source in declared.sources.items()
        }
        private_folder(settings.keys)
        write_atomic(access, yaml.safe_dump(entry), PRIVATE)
        yield


def _needed(source: resources.Source) -> tuple[str, ...]:
    from pipelines.connectors.access import needed

    return needed(source.auth)


def show(runs: list[tuple[Run, dict[str, str]]]) -> None:
    """A line a DAG: how it ended, how long it took, its tasks."""
    table = Table(title="the day", title_justify="left", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("DAG", "day", "state", "seconds", "tasks"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for one, tasks in runs:
        said = ", ".join(task if state == "success" else f"{task}: {state}" for task, state in tasks.items())
        seconds = "" if one.seconds is None else f"{one.seconds:.0f}"
        table.add_row(one.dag_id, one.day or "", one.state, seconds, said)
    console.print(table)
