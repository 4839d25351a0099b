"""``kefulake maintain``: the daily upkeep of all tables of the lake."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import gold_lock, lake_tables
from pipelines.io.lake_upkeep import STEPS, Kept, State, keep_lake
from pipelines.lineage.runs import lineage_run

_PROGRESS = Console(stderr=True)


class TablesNotKept(RuntimeError):
    """Some tables could not be kept; the report names each."""


class Step(StrEnum):
    """One step of the upkeep."""

    retention = "retention"
    compact = "compact"
    checkpoint = "checkpoint"
    vacuum = "vacuum"


def command(
    step: Annotated[list[Step] | None, typer.Option(help="Only this step (may be said twice); all by default.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="Only this table (may be said twice).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was done as JSON.")] = False,
) -> None:
    """Merge small files, write log checkpoints, remove what is past its retention and what no reader needs any more.

    Safe beside the tiering service and gold builds, and to run again: a second run finds nothing to do. Works with the
    stack down. Exit code 1 when a table could not be kept; the others are kept all the same.
    """
    logging.getLogger("pipelines").setLevel(logging.WARNING)
    settings, now = Settings.load(), datetime.now(UTC)
    chosen = _tables(settings, table)
    try:
        with lineage_run("maintain", settings=settings) as run, gold_lock.one_build_of("maintain", settings.home):
            with _PROGRESS.status("upkeep") as status:
                kept = list(
                    keep_lake(
                        settings,
                        steps=[one.value for one in step] if step else STEPS,
                        tables=chosen,
                        today=now.date(),
                        now=now,
                        tell=lambda doing: status.update(f"upkeep: {doing}"),
                    )
                )
            for one in kept:
                if one.changed:
                    run.writes(f"table {one.table}")
            _report(settings, kept, as_json=as_json, asked=table)
            if any(one.error for one in kept):
                raise TablesNotKept
    except TablesNotKept as error:  # each was named above
        raise typer.Exit(1) from error


def _report(settings: Settings, kept: Sequence[Kept], *, as_json: bool, asked: Sequence[str] | None) -> None:
    """The table to stdout; what was held back, left alone or went wrong to stderr."""
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in kept], indent=1))
    else:
        Console(width=None if Console().is_terminal else 130).print(told(kept))
    for one in kept:
        for reason in one.held:
            typer.echo(f"{one.table}: kept past its retention: {reason}", err=True)
        if one.error:
            typer.echo(f"kefulake maintain: {one.error}", err=True)
    if not asked:
        for name in sorted(lake_tables.present(settings.lake).keys() - contracts.tables().keys()):
            typer.echo(f"{name} has no contract and was left alone; declare it or move it away", err=True)


def told(kept: Sequence[Kept]) -> Table:
    """One line a table, before → after."""
    grid = Table(box=None, title="Upkeep", header_style="bold", pad_edge=False)
    for name in ("table", "files", "MB", "MB on disk", "log entries", "rows removed", "s", "what was done"):
        right = name in ("rows removed", "s")
        grid.add_column(name, justify="right" if right else "left", no_wrap=name != "what was done")
    for one in kept:
        grid.add_row(
            one.table,
            *(_pair(one, part) for part in ("files", "live_bytes", "disk_bytes", "log_entries")),
            f"{one.rows_removed:,}",
            f"{one.seconds:.1f}",
            _done(one),
        )
    return grid


def _pair(one: Kept, part: str) -> str:
    values = [_number(state, part) for state in (one.before, one.after)]
    return values[0] if values[0] == values[1] or one.after is None else " → ".join(values)


def _number(state: State | None, part: str) -> str:
    if state is None:
        return "?"
    value = getattr(state, part)
    return f"{value / 1e6:,.2f}" if part.endswith("bytes") else f"{value:,}"


def _done(one: Kept) -> str:
    """In words.

    >>> _done(Kept("silver.orders", files_merged=30, checkpoint=True)), _done(Kept("silver.orders"))
    ('30 files merged, checkpoint', 'nothing to do')
    """
    if one.error:
        return "[red]FAILED[/]"
    done = [
        text
        for text, happened in (
            (f"{one.rows_removed:,} rows past retention", one.rows_removed),
            (f"{one.files_merged:,} files merged", one.files_merged),
            ("checkpoint", one.checkpoint),
            (f"{one.files_deleted:,} old files deleted", one.files_deleted),
            (f"{len(one.held)} days kept past retention", one.held),
        )
        if happened
    ]
    return ", ".join(done) or "nothing to do"


def _tables(settings: Settings, asked: Sequence[str] | None) -> list[str] | None:
    """Raises ValueError for a name without a contract, or a table that is not in the lake."""
    there = lake_tables.present(settings.lake)
    for name in asked or ():
        table = contracts.table(name)
        if not table.in_lake:
            raise ValueError(f"{name} is a table of MariaDB; it has no files to keep")
        if name not in there:
            raise ValueError(f"{name} is not in {settings.lake} yet; kefulake tables lists what is")
    return list(asked) if asked else None
