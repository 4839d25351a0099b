"""`kefulake balance`: prove that every raw message stands in exactly one output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from infra.stack.settings import Settings

_NUMBERS = ("received", "kept", "rejected", "in_review", "duplicate", "missing", "twice", "unknown")
_WRONG = ("missing", "twice", "unknown")
_WIDTH_IN_A_FILE = 120


def command(
    by_hour: Annotated[
        bool, typer.Option("--by-hour", help="One line a topic and hour instead of one a topic.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Count in the tables now, instead of the last turn's result.")
    ] = False,
    final: Annotated[
        bool, typer.Option("--final", help="Take every hour as closed: nothing flows any more (implies --now).")
    ] = False,
    last_hours: Annotated[int, typer.Option("--hours", help="Only so many hours back; 0 = all.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as JSON.")] = False,
) -> None:
    """Prove that every raw message stands in exactly one output. Works with the stack down.

    Exit code 1 when a closed hour does not balance, or anything stands twice.
    """
    from pipelines.io import balance_table, retention
    from pipelines.tables.data_balance import BRONZE, breaches, removed_wrongly

    settings = Settings.load()
    balance = rows(settings, recount=now or final, final=final, last_hours=last_hours)
    lines = balance.to_pylist() if by_hour else by_topic(balance.to_pylist())
    if as_json:
        typer.echo(json.dumps(lines, default=str, indent=1))
    else:
        told_width = sys.stdout.isatty() or "COLUMNS" in os.environ
        print_lines(lines, Console(width=None if told_width else _WIDTH_IN_A_FILE), by_hour)
    removed = retention.removed_by_day(settings)
    if removed and not as_json:
        typer.echo(told_of_removal(removed))
    stored = balance_table.read(settings).to_pylist() if removed else []
    found = [*breaches(balance, closed_only=False), *removed_wrongly(stored, removed.get(BRONZE, {}))]
    for breach in found:
        typer.echo(str(breach), err=True)
    if found:
        raise typer.Exit(1)


def rows(settings: Settings, *, recount: bool, final: bool = False, last_hours: int = 0):
    """The balance as an Arrow table, columns of ``gold.data_balance``; newest hours last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipelines.contracts import policy
    from pipelines.io import balance_table

    stored = balance_table.read(settings)
    since = datetime.now(UTC) - timedelta(hours=last_hours) if last_hours else datetime(1970, 1, 1, tzinfo=UTC)
    if not recount:
        return stored.filter(pc.greater_equal(stored["hour_at"], since)).sort_by([("hour_at", "ascending")])
    settled = policy("tiering")["balance"]
    closed = stored.filter(stored["closed"])["hour_at"].to_pylist()
    end_of_closed = max(closed) + timedelta(hours=1) if closed else None
    removed = balance_table.removed_days(settings)
    kept = [hour >= since and hour.date() in removed for hour in stored["hour_at"].to_pylist()]
    standing = stored.filter(pa.array(kept, pa.bool_()))
    counted = balance_table.compute(
        settings,
        {hour for hour in balance_table.all_hours(settings) if hour >= since},
        passed_until=datetime(9999, 1, 1, tzinfo=UTC) if final else end_of_closed,
        grace=timedelta(0),
        memory_limit_mb=settled["memory_limit_mb"],
        now=datetime.now(UTC),
    )
    return pa.concat_tables([standing.select(counted.column_names).cast(counted.schema), counted])


def told_of_removal(removed: Mapping[str, Mapping[date, int]]) -> str:
    """What retention took, in one line a table; the lines of those days stand as they were counted before.

    >>> print(told_of_removal({"bronze.raw_events": {date(2026, 1, 5): 2, date(2026, 1, 6): 1}}))
    Removed by retention since, and counted before: bronze.raw_events 3 rows, 2 days up to 2026-01-06
    """
    each = [
        f"{name} {sum(days.values()):,} rows, {len(days)} days up to {max(days)}"
        for name, days in sorted(removed.items())
    ]
    return "Removed by retention since, and counted before: " + "; ".join(each)


def by_topic(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sums over the hours, one line a topic; `closed` when all its hours are.

    >>> by_topic([{"raw_topic": "raw.app", "closed": True, **dict.fromkeys(_NUMBERS, 1)}] * 2)[0]["received"]
    2
    """
    sums: dict[str, dict[str, Any]] = {}
    for line in lines:
        total = sums.setdefault(
            line["raw_topic"], {"raw_topic": line["raw_topic"], **dict.fromkeys(_NUMBERS, 0), "closed": True}
        )
        for name in _NUMBERS:
            total[name] += line[name]
        total["closed"] &= line["closed"]
    return [sums[topic] for topic in sorted(sums)]


def print_lines(lines: list[dict[str, Any]], console: Console, by_hour: bool) -> None:
    """The table; where it is too wide for the console it stands closer, then what must be 0 becomes one column."""
    if not lines:
        console.print("Nothing came in yet.")
        return
    summed = [line | {"wrong": sum(line[name] for name in _WRONG)} for line in lines]
    forms = [
        _grid(lines, by_hour, _NUMBERS, gap=2),
        _grid(lines, by_hour, _NUMBERS, gap=1),
        _grid(summed, by_hour, (*_NUMBERS[: -len(_WRONG)], "wrong"), gap=1),
    ]
    forms[-1].caption = "wrong = missing + twice + unknown"
    widths = [_natural_width(form, console) for form in forms]
    chosen = next((nth for nth, width in enumerate(widths) if width <= console.width), -1)
    # Rather a line that the terminal breaks than a number that loses its end.
    console.width = max(console.width, widths[chosen])
    console.print(forms[chosen])


def _natural_width(table: Table, console: Console) -> int:
    """Columns it takes when nothing is cut or folded."""
    return Measurement.get(console, console.options.update(width=1000), table).maximum


def _grid(lines: list[dict[str, Any]], by_hour: bool, names: tuple[str, ...], gap: int) -> Table:
    title = "received = kept + rejected + in review + duplicate"
    table = Table(box=None, header_style="bold", title=title, padding=(0, gap, 0, 0), pad_edge=False)
    table.add_column("topic", no_wrap=True)
    if by_hour:
        table.add_column("hour (UTC)", no_wrap=True)
    for name in (*names, "closed"):
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for line in lines:
        hour = [f"{line['hour_at']:%Y-%m-%d %H}:00"] if by_hour else []
        table.add_row(line["raw_topic"], *hour, *(_number(name, line[name]) for name in names), _closed(line))
    total = {name: sum(line[name] for line in lines) for name in names}
    table.add_section()
    table.add_row("all", *([""] if by_hour else []), *(_number(name, total[name]) for name in names), "")
    return table


def _number(name: str, value: int) -> str:
    bad = value and name in (*_WRONG, "wrong")
    return f"[red]{value:,}[/]" if bad else f"{value:,}"


def _closed(line: dict[str, Any]) -> str:
    return "yes" if line["closed"] else "open"
