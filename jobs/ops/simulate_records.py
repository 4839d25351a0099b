"""`kefulake simulate crm-records` and `simulate orders`: records of source systems, of the traffic's people."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack import roots
from infra.stack.settings import Settings
from pipelines.collectors import regions
from pipelines.io.paced_producer import NoBroker, Record, SendResult, send
from pipelines.simulation import orders as order_records
from pipelines.simulation import source_records
from pipelines.simulation.source_records import SourceMessage

console = Console()
Seed = Annotated[int, typer.Option(help="The seed of the traffic: the same people.")]
Customers = Annotated[int, typer.Option(min=1, help="How many people there are.")]
Until = Annotated[
    str | None, typer.Option(help="Nothing happened at or after this instant (ISO 8601); now by default.")
]


def crm_records(seed: Seed = 7, customers: Customers = 5_000, until: Until = None) -> None:
    """Send the customer base into raw.crm: a record a customer, and its later changes."""
    _send(source_records.crm_records(seed, customers, _instant(until)), "Simulated CRM records")


def orders(
    seed: Seed = 7,
    customers: Customers = 5_000,
    until: Until = None,
    days: Annotated[int, typer.Option(min=1, help="First orders lie within the last so many days.")] = 540,
) -> None:
    """Send orders of the same people into raw.orders: payments, refunds and cancellations as revisions."""
    _send(order_records.orders(seed, customers, _instant(until), days=days), "Simulated orders")


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no instant; write it as 2026-01-09T08:00:00+08:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _send(messages: list[SourceMessage], title: str) -> None:
    settings = Settings.load()
    channel = messages[0].topic.removeprefix("raw.")
    account = regions.declared().accounts_in(roots.region_of(settings)).get(channel)
    if settings.region is not None and account is None:
        raise typer.BadParameter(f"schemas/policies/regions.yaml names no account of {channel} in {settings.region}")
    headers = [("account", account.encode())] if account else []
    records = (Record(m.topic, m.key, m.value, headers) for m in messages)
    try:
        result = send(roots.own_bootstrap(settings), records)
    except NoBroker as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None
    _report(messages, result, title)
    if not result.complete:
        raise typer.Exit(1)


def _report(messages: list[SourceMessage], result: SendResult, title: str) -> None:
    table = Table("what", "number", title=title)
    table.add_row("sent", f"{result.sent:,}")
    table.add_row("acknowledged", f"{result.acknowledged:,}")
    table.add_row("customers", f"{len({m.customer_no for m in messages}):,}")
    for verdict, count in Counter(m.expect for m in messages).most_common():
        table.add_row(f"truth: {verdict}", f"{count:,}")
    console.print(table)
    for reason, count in result.failures.most_common():
        console.print(f"[red]{count:,} not acknowledged: {reason}[/red]")
