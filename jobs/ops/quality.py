"""`kefulake quality`: check what stands in the tables, accept what failed, and the Data Docs of both."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from jobs.ops.auditing import login, write_down
from pipelines import contracts
from pipelines.lineage.hooks import told_as_run
from pipelines.privacy.roles import NotAllowed, check_accept
from pipelines.quality.checks import STOP, lake_tables

app = typer.Typer(no_args_is_help=True, help="Check what stands in the tables; accept what failed; Data Docs.")


@app.callback()
def _quality() -> None:
    """Check what stands in the tables; accept what failed; Data Docs."""
    # Great Expectations logs every query it could not run; the report names the check.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)


@app.command()
@told_as_run("quality")
def check(
    what: Annotated[str, typer.Argument(help="silver, gold, lake (all), or one table such as silver.orders.")],
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Only this day of receipt (UTC).")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also days that have a verdict on their very files.")] = False,
) -> None:
    """Check days of tables and note what was found; nothing is rewritten. With --date that day is checked anew.

    Exit code 1 when a check of severity stop failed and nobody has accepted the rows: gold builds stop as well then.
    """
    from pipelines.quality import day_metrics, lake_gate

    settings, wanted = Settings.load(), tables(what)
    every = list(lake_gate.parts_of(settings, dict.fromkeys(wanted)))
    if day is not None:
        every = [part for part in every if part.day in (None, day.date())]
    parts = every if again or day is not None else lake_gate.without_verdict(settings, every)
    console = Console()
    with console.status(f"{len(parts)} days of {len({p.table for p in parts})} tables"):
        reports = lake_gate.check(settings, parts)
        # A day is over only hours after the nightly run, and gold may have judged it by then: by figures, not verdicts.
        judged = {(part.table, part.day) for part in parts}
        measured = [p for p in day_metrics.unmeasured(settings, every) if (p.table, p.day) not in judged]
        tested = [*parts, *measured]
        unusual = day_metrics.note(
            settings, tested, tables=wanted, tested=_days(tested, day), computed_at=datetime.now(UTC)
        )
    print_reports(console, reports)
    for line in unusual:
        console.print(f"[yellow]unusual[/] {line}", highlight=False)
    if not reports:
        console.print(f"Nothing to check: every day of {what} with rows has its verdict (--again checks all of them).")
    if failed := lake_gate.failed_of(settings, every):
        typer.echo(lake_gate.explain(failed, "gold is not built of"), err=True)
        raise typer.Exit(1)


def tables(what: str) -> list[str]:
    """The tables of a layer, of the lake, or one.

    >>> tables("silver")[:2], tables("silver.orders")
    (['silver.customers', 'silver.feedback'], ['silver.orders'])
    """
    known = lake_tables()
    wanted = known if what == "lake" else [n for n in known if what in (n, contracts.table(n).layer)]
    if not wanted:
        raise ValueError(f"{what!r} is no layer and no table of the lake; tables are: {', '.join(known)}")
    return wanted


def _days(parts: Sequence, day: datetime | None) -> list[date]:
    """Days whose figures are compared with their past: the one asked for, else those that were checked."""
    return [day.date()] if day is not None else sorted({part.day for part in parts if part.day is not None})


def print_reports(console: Console, reports: Sequence) -> None:
    """A line a day of a table, and below it each check that failed."""
    table = Table(box=None, header_style="bold", title="What stands in the tables", padding=(0, 2, 0, 0))
    for name in ("table", "day (UTC)", "rows", "checks", "failed", "verdict"):
        table.add_column(name, justify="right" if name in {"rows", "checks", "failed"} else "left", no_wrap=True)
    for report in reports:
        verdict = "[red]stop[/]" if not report.passed else "[yellow]warn[/]" if report.failures else "passed"
        table.add_row(
            report.table, "all" if report.day is None else str(report.day), f"{report.checked_rows:,}",
            str(len(report.results)), str(len(report.failures)), verdict,
        )  # fmt: skip
    if reports:
        console.print(table)
    for report in reports:
        for one in report.failures:
            colour = "red" if one.severity == STOP else "yellow"
            where = f"{report.table} {report.day or ''}".strip()
            console.print(f"[{colour}]{one.severity}[/] {where} {one.name}: {one.bad_rows:,} rows", highlight=False)


@app.command()
@told_as_run("quality")
def accept(
    run: Annotated[str, typer.Argument(help="run_id of the check, as the message of the refused build names it.")],
    name: Annotated[str, typer.Argument(metavar="CHECK", help="Name of the check that failed.")],
    reason: Annotated[str, typer.Option(help="Why figures may be made of these rows; written into the audit log.")],
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in.")] = "",
) -> None:
    """Let gold be built of the very rows that broke a check on a day of silver; other rows stop it as before."""
    from pipelines.io import quality_results

    settings = Settings.load()
    found = quality_results.failed_result(settings, run, name)
    if found is None or found["published"] is not None or not found["bad_rows"]:
        raise ValueError(f"no failed check {name!r} of rows that stand is noted for run {run!r}; kefulake quality docs")
    about = {"check": name, "table": found["table_name"], "day": str(found["checked_date"]), "rows": found["bad_rows"]}
    try:
        check_accept(role, reason, policy=contracts.policy("roles"))
    except NotAllowed as refused:
        write_down(settings, "refused", run, role=role, reason=reason, detail=about | {"wanted": "accept"})
        raise ValueError(f"not allowed: {refused}") from refused
    write_down(settings, "accept", run, role=role, reason=reason, detail=about)
    kept = ("run_id", "check_name", "table_name", "checked_date", "bad_rows", "bad_keys_hash")
    row = {key: found[key] for key in kept}
    quality_results.accept(settings, row | {"actor": login(), "reason": reason, "accepted_at": datetime.now(UTC)})
    typer.echo(f"{about['table']}, day {about['day']}: {found['bad_rows']:,} rows that break {name} are accepted.")


@app.command()
def docs(
    out: Annotated[Path | None, typer.Option(help="Folder of the pages; <home>/docs/quality by default.")] = None,
) -> None:
    """The suites and their newest results as static pages (Data Docs of Great Expectations); coded keys only."""
    from pipelines.quality import data_docs

    settings = Settings.load()
    folder = out or settings.home / "docs" / "quality"
    pages = data_docs.write(settings, folder)
    typer.echo(f"{pages} pages: {folder / 'index.html'}")
