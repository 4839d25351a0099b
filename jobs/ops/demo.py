"""``kefulake demo``: the whole way once, on simulated traffic of all channels; every step says what it does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from infra.stack import lifecycle
from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.ops import flush
from jobs.ops.stack import PartProgress

SEED, CUSTOMERS = 7, 2_000
DRAIN_LIMIT_S = 240
CONTACTS_SHOWN = 20
OUTPUTS = ("silver.interactions", "silver.feedback", "silver.ticket_events", "silver.customers", "silver.orders",
           "quarantine.rejects", "quarantine.duplicates", "review.queue")  # fmt: skip
console = Console()


class DemoFailed(RuntimeError):
    """A step failed; the message says which, on what, and where to look."""


def command(
    events: Annotated[int, typer.Option(help="Simulated messages.", min=1000)] = 30_000,
    rate: Annotated[int, typer.Option(help="Messages a second.", min=100)] = 2_000,
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Leave the stack up at the end.")] = False,
) -> None:
    """The whole way once: stack, traffic of all channels, cleaning, gate, gold; then stop and keep the data."""
    settings = Settings.load()
    began = time.monotonic()
    try:
        run(settings, events, rate)
    except (DemoFailed, lifecycle.PartFailed) as error:
        typer.echo(f"kefulake demo: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        if not keep_running:
            with step("stop the stack, keep its data"), PartProgress() as progress:
                lifecycle.down(settings, progress.tell)
    _what_next(settings, time.monotonic() - began, keep_running)


def run(settings: Settings, events: int, rate: int) -> None:
    """All steps up to the tables for people. Raises DemoFailed with the step that did not work."""
    work = settings.home / "demo"
    work.mkdir(parents=True, exist_ok=True)
    crm = work / "crm.csv"
    with step("start Kafka, Flink, MariaDB and the services"), PartProgress() as progress:
        lifecycle.up(settings, only=None, extra=None, tell=progress.tell)
    with step(f"a CRM file of {CUSTOMERS:,} customers; verified identifiers become links", "kefulake identity load"):
        checked_kefulake("simulate", "crm", "--out", str(crm), "--seed", str(SEED), "--customers", str(CUSTOMERS))
        checked_kefulake("identity", "load", str(crm))
    with step("deploy the cleaning job", "kefulake deploy clean_interactions"):
        checked_kefulake("deploy", "clean_interactions")
    received_before = _one(settings, "SELECT count(*) FROM bronze.raw_events")
    sent = f"{events:,} messages of all channels at {rate:,}/s, with planted dirt"
    with step(sent, f"kefulake simulate --events {events} --rate {rate}"):
        told = ["--seed", str(SEED), "--customers", str(CUSTOMERS), "--truth", str(work / "truth.parquet")]
        checked_kefulake("simulate", "--events", str(events), "--rate", str(rate), *told)
    people = ["--seed", str(SEED), "--customers", str(CUSTOMERS)]
    with step("their records in the CRM and their orders", "kefulake simulate crm-records; kefulake simulate orders"):
        checked_kefulake("simulate", "crm-records", *people)
        checked_kefulake("simulate", "orders", *people)
    with step("the bundled samples of every channel, good and broken", "kefulake replay FOLDER --channel …"):
        samples = _replay_samples()
    with step("bring what was received into the lake, without waiting for the next checkpoint", "kefulake flush"):
        _flush(settings, received_before + events + samples)
    with step("build gold.customer_360, customer_tags and hot_questions with Spark, each behind its gate"):
        _spark("gold")  # both in one session: opening one costs as much as a build
    _show(settings)


@contextmanager
def step(what: str, typed: str = ""):
    """Prints what begins, the command a person would type for it, and how long it took."""
    console.print(f"[bold cyan]▸[/] {what}")
    if typed:
        console.print(f"  [dim]{typed}[/]")
    began = time.monotonic()
    yield
    console.print(f"  [dim]{time.monotonic() - began:.1f} s[/]")


def checked_kefulake(*arguments: str) -> str:
    """Runs a command; what it printed. Raises DemoFailed with the end of its words."""
    return _checked([str(Path(sys.executable).parent / "kefulake"), *arguments], f"kefulake {arguments[0]}")


def _spark(job: str) -> None:
    _checked([sys.executable, "-m", f"jobs.spark.{job}"], f"the build jobs.spark.{job}")


def _checked(arguments: list[str], what: str) -> str:
    environment = os.environ | {"COLUMNS": str(console.width)}  # what it prints is shown on this console
    with console.status(f"{what} …"):
        done = subprocess.run(arguments, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoFailed(f"{what} failed (exit {done.returncode})\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    return done.stdout


def _replay_samples() -> int:
    """Send the examples of every channel as a person's own files would come; how many there were."""
    count = 0
    for folder in sorted((PROJECT_ROOT / "schemas" / "examples").glob("raw.*")):
        count += len(list(folder.iterdir()))
        checked_kefulake("replay", str(folder), "--channel", folder.name.removeprefix("raw."), "--speed", "max")
    return count


def _flush(settings: Settings, expected: int) -> None:
    """Raises DemoFailed when not all messages and an output for each are in the lake at the limit."""
    try:
        with console.status("") as line:
            flush.flush(settings, DRAIN_LIMIT_S, line.update)
    except flush.FlushFailed as error:
        raise DemoFailed(str(error)) from error
    received = _one(settings, "SELECT count(*) FROM bronze.raw_events")
    judged = sum(_one(settings, f"SELECT count(*) FROM {table}") for table in OUTPUTS)  # noqa: S608
    if received < expected or judged < received:
        raise DemoFailed(f"of {expected:,} messages {received:,} are in bronze, {judged:,} judged; see kefulake status")


def _one(settings: Settings, sql: str) -> int:
    """The one number a statement gives; 0 while its table is not there yet."""
    from pipelines.io import duckdb_lake
    from pipelines.io.answer import QueryRefused

    try:
        return next(iter(duckdb_lake.ask(settings.lake, sql).rows))[0]
    except QueryRefused:
        return 0


_TIMES = """
SELECT count(*) AS messages,
       round(quantile_cont(epoch_ms(processed_at) - epoch_ms(received_at), 0.50)) AS median_ms,
       round(quantile_cont(epoch_ms(processed_at) - epoch_ms(received_at), 0.95)) AS p95_ms
FROM silver.interactions WHERE processed_at IS NOT NULL
"""


def _show(settings: Settings) -> None:
    """The balance, one customer, the hottest questions, the latencies."""
    console.print(Rule("the balance: every message in exactly one output"))
    typer.echo(checked_kefulake("balance", "--final"))
    _customer(*_ask(settings, _query("customer_over_channels")))
    _print("the hottest questions of the newest day", *_ask(settings, _query("hottest_questions")))
    _print("from received to judged; the first messages waited for the job's start", *_ask(settings, _TIMES))


def _customer(columns: list[str], rows: list[tuple]) -> None:
    """One person's way over the channels; whose it is stands below, once."""
    over = len({row[columns.index("channel")] for row in rows})
    _print(f"one customer over {over} channels, times in UTC", columns[1:], [row[1:] for row in rows[:CONTACTS_SHOWN]])
    if rows:
        customer = rows[0][0]
        console.print(f"all contacts, with the stack up: kefulake history --customer {customer}\n", soft_wrap=True)
        console.print(Rule("why that is one customer"))
        console.print(f"  [dim]kefulake identity explain {customer}[/]")
        typer.echo(checked_kefulake("identity", "explain", customer))


def _query(name: str) -> str:
    return (PROJECT_ROOT / "docs" / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def _ask(settings: Settings, sql: str) -> tuple[list[str], list[tuple]]:
    """Columns and rows."""
    from pipelines.io import duckdb_lake

    answer = duckdb_lake.ask(settings.lake, sql.strip().rstrip(";"))
    return answer.columns, list(answer.rows)


def _print(title: str, columns: list[str], rows: list[tuple]) -> None:
    console.print(Rule(title))
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for nth, name in enumerate(columns):
        numbers = all(isinstance(row[nth], int | float | None) for row in rows)
        # Only what people wrote may be cut.
        widest = 0 if name in ("text", "question") else max((len(_cell(row[nth])) for row in rows), default=0)
        table.add_column(name.replace("_", " "), justify="right" if numbers else "left", min_width=widest)
    for row in rows:
        table.add_row(*(Text(_cell(value), overflow="ellipsis", no_wrap=True) for value in row))  # "[微笑]" is no style
    console.print(table)
    console.print()


def _cell(value: object) -> str:
    """A value for people.

    >>> _cell(None), _cell(2044.0), _cell(3.9), _cell(12345), _cell(datetime(2026, 1, 5, 10, 0, 0, 427000))
    ('', '2,044', '3.9', '12,345', '01-05 10:00:00')
    """
    if isinstance(value, datetime):
        return value.strftime("%m-%d %H:%M:%S")
    if isinstance(value, int | float):
        return f"{value:,.0f}" if value == int(value) else f"{value:,}"
    return "" if value is None else str(value)


def _what_next(settings: Settings, took_s: float, running: bool) -> None:
    console.print(Rule(f"done in {took_s:.0f} s; the data is in {settings.home}"))
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    again = [] if running else [("make up", "the stack again, with the data")]
    for typed, what in (
        ("source .venv/bin/activate", "brings the command kefulake"),
        ("kefulake tables", "what there is: grain, rows"),
        ("kefulake query @docs/queries/rejects_by_rule.sql", "what was refused, and why"),
        *again,
        ("kefulake status", "parts, lag, freshness, balance"),
        ("make down", "stop; the data stays"),
    ):
        table.add_row(Text(typed, style="bold", no_wrap=True), what)
    console.print(table)
