"""`kefulake backup`: the recovery key, the daily full check, retention, the drill, and how the backup fares."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from infra.stack.settings import Settings
from jobs.ops.backup_drill import run_drill
from jobs.ops.restore import passphrase
from pipelines import contracts
from pipelines.backup import manifest, places
from pipelines.backup.soundness import newest_sound
from pipelines.io import backup_full, backup_keys
from pipelines.io.backup_round import home_id, require_ours

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
def full() -> None:
    """The daily check: every file by its hash, damaged ones copied again, a new manifest begun.

    Exit code 1 when a file is damaged that the lake has not any more (each is named), or no recovery key was set up.
    """
    settings, console = Settings.load(), Console(highlight=False)
    _require_ours(settings)  # before its keys are sealed over those of another home
    backup_keys.ship_keys(settings)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("checking")
        found = backup_full.full(
            settings,
            places.backup_folder(settings),
            lambda done, of: progress.update(bar, completed=done, total=of),
        )
    table = Table("what", "value", title="Full backup")
    table.add_row("files checked", f"{found.files:,} ({found.bytes:,} bytes)")
    table.add_row("damaged, copied again from the lake", f"{len(found.repaired):,}")
    table.add_row("damaged, not in the lake any more", f"{len(found.damaged):,}")
    table.add_row("files that left their table", f"{found.unused:,}")
    table.add_row("leavings of killed rounds, deleted", f"{found.leavings:,}")
    table.add_row("manifest", f"{found.generation}")
    console.print(table)
    if found.manifest_damage:
        console.print(f"[yellow]{found.manifest_damage}; a new one began at the last sound round before it.[/]")
    for path in found.repaired:
        console.print(f"[yellow]{path}: was damaged, is sound again[/]")
    for damage in found.damaged:
        console.print(f"[red]{damage}[/]")
    if found.damaged:
        console.print("A restore that needs these refuses; kefulake restore --newest-sound goes before them.")
        raise typer.Exit(1)


@app.command()
def retention() -> None:
    """Delete what no state that is kept needs (policy backup: every round of some days, then one state a day)."""
    settings, keep = Settings.load(), contracts.policy("backup")["keep"]
    _require_ours(settings)
    files, size, manifests = backup_full.retain(places.backup_folder(settings), keep, time.time())
    table = Table("what", "deleted", title="Retention of the backup")
    table.add_row("files", f"{files:,} ({size:,} bytes)")
    table.add_row("manifests", f"{manifests:,}")
    Console(highlight=False).print(table)


@app.command()
def drill(
    passphrase_file: Annotated[
        Path | None, typer.Option(exists=True, help="Its first line opens the keys; else KEFULAKE_BACKUP_PASSPHRASE.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the restored home in place.")] = False,
) -> None:
    """Restore the newest round into a scratch home on other ports, prove it, and clear it away.

    Proof: the balance closes over all restored hours, every table of the stream has as many rows as the source up to
    the end of the backup, the same in every cell where nothing was judged again (an order-free hash), and a customer
    can be read. Exit code 1 otherwise.
    """
    settings, console = Settings.load(), Console(highlight=False)
    with console.status("") as line:
        proofs = run_drill(settings, partial(passphrase, passphrase_file, line.stop), tell=line.update, keep=keep)
    table = Table("proof", "source", "restored", "", title="Restore drill")
    for proof in proofs:
        table.add_row(proof.what, proof.source, proof.restored, "[green]equal[/]" if proof.holds else "[red]differs[/]")
    console.print(table)
    raise typer.Exit(0 if all(proof.holds for proof in proofs) else 1)


@app.command()
def status() -> None:
    """What is in the backup and how old it is. Exit code 1 when it is late, or its keys could not be opened."""
    settings, console = Settings.load(), Console(highlight=False)
    folder, wrong = places.backup_folder(settings), []
    state = manifest.read(folder)
    age_s = time.time() - state.facts.get("covers_until", 0.0)
    table = Table("what", "value", title=str(folder))
    table.add_row("newest round", f"{state.rounds}, {datetime.fromtimestamp(state.at, UTC):%Y-%m-%d %H:%M:%S} UTC")
    covers = f"{age_s:,.0f} s ago" if state.facts.get("covers_until") else "nothing yet: the first rounds are under way"
    table.add_row("holds all acknowledged before", covers)
    table.add_row("files, bytes", f"{len(state.files):,}, {sum(f['bytes'] for f in state.files.values()):,}")
    table.add_row("tables", f"{len(state.tables)}")
    if age_s > contracts.policy("backup")["late_after_s"]:
        wrong.append(
            f"what was acknowledged since {covers} is not in it: does backup-shipper run, is it behind? kefulake status"
        )
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


def _require_ours(settings: Settings) -> None:
    folder = places.backup_folder(settings)
    require_ours(folder, newest_sound(folder).facts, home_id(settings))
