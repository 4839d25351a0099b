"""`kefulake restore`: an empty home becomes what the backup held at a moment, and goes on from there, exactly once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from jobs.ops.restoring import Restored, RestoreRefused, restore
from pipelines.backup import places
from pipelines.tables.data_balance import BRONZE


def command(
    to: Annotated[str, typer.Option("--to", help="A time (2026-01-09T12:00, UTC unless it says), or 'newest'.")],
    source: Annotated[Path | None, typer.Option("--from", help="The backup (KEFULAKE_BACKUP).")] = None,
    keys_from: Annotated[Path | None, typer.Option("--keys", help="The sealed keys, if not beside it.")] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(exists=True, help="Its first line opens the keys; else asked for.")
    ] = None,
    parts: Annotated[
        str | None, typer.Option(help="Parts to run afterwards, with commas between (default: all of kefulake up).")
    ] = None,
    earlier: Annotated[
        bool, typer.Option("--newest-sound", help="Where files are damaged, go to the newest round that needs none.")
    ] = False,
) -> None:
    """Make of an empty home (--home, KEFULAKE_HOME) what the backup held at a time, and start it.

    Raw messages the tables lack are judged again, each at its old offset; what repeats an earlier message is known. The
    backup is only read. Exit code 1 when it is damaged (every file is named) or the home is not empty.
    """
    settings, console = Settings.load(), Console(highlight=False)
    folder = (source or places.backup_folder(settings)).resolve()
    sealed = (keys_from or places.beside(folder)).resolve()
    with console.status("") as line:
        told = restore(
            settings,
            folder,
            sealed,
            moment(to),
            partial(passphrase, passphrase_file, line.stop),
            tell=line.update,
            earlier=earlier,
            parts=parts.split(",") if parts else None,
        )
    print_restored(told, settings, console)


def moment(text: str) -> float | None:
    """Epoch seconds of --to; None for the newest. Raises RestoreRefused.

    >>> moment("2026-01-09T12:00"), moment("newest")
    (1767960000.0, None)
    """
    if text == "newest":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise RestoreRefused(f"--to {text}: write a time as 2026-01-09T12:00, or newest") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def passphrase(file: Path | None, ask_first: Callable[[], None] = lambda: None) -> str:
    """From the file, the environment, or the person in front of the terminal.

    Raises ValueError where nobody is there to be asked: a scheduled run would wait for ever.
    """
    if file is not None:
        return file.read_text(encoding="utf-8").splitlines()[0]
    if (told := os.environ.get(places.PASSPHRASE)) is not None:
        return told
    if not sys.stdin.isatty():
        raise ValueError(f"nobody can be asked for the passphrase here; set {places.PASSPHRASE} or --passphrase-file")
    ask_first()
    return typer.prompt("Passphrase of the recovery key", hide_input=True)


def print_restored(told: Restored, settings: Settings, console: Console) -> None:
    """What came back."""
    table = Table("what", "value", title=f"Restored into {settings.home}")
    table.add_row("round", f"{told.round} of {datetime.fromtimestamp(told.at, UTC):%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("bytes of the lake", f"{told.bytes:,}")
    table.add_row("rows taken out and judged again", f"{sum(told.taken_out.values()):,}")
    table.add_row("raw messages written again", f"{told.rewritten:,}")
    table.add_row("messages the job remembers", f"{told.remembered:,}")
    for name, rows in told.served.items():
        table.add_row(name, f"{rows:,}")
    table.add_row("took", f"{told.took_s:.0f} s: " + ", ".join(f"{n} {s:.0f}" for n, s in told.steps.items()))
    console.print(table)
    console.print(f"Prove it: kefulake balance --final ({BRONZE} against every output)")
