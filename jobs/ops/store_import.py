"""`kefulake store-import`: the files that stores delivered, into raw.store; a report a file, nothing sent twice."""

from __future__ import annotations

import hashlib
import time
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from infra.stack.settings import Settings
from jobs.ops.store_deliveries import Deliveries
from jobs.ops.store_inbox import Inbox
from jobs.ops.store_resend import resend
from jobs.ops.store_roots import Roots
from jobs.ops.store_runs import Run, show
from pipelines import contracts
from pipelines.io import store_files_table
from pipelines.io.paced_producer import NoBroker
from pipelines.lineage.hooks import told_as_run
from pipelines.stores.arrivals import Arrival, Look, looked_at, require_settled, waited_too_long
from pipelines.stores.report import FileReport, delivery_id, instant, shown_name
from pipelines.stores.verdicts import FileIncomplete, FileRefused

REFUSED_EXIT, MISSING_EXIT = 3, 4


@told_as_run("store_import")
def command(
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only this day; also out of the archive.")
    ] = None,
    inbox: Annotated[Path | None, typer.Option(help="Folder of the files (default: <home>/inbox/stores).")] = None,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="A correction may take most records back.")
    ] = False,
    expect_all: Annotated[
        bool, typer.Option("--expect-all", help="With --date: exit code 4 when a store has not delivered the day.")
    ] = False,
    release: Annotated[
        list[str] | None, typer.Option(help="SHA-256 of a refused file: back into the inbox, after its cause is gone.")
    ] = None,
) -> None:
    """Import the files that stores delivered: recognised by content, archived, sent to raw.store, reported.

    Run it again as often as you like: what was sent is not sent again, a corrected file sends what is different. With
    --date only files of that day are taken, and records of it that are missing from the lake are sent again from the
    archive. Exit code 3 when a file was refused, 1 when not everything could be sent.
    """
    settings, console, now_ns = Settings.load(), Console(), time.time_ns()
    if expect_all and date is None:
        raise typer.BadParameter("which day? Give --date as well", param_hint="--expect-all")
    folder = inbox or settings.home / "inbox" / "stores"
    if inbox is None:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}", param_hint="--inbox")
    only_day = None if date is None else date.date()
    for sha256 in release or []:
        with Roots(settings) as roots:
            name = Inbox(folder, _memory(settings)).put_back(roots.own.archive, sha256, now_ns)
        console.print(f"{name} is in the inbox again.", markup=False)
    try:
        with Progress(console=console, transient=True) as progress:
            done = run(settings, folder, now_ns, only_day=only_day, allow_shrink=allow_shrink, progress=progress)
    except NoBroker as error:
        typer.echo(f"{error}. Files not dealt with stay in {folder}; run it again.", err=True)
        raise typer.Exit(1) from None
    show(done, console, only_day)
    if done.refused or done.stays:
        raise typer.Exit(REFUSED_EXIT)
    if expect_all and done.missing:
        raise typer.Exit(MISSING_EXIT)


def run(
    settings: Settings,
    folder: Path,
    now_ns: int,
    *,
    only_day: date | None = None,
    allow_shrink: bool = False,
    progress: Progress | None = None,
) -> Run:
    """One import of a folder. Files are taken away last: after messages, state and report row.

    Raises ImportBusy beside another import, NoBroker where messages were not acknowledged (what was done by then is
    reported and taken away).
    """
    policy = contracts.policy("store_import")
    with Roots(settings) as roots:
        box, done = Inbox(folder, _memory(settings)), Run()
        deliveries = Deliveries(roots, policy, now_ns // 1000, allow_shrink=allow_shrink)
        try:
            _take_all(box, deliveries, roots, done, now_ns, only_day, progress)
            if only_day is not None:
                _past_day(deliveries, roots, policy, done, only_day, now_ns // 1000)
        finally:
            done.reports += deliveries.finished
            for root in roots.opened:
                store_files_table.note(root.settings, [r.row() for of, r in done.reports if of is root])
            for arrival in done.dealt_with:
                box.remove(arrival)
    return done


def _memory(settings: Settings) -> Path:
    return settings.home / "archive" / "waiting.json"


def _take_all(
    box: Inbox, deliveries: Deliveries, roots: Roots, done: Run, now_ns: int, only_day: date | None,
    progress: Progress | None,
) -> None:  # fmt: skip
    arrivals = box.arrivals()
    names, looks = {one.path for one in arrivals}, {}
    done.stays |= dict.fromkeys(box.links(), "a link; it is not followed. Put the file itself there")
    for arrival in progress.track(arrivals, description="files") if progress else arrivals:
        waited = _take(box, deliveries, roots, done, arrival, names, now_ns, only_day)
        if waited is not None:
            looks[arrival.path] = waited
    if only_day is not None:  # what is of another day waits on as it did
        looks = {one.path: look for one in arrivals if (look := box.look(one)) is not None} | looks
    box.remember(looks)


def _take(
    box: Inbox, deliveries: Deliveries, roots: Roots, done: Run, arrival: Arrival, names: set[str], now_ns: int,
    only_day: date | None,
) -> Look | None:  # fmt: skip
    """Deal with one file; what to remember of it where it has to wait."""
    waiting, limit = deliveries.policy["waiting"], deliveries.policy["limits"]["file_bytes"]
    content: bytes | None = None
    try:
        if arrival.size > limit:
            raise FileRefused("form.too_large", f"the file has {arrival.size:,} bytes, at most {limit:,} are read")
        require_settled(arrival, box.look(arrival), names, now_ns, settle_s=waiting["settle_s"], marks=waiting["marks"])
        content = box.read(arrival)
        report = deliveries.take(arrival, content, only_day)
    except FileIncomplete as wait:
        look = looked_at(arrival, box.look(arrival), now_ns)
        if only_day is not None or not waited_too_long(look, now_ns, waiting["give_up_after_s"]):
            done.waiting[shown_name(arrival.path)] = wait.reason
            return look
        hours = waiting["give_up_after_s"] / 3600
        refusal = FileRefused("incomplete.given_up", f"{wait.reason}; nobody has written to it for {hours:g} h")
        _refuse(box, roots, done, arrival, content, refusal, now_ns)
    except FileRefused as refusal:
        if only_day is None:
            _refuse(box, roots, done, arrival, content, refusal, now_ns)
        else:
            done.other_days += 1  # whose and of which day it is cannot be told: the run without --date refuses it
    else:
        if report is None:
            done.other_days += 1
        else:
            account = deliveries.policy["stores"][report.store_id]["account"]
            done.reports.append((roots.of(account), report))
            done.dealt_with.append(arrival)
    return None


def _refuse(
    box: Inbox, roots: Roots, done: Run, arrival: Arrival, content: bytes | None, refusal: FileRefused, now_ns: int
) -> None:
    """Keep a refused file, encrypted, with its reason; one too large to be held stays where it is."""
    too_large = content is None and refusal.code == "form.too_large"
    if content is None and not too_large:
        content = box.read(arrival)
    sha256 = box.hash(arrival) if content is None else hashlib.sha256(content).hexdigest()
    name = shown_name(arrival.path)
    report = FileReport(
        delivery_id(arrival, sha256), name, sha256, arrival.size, "refused", instant(now_ns // 1000),
        refusal=refusal.code, reason=refusal.reason,
    )  # fmt: skip
    done.reports.append((roots.own, report))
    if content is None:
        done.stays[name] = f"{refusal.reason}; it stays in the inbox until somebody takes it away"
        return
    roots.own.archive.refuse(content, report.told())
    done.dealt_with.append(arrival)


def _past_day(deliveries: Deliveries, roots: Roots, policy: dict, done: Run, day: date, now_us: int) -> None:
    """What of the day is missing in the lake, out of the archive; and which stores have never delivered it."""
    for store, spec in policy["stores"].items():
        root = roots.of(spec["account"])
        if store not in root.archive.days(day):
            if spec.get("delivers") != "sometimes":
                done.missing.append(store)
            continue
        found = resend(deliveries, root, store, day, now_us)
        if found.report is not None:
            done.reports.append((root, found.report))
        if found.lost:
            done.stays[f"{store} {day}"] = f"{found.lost} records are missing in the lake and their file was erased"
