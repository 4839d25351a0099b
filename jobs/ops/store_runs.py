"""What one run of `kefulake store-import` did, and how a person sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.ops.store_roots import Root
from pipelines.stores.arrivals import Arrival
from pipelines.stores.report import FileReport

_COLUMNS = (
    "file",
    "store",
    "day",
    "verdict",
    "read",
    "sent",
    "new",
    "corrected",
    "withdrawn",
    "unchanged",
    "rejects",
    "why",
)


@dataclass
class Run:
    """What one run did. ``reports`` with the root each belongs to; ``waiting``: files not complete yet, and why."""

    reports: list[tuple[Root, FileReport]] = field(default_factory=list)
    dealt_with: list[Arrival] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    stays: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    other_days: int = 0

    @property
    def refused(self) -> list[FileReport]:
        """Files of which nothing was sent."""
        return [report for _, report in self.reports if report.file_verdict == "refused"]


def show(done: Run, console: Console, only_day: date | None) -> None:
    """The report of the run: a line a file, then what waits and what is missing."""
    table = Table(*_COLUMNS, box=None, header_style="bold", title="Files of stores", title_justify="left")
    for _, one in done.reports:
        style = {"refused": "red", "corrected": "yellow"}.get(one.file_verdict, "")
        numbers = (
            one.rows_read,
            one.rows_sent,
            one.rows_new,
            one.rows_corrected,
            one.rows_withdrawn,
            one.rows_unchanged,
        )
        why = f"{one.refusal}: {one.reason}" if one.refusal else one.reason or ""
        cells = [one.file_name, one.store_id or "", str(one.store_day or ""), one.file_verdict]
        cells += [f"{number:,}" for number in (*numbers, one.rows_unreadable)]
        table.add_row(*[Text(cell, style) for cell in [*cells, why]])
    for name, why in done.waiting.items():
        table.add_row(Text(name), "", "", Text("waits", "yellow"), *[""] * 7, Text(why))
    for name, why in done.stays.items():
        table.add_row(Text(name), "", "", Text("stays", "red"), *[""] * 7, Text(why))
    if table.row_count:
        console.print(table)
    sent = sum(report.rows_sent for _, report in done.reports)
    console.print(f"{len(done.reports)} files, {sent:,} messages sent; {len(done.waiting)} files wait.")
    if done.other_days:
        console.print(f"{done.other_days} files are not of {only_day} and stay in the inbox.")
    if done.missing:
        console.print(f"[yellow]No file of {only_day} ever came from {', '.join(done.missing)}.[/]")
    if done.refused:
        console.print(
            "[red]Refused files are kept, encrypted (--release SHA256 puts one back); nothing of them was sent.[/]"
        )
