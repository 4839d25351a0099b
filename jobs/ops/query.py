"""`kefulake query` and `kefulake tables`: the lake for people, with the stack up or down."""

from __future__ import annotations

import csv
import dataclasses
import enum
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.stack.settings import Settings
from pipelines.io.answer import Answer, shown
from pipelines.io.lake_tables import TableFigures, figures

console = Console()


class Engine(enum.StrEnum):
    """Who answers."""

    duckdb = "duckdb"
    trino = "trino"


class Format(enum.StrEnum):
    """How the answer looks."""

    table = "table"
    csv = "csv"
    json = "json"


def command(
    sql: Annotated[
        str, typer.Argument(help='One SELECT over the tables, e.g. "SELECT * FROM gold.hot_questions"; @FILE.')
    ],
    engine: Annotated[
        Engine, typer.Option(help="duckdb needs nothing; trino must run (up --with trino).")
    ] = Engine.duckdb,
    format: Annotated[Format, typer.Option(help="How the answer looks.")] = Format.table,
    limit: Annotated[int, typer.Option(help="Rows of a table shown at most; csv and json give all.")] = 200,
) -> None:
    """Ask the tables in SQL. `kefulake tables` lists them; instants are UTC; nothing can be changed from here."""
    text = Path(sql[1:]).read_text(encoding="utf-8") if sql.startswith("@") else sql
    found = ask(Settings.load(), text.strip().rstrip(";"), engine)
    if format is Format.table:
        _as_table(found, limit)
    elif format is Format.csv:
        _as_csv(found)
    else:
        _as_json(found)


def ask(settings: Settings, sql: str, engine: Engine) -> Answer:
    """One statement to one engine. Raises QueryRefused (a ValueError) with the engine's reason."""
    if engine is Engine.trino:
        from pipelines.io import trino_catalog

        trino_catalog.sync(settings)
        return trino_catalog.ask(settings, sql)
    from pipelines.io import duckdb_lake

    return duckdb_lake.ask(settings.lake, sql)


def tables(
    format: Annotated[Format, typer.Option(help="How the list looks.")] = Format.table,
) -> None:
    """List the tables: grain, rows, size, freshness. Read from the Delta logs, nothing is scanned."""
    now = datetime.now(UTC)
    found = list(figures(Settings.load().lake))
    if format is Format.table:
        _tables_grid(found, now)
        return
    columns = [field.name for field in dataclasses.fields(TableFigures)]
    listed = Answer(columns, (tuple(getattr(f, c) for c in columns) for f in found))
    _as_json(listed) if format is Format.json else _as_csv(listed)


def _tables_grid(found: list[TableFigures], now: datetime) -> None:
    grid = Table(show_edge=False)
    grid.add_column("table", no_wrap=True)
    for column in ("rows", "MB"):
        grid.add_column(column, justify="right", no_wrap=True)
    grid.add_column("newest row", no_wrap=True)
    grid.add_column("grain")
    for f in found:
        rows = "not yet" if f.version is None else "?" if f.rows is None else f"{f.rows:,}"
        size = "" if f.size_bytes is None else f"{f.size_bytes / 1e6:,.1f}"
        # Gold has no received_at: there the build itself is what is new.
        grid.add_row(f.name, rows, size, _age(f.newest_received_at or f.committed_at, now), Text(f.grain))
    console.print(grid)


def _age(at: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that fits.

    >>> now = datetime(2026, 1, 5, 12, tzinfo=UTC)
    >>> _age(datetime(2026, 1, 5, 11, 59, 30, tzinfo=UTC), now), _age(datetime(2026, 1, 3, tzinfo=UTC), now)
    ('30 s ago', '60 h ago')
    """
    if at is None:
        return "-"
    seconds = (now - at).total_seconds()
    for unit, length_s, from_s in (("d", 86400, 3 * 86400), ("h", 3600, 7200), ("min", 60, 120)):
        if abs(seconds) >= from_s:
            return f"{seconds / length_s:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _as_table(found: Answer, limit: int) -> None:
    grid = Table(show_edge=False)
    for column in found.columns:
        grid.add_column(Text(column), overflow="fold")
    more = False
    for nth, row in enumerate(found.rows):
        if nth >= limit:
            more = True
            break
        # Text, not str: rich would take "[微笑]" in an answer for a style.
        grid.add_row(*[Text("" if v is None else str(shown(v))) for v in row])
    console.print(grid)
    if more:
        console.print(f"... the first {limit} rows; --limit shows more, --format csv all")


def _as_csv(found: Answer) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(found.columns)
    writer.writerows([shown(v) for v in row] for row in found.rows)


def _as_json(found: Answer) -> None:
    """A JSON list, a row a line, written while it comes."""
    sys.stdout.write("[")
    for nth, row in enumerate(found.rows):
        sys.stdout.write("\n" if nth == 0 else ",\n")
        named = {column: shown(value) for column, value in zip(found.columns, row, strict=True)}
        sys.stdout.write(json.dumps(named, ensure_ascii=False))
    sys.stdout.write("\n]\n")
