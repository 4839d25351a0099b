"""`kefulake backup`: the recovery key, the daily full check, retention, the drill, and how the backup fares."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.backup import manifest, places
from pipelines.io import backup_keys

app = typer.Typer(no_args_is_help=True)


@app.command()
def init(
    passphrase_file: Annotated[
        Path | None, typer.Option(exists=True, help="Its first line is the passphrase; else asked for.")
    ] = None,
) -> None:
    """Set up the recovery key: the keys go into the backup sealed, and only the passphrase opens them again."""
    settings = Settings.load()
    if passphrase_file is not None:
        words = passphrase_file.read_text(encoding="utf-8").splitlines()[0]
    elif (words := os.environ.get(places.PASSPHRASE)) is None:
        words = typer.prompt("Passphrase (keep it where the backup is not)", hide_input=True, confirmation_prompt=True)
    path = backup_keys.init(settings, words)
    sealed = settings.keys_file.exists() and backup_keys.ship_keys(settings)
    typer.echo(f"{path} written" + ("; the keys are sealed beside it" if sealed else ""))
    for warning in places.warnings(settings):
        typer.echo(warning, err=True)


@app.command()
def status() -> None:
    """What is in the backup and how old it is. Exit code 1 when it is late, or its keys could not be opened."""
    settings, console = Settings.load(), Console(highlight=False)
    folder, wrong = places.backup_folder(settings), []
    state = manifest.read(folder)
    age_s = time.time() - state.facts["began_at"]
    table = Table("what", "value", title=str(folder))
    table.add_row("newest round", f"{state.rounds}, {datetime.fromtimestamp(state.at, UTC):%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("holds all acknowledged before", f"{age_s:,.0f} s ago")
    table.add_row("files, bytes", f"{len(state.files):,}, {sum(f['bytes'] for f in state.files.values()):,}")
    table.add_row("tables", f"{len(state.tables)}")
    if age_s > contracts.policy("backup")["late_after_s"]:
        wrong.append(f"the last round began {age_s:,.0f} s ago: does the part backup-shipper run? kefulake status")
    try:
        backup_keys.recovery_of(settings)
    except backup_keys.RecoveryKeyError as error:
        wrong.append(str(error))
    told = settings.run / "backup.json"
    if told.exists():
        said = json.loads(told.read_text(encoding="utf-8"))
        wrong += [*([said["error"]] if said["error"] else []), *said["troubles"]]
    console.print(table)
    for line in dict.fromkeys(wrong):
        console.print(f"[red]{line}[/]")
    for line in places.warnings(settings):
        console.print(f"[yellow]{line}[/]")
    raise typer.Exit(1 if wrong else 0)
