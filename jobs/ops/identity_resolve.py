"""`kefulake identity resolve`: all customers again from their evidence and decisions, by the rules as they are now."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack import roots
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.identity_store import Author, IdentityStore, Outcome
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish


def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, write nothing.")] = False,
) -> None:
    """Apply policy identity, as it is now, to everybody.

    New evidence resolves only what it touches, so after a change of the policy the rest stands by the rules of before
    until this is run. Decisions of people stay; what changes goes out like any other change.
    """
    settings = Settings.load()
    outcome = run(settings, dry_run=dry_run, clock=lambda: time.time_ns() // 1000)
    show(outcome, Console(), dry_run=dry_run)


def run(settings: Settings, *, dry_run: bool, clock: Callable[[], int]) -> Outcome:
    """Resolve and send out. `clock`: microseconds since the epoch. Raises WrongRegion at another region's broker."""
    roots.require_own_cluster(settings)
    policy = contracts.policy("identity")
    store = IdentityStore(connect(settings.database_url), policy)
    author = Author("policy:identity", f"all resolved again by {policy['version']}")
    outcome = store.resolve_again(clock=clock, author=author, dry_run=dry_run)
    if not dry_run:
        store.drain(partial(publish, settings.bootstrap))
    return outcome


def show(outcome: Outcome, console: Console, *, dry_run: bool) -> None:
    """What the rules of today change."""
    kinds = [event.identity_event_type for event in outcome.changes.events]
    table = Table("what", "number", title="Would change" if dry_run else "Resolved again")
    table.columns[1].justify = "right"
    for what, number in (
        ("source records looked at", outcome.records_looked_at),
        ("identifiers that lead elsewhere", len(outcome.changes.links)),
        ("customers merged", kinds.count("merge")),
        ("customers split", kinds.count("split")),
    ):
        table.add_row(what, f"{number:,}")
    console.print(table)
