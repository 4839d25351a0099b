"""`kefulake audit`: who looked at what, and the proof that nobody changed, removed or inserted a row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from infra.stack.files import write_json
from infra.stack.settings import Settings
from jobs.ops.auditing import audit_log
from pipelines.io import audit_log as log_io
from pipelines.io.compacted_tail import TailError
from pipelines.privacy.audit_chain import AuditRow, Finding, verify
from pipelines.privacy.keys import MasterKey

REPORT = "build/reports/audit.json"
SHOWN_FINDINGS = 20
app = typer.Typer(no_args_is_help=True, help="Who looked at what; prove that nobody changed it.")


@app.callback()
def _audit() -> None:
    """Who looked at what; prove that nobody changed it."""


@app.command()
def show(limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest rows to show.")] = 20) -> None:
    """The newest rows: when, who, in which role, what, of whom, why."""
    settings = Settings.load()
    try:
        rows = audit_log(settings).newest(limit)
    except (DBAPIError, FileNotFoundError) as error:
        raise typer.Exit(_cannot_ask(error)) from error
    print_rows(rows, Console())


@app.command(name="verify")
def verify_log() -> None:
    """Exit code 1 when a row was changed, removed, inserted or swapped, or the end was cut off; each is named.

    Compares MariaDB with topic audit.log, to which every row is sent as well.
    """
    settings, console = Settings.load(), Console(highlight=False)
    key = MasterKey.load(settings)
    try:
        rows = list(audit_log(settings).rows())
        # Read after the rows: what was written in between is in the topic and not yet among the rows.
        known = log_io.witness(settings.bootstrap)
        rows += list(audit_log(settings).rows(after=rows[-1].audit_seq if rows else 0))
    except (DBAPIError, FileNotFoundError) as error:
        raise typer.Exit(_cannot_ask(error)) from error
    except (KafkaException, TailError) as error:
        typer.echo(f"Topic {log_io.TOPIC} cannot be read, so a cut-off end would not be seen: {error}", err=True)
        raise typer.Exit(1) from error
    findings = verify(rows, known, key)
    unsent = sum(row.audit_seq not in known for row in rows)
    print_findings(findings, len(rows), unsent, console)
    found = [{"audit_seq": f.audit_seq, "what": f.what} for f in findings]
    write_json(settings.project_root / REPORT, {"rows": len(rows), "not_yet_sent": unsent, "findings": found})
    raise typer.Exit(1 if findings else 0)


def print_rows(rows: list[AuditRow], console: Console) -> None:
    """A table, newest first."""
    table = Table(box=None, header_style="bold")
    for name in ("number", "time (UTC)", "who", "role", "what", "of", "reason"):
        table.add_column(name, overflow="fold", no_wrap=name == "time (UTC)")
    for row in rows:
        at = datetime.fromtimestamp(row.acted_at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        words = (row.actor, row.actor_role, row.act, row.act_subject, row.reason)
        table.add_row(str(row.audit_seq), at, *(Text(_printable(word)) for word in words))
    console.print(table if rows else "Nothing has been audited yet.")


def _printable(word: str) -> str:
    return "".join(c if c.isprintable() else " " for c in word)


def print_findings(findings: list[Finding], rows: int, unsent: int, console: Console) -> None:
    """What is wrong, by number, or that nothing is."""
    table = Table("number", "what was found", title="Audit log: rows that do not fit")
    for finding in findings[:SHOWN_FINDINGS]:
        table.add_row(str(finding.audit_seq), finding.what)
    if findings:
        console.print(table)
        if len(findings) > SHOWN_FINDINGS:
            console.print(f"… and {len(findings) - SHOWN_FINDINGS} more: {REPORT}")
    numbers = len({finding.audit_seq for finding in findings})
    console.print(f"{rows:,} rows looked at; " + (f"[red]{numbers:,} do not fit[/]." if numbers else "all fit."))
    if unsent:
        console.print(f"{unsent:,} rows are not in topic {log_io.TOPIC} yet; the next audited act sends them.")


def _cannot_ask(error: Exception) -> int:
    reason = error.orig if isinstance(error, DBAPIError) else error
    typer.echo(f"The audit log cannot be read: {reason}. Is MariaDB up? kefulake status", err=True)
    return 1
