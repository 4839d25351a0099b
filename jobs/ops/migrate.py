"""`kefulake migrate`: history of another system into the lake, with a certificate at the end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from jobs.ops import migration_runs as runs
from jobs.ops.migration_state import State, locked
from pipelines.lineage.hooks import told_as_run
from pipelines.migration import declaration

app = typer.Typer(no_args_is_help=True, help="History of another system: full, increments, cut-over, certificate.")
File = Annotated[Path, typer.Argument(help="The declaration, a YAML (docs/migration.md).", exists=True, dir_okay=False)]
Role = Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in (policy roles).")]


@app.callback()
def _migrate() -> None:
    """History of another system: full, increments, cut-over, certificate."""


@app.command()
def check(file: File) -> None:
    """Read the declaration and look whether the source is as it says; nothing is copied."""
    migration = declaration.load(file)
    shown = Table("table", "rows", "columns", "target", "newest change", box=None, header_style="bold")
    for table in migration.tables:
        source = runs.source_of(migration, table)
        mark = source.mark(0) if table.changed or migration.kind != "mysql" else None
        shown.add_row(table.name, f"{source.rows():,}", str(len(source.columns)), ", ".join(table.targets), mark or "")
    Console(highlight=False).print(shown)


@app.command()
@told_as_run("migrate")
def run(
    file: File,
    chunk_rows: Annotated[int | None, typer.Option(min=100, help="Rows a commit (policy migration).")] = None,
) -> None:
    """Copy what is not copied yet: the full copy first, then what changed since. Killed, it goes on where it stood."""
    settings, migration = Settings.load(), declaration.load(file)
    with locked(settings, migration):
        state = State.load(settings, migration)
        if state.cut_over_at:
            raise RuntimeError(f"{migration.name} was cut over at {state.cut_over_at}: the old system writes no more")
        counted = runs.copy(settings, migration, state, chunk_rows=chunk_rows)
    _print_counted(counted)


@app.command("make-good")
@told_as_run("migrate")
def make_good(file: File) -> None:
    """Rows that a killed run left in bronze come into their tables, out of bronze alone: the source is not asked."""
    settings, migration = Settings.load(), declaration.load(file)
    with locked(settings, migration):
        counted = runs.make_good(settings, migration, State.load(settings, migration))
    _print_counted(counted)


@app.command()
def status(file: File) -> None:
    """How far each table is: rows in the lake by table, phase, mark of the next increment."""
    settings, migration = Settings.load(), declaration.load(file)
    state = State.load(settings, migration)
    shown = Table("table", "phase", "received", "in increments", "mark", box=None, header_style="bold")
    for table in migration.tables:
        full, increments = runs.received(settings, migration, table)
        known = state.tables.get(table.name, {})
        phase = "cut over" if state.cut_over_at else "increments" if known.get("full") else "full copy"
        shown.add_row(table.name, phase, f"{full:,}", f"{increments:,}", str(known.get("mark") or ""))
    Console(highlight=False).print(shown)


@app.command()
def certify(file: File, role: Role = "data_engineer", reason: Annotated[str, typer.Option(help="Why.")] = "") -> None:
    """Compare source and lake by a second path, and write the certificate; fails when something differs."""
    settings, migration = Settings.load(), declaration.load(file)
    with locked(settings, migration):
        state = State.load(settings, migration)
        done = runs.certify(settings, migration, role=role, reason=reason, cut_over=bool(state.cut_over_at))
    _show(done)


@app.command("cut-over")
@told_as_run("migrate")
def cut_over(
    file: File,
    source_is_read_only: Annotated[
        bool, typer.Option("--source-is-read-only", help="You say that nothing writes to the old system any more.")
    ] = False,
    role: Role = "data_engineer",
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit log.")] = "",
) -> None:
    """The last increment, its certificate, and the end: after it no increment is taken any more."""
    if not source_is_read_only:
        raise typer.BadParameter("first stop all writers of the old system, then say --source-is-read-only")
    settings, migration = Settings.load(), declaration.load(file)
    with locked(settings, migration):
        state = State.load(settings, migration)
        # An increment has to follow the full copy: rows it passed early may have changed before it ended.
        if any(not state.tables.get(table.name, {}).get("full") for table in migration.tables):
            raise RuntimeError("the full copy has not ended yet: kefulake migrate run, then cut over")
        before = runs.marks(migration)
        counted = runs.copy(settings, migration, state)
        if runs.marks(migration) != before:
            raise RuntimeError("the old system was written to meanwhile, so it is not read-only; nothing was cut over")
        done = runs.certify(settings, migration, role=role, reason=reason, cut_over=True)
        if done.stated["certified"]:
            state.cut_over_at = datetime.now(UTC).isoformat(timespec="seconds")
            state.save()
    _print_counted(counted)
    _show(done)


def _show(done: runs.Certified) -> None:
    typer.echo(done.text)
    typer.echo(f"certificate: {done.path}")
    if not done.stated["certified"]:
        raise typer.Exit(1)


def _print_counted(counted: dict) -> None:
    shown = Table("table", "read", "made good", "unchanged", "changed", "deleted", "vault entries", "written", box=None,
                  header_style="bold")  # fmt: skip
    for name, one in counted.items():
        numbers = (one.read, one.made_good, one.unchanged, one.changed, one.deleted, one.vault_entries)
        written = ", ".join(f"{table} {rows:,}" for table, rows in one.written.items() if rows) or "nothing"
        shown.add_row(name, *(f"{number:,}" for number in numbers), written)
    Console(highlight=False).print(shown)
