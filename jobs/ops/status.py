"""`kefulake status`: what runs, how far behind, how fresh, how much is rejected, and whether the balance closes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from infra.stack import observe, observe_backup, observe_data
from infra.stack.settings import Settings


def command() -> None:
    """Parts, jobs, lag, freshness, rejects and balance.

    Exit code 1 when a part or a job is down or a row is unaccounted for. Many rejects are a warning, not a failure.
    """
    settings, console = Settings.load(), Console()
    parts_well = print_parts(settings, console)
    jobs_well = print_jobs(settings, console)
    print_lag(settings, console)
    print_freshness(settings, console)
    print_rejects(settings, console)
    print_backup(settings, console)
    balance_well = print_balance(settings, console)
    if not (parts_well and jobs_well and balance_well):
        raise typer.Exit(1)


def print_parts(settings: Settings, console: Console) -> bool:
    """Prints the parts; True when all of them are well."""
    parts = observe.parts(settings)
    if not parts:
        console.print("Nothing runs here. Start it: kefulake up")
        return False
    rows = (
        (p.name, _state(p.trouble), str(p.pid or ""), _age(p.up_s), f"{p.memory_mb:,.0f}", p.address) for p in parts
    )
    _print(console, ("part", "state", "pid>", "up>", "memory MB>", "address"), rows)
    console.print(f"  {sum(p.memory_mb for p in parts):,.0f} MB resident in all", style="dim")
    return all(part.trouble is None for part in parts)


def print_jobs(settings: Settings, console: Console) -> bool:
    """Prints the deployed Flink jobs; True when all that should run do."""
    jobs = observe.jobs(settings)
    rows = (
        (
            job.name,
            job.state.lower() if job.trouble is None else _state(job.trouble),
            job.job_id[:8],
            str(job.restarts),
            "" if job.checkpoint_age_s is None else f"{_age(job.checkpoint_age_s)} ago, took {job.checkpoint_ms} ms",
        )
        for job in jobs
    )
    if jobs:
        _print(console, ("Flink job", "state", "id", "restarts>", "last checkpoint"), rows)
    return all(job.trouble is None for job in jobs)


def print_lag(settings: Settings, console: Console) -> None:
    """Prints who is behind, by how many messages; what is not behind at all is summed up in one line."""
    lags = [*_or_none(lambda: observe_data.cleaning_lag(settings)), *observe_data.stream_lag(settings)]
    if not lags:
        return
    shown = [lag for lag in lags if lag.messages or lag.trouble]
    rows = [(lag.consumer, lag.what, f"{lag.messages:,}", lag.trouble or "") for lag in shown]
    level = len(lags) - len(shown)
    _print(console, ("consumer", "of", "messages behind>", "trouble"), [*rows, ("", f"{level} others", "0", "")])


def print_freshness(settings: Settings, console: Console) -> None:
    """Prints the newest received_at of each table."""
    found = observe_data.freshness(settings)
    if found:
        rows = ((f.table, f"{f.newest_at:%Y-%m-%d %H:%M:%S} UTC", _age(f.age_s)) for f in found)
        _print(console, ("table", "newest message received", "ago>"), rows)


def print_rejects(settings: Settings, console: Console) -> None:
    """Prints the share of rejects: one line while it is normal, else a line for each channel where it is not."""
    rejects = observe_data.rejects(settings)
    if rejects is None:
        return
    window = f"rejects of the last {rejects.window_minutes} minutes"
    if rejects.stale:
        console.print(f"{window}: [yellow]not measured for {_age(rejects.age_s)}[/] (by the part balance)")
        return
    high = [line for line in rejects.channels if line.too_many]
    if high:
        console.print(f"{window}: [red]too many[/]")
        for line in high:
            console.print(f"  {line}: kefulake rejects show --rule {line.commonest_rule}", highlight=False)
        return
    if not rejects.channels:
        console.print(f"{window}: too few messages to say")
        return
    judged, rejected = (sum(getattr(line, name) for line in rejects.channels) for name in ("judged", "rejected"))
    console.print(f"{window}: [green]normal[/], {rejected:,} of {judged:,}")


def print_backup(settings: Settings, console: Console) -> None:
    """Prints how old the backup is, and what it lacks; a late one is a warning, not a failure of the stack."""
    backup = observe_backup.backup(settings)
    if backup is None:
        return
    age = "nothing yet" if backup.age_s is None else f"all acknowledged until {_age(backup.age_s)} ago"
    console.print(f"backup: {'[red]late[/], ' if backup.late else '[green]well[/], '}{age}")
    for trouble in backup.troubles:
        console.print(f"  [yellow]{trouble}[/]", highlight=False)


def print_balance(settings: Settings, console: Console) -> bool:
    """Prints the balance of the closed hours; True when it closes or was not computed yet."""
    balance = observe_data.balance(settings)
    if balance is None:
        return True
    verdict = "[green]closes[/]" if balance.closes else "[red]does not close[/]"
    counts = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in balance.counts.items())
    hours = "1 closed hour" if balance.hours == 1 else f"{balance.hours} closed hours"
    console.print(f"balance of {hours} {verdict}: {counts}")
    return balance.closes


def _or_none(ask: Callable[[], list[Any]]) -> list[Any]:
    from confluent_kafka import KafkaException

    try:
        return ask()
    except KafkaException:
        return []  # the broker's own line above already says that it is down


def _print(console: Console, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _state(trouble: str | None) -> str:
    return "[green]well[/]" if trouble is None else f"[red]{trouble}[/]"


def _age(seconds: float) -> str:
    """A duration for people.

    >>> _age(59), _age(3700), _age(0), _age(200_000)
    ('59 s', '1 h 01 min', '0 s', '2 d 7 h')
    """
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    minutes = int(seconds // 60)
    if minutes >= 2 * 24 * 60:
        return f"{minutes // 1440} d {minutes % 1440 // 60} h"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
