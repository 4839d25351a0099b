"""`kefulake status`: what runs, how far behind, how fresh, and whether the balance closes."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from infra.stack import observe
from infra.stack.settings import Settings


def command() -> None:
    """Parts, lag, freshness and balance. Exit code 1 when a part is down."""
    settings = Settings.load()
    if not print_parts(settings, Console()):
        raise typer.Exit(1)


def print_parts(settings: Settings, console: Console) -> bool:
    """Prints the parts; True when all of them are well."""
    table = Table(box=None, header_style="bold")
    for column in ("part", "state", "pid", "up", "memory MB", "address"):
        table.add_column(column, justify="right" if column in ("pid", "up", "memory MB") else "left")
    parts = observe.parts(settings)
    for part in parts:
        state = "[green]well[/]" if part.trouble is None else f"[red]{part.trouble}[/]"
        table.add_row(part.name, state, str(part.pid or ""), _age(part.up_s), f"{part.memory_mb:.0f}", part.address)
    console.print(table if parts else "Nothing runs here. Start it: kefulake up")
    return bool(parts) and all(part.trouble is None for part in parts)


def _age(seconds: float) -> str:
    """A duration for people.

    >>> _age(59), _age(3700), _age(0)
    ('59 s', '1 h 01 min', '')
    """
    if seconds < 1:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
