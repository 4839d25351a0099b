"""Ninety days of stores' files, every fault planted, through broker and job: ``python -m tests.bench.store_import``.

Each simulated morning the files of the day before come into the inbox and the import runs, now and then killed in the
middle and run again. Then every file's report and every row in silver and quarantine is held against the truth, the
balance is drawn, and everything is delivered once more, which must change nothing. Figures in
build/reports/store_import.json.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.stack.files import write_json
from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.ops import store_import
from pipelines import contracts
from pipelines.simulation.store_file_faults import world
from pipelines.simulation.store_files import Delivered, Stores, World, by_step
from tests.bench import lake_facts
from tests.bench.scratch_stack import kefulake, scratch_stack
from tests.bench.store_import_check import Score, judge_files, judge_rows, rows

PARTS = ["kafka", "flink-jobmanager", "flink-taskmanager", "job-keeper", "tiering"]
REPORT = PROJECT_ROOT / "build" / "reports" / "store_import.json"
TABLES = ("bronze.raw_events", "silver.interactions", "silver.feedback", "quarantine.rejects", "quarantine.duplicates")
_ZONE = ZoneInfo("Asia/Shanghai")
console = Console()


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when each fault was found as what it is, nothing else touched, and a second delivery changed nothing."""
    parser = argparse.ArgumentParser(prog="store_import", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--last-day", type=date.fromisoformat, default=date(2026, 11, 27))
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--kills", type=int, default=10, help="runs killed in the middle and repeated")
    parser.add_argument("--keep", action="store_true", help="leave the stack's folder build/store_import in place")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child is not None:
        settings = Settings.load()
        store_import.run(settings, inbox_of(settings), args.child)
        return 0
    began = time.monotonic()
    first_day = args.last_day - timedelta(days=args.days - 1)
    made = world(Stores(args.seed, contracts.policy("store_import")["stores"], first_day, args.days))
    console.print(f"{len(made.files):,} deliveries, {len(made.rows):,} rows to come out of them")
    with scratch_stack("store_import", only=PARTS, keep=args.keep) as settings:
        kefulake("deploy", "clean_interactions")
        report = measure(settings, made, args.kills, args.seed)
    report |= {"days": args.days, "seed": args.seed, "seconds": round(time.monotonic() - began)}
    write_json(REPORT, report)
    show(report)
    return 1 if report["wrong"] else 0


def measure(settings: Settings, made: World, kills: int, seed: int) -> dict:
    """All steps, the comparison, the second delivery."""
    (settings.home / "truth.json").write_bytes(orjson.dumps(made.told(), option=orjson.OPT_INDENT_2))
    score, began = Score(), time.monotonic()
    killed = deliver_all(settings, made, score, kills, seed)
    import_s = time.monotonic() - began
    kefulake("flush")
    judge_rows(score, made, settings.lake)
    sent = end_of_raw(settings)
    balance = lake_facts.balance(settings.lake)
    current = current_rows_of(settings, made)
    changed = deliver_again(settings, made)
    wrong = score.missed + score.false_alarms
    wrong += [] if balance.closes(sent) else [f"the balance does not close: {balance}, sent {sent}"]
    wrong += changed + current
    return {
        "planted": sum(score.planted.values()),
        "found": sum(score.found.values()),
        "false_alarms": len(score.false_alarms) + len(changed),
        "by_fault": {name: [score.planted[name], score.found[name]] for name in sorted(score.planted)},
        "files": len(made.files),
        "rows": len(made.rows),
        "messages": sent,
        "killed_runs": killed,
        "import_s": round(import_s, 1),
        "balance": {"raw": balance.raw, "outputs": balance.outputs, "lost": balance.lost, "twice": balance.twice},
        "changed_by_second_delivery": len(changed),
        "wrong": wrong[:100],
    }


# ---- delivering


def inbox_of(settings: Settings) -> Path:
    """The default inbox."""
    return settings.home / "inbox" / "stores"


def put(inbox: Path, files: Iterable[Delivered], at_ns: int) -> None:
    """Write files as an upload does: what was half there is replaced, what was named .part gets its name."""
    for one in files:
        if not one.content:  # nothing comes: what waited before is given up
            continue
        path = inbox / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
        path.with_name(f"{path.name}.part").unlink(missing_ok=True)
        os.utime(path, ns=(at_ns, at_ns))


def morning_ns(first_day: date, step: int) -> int:
    """Two o'clock of the night after the step's day."""
    at = datetime(first_day.year, first_day.month, first_day.day, 2, tzinfo=_ZONE) + timedelta(days=step + 1)
    return int(at.timestamp()) * 10**9


def deliver_all(settings: Settings, made: World, score: Score, kills: int, seed: int) -> int:
    """Step by step into the inbox and through the import; how many runs were killed while they were at work."""
    chance, killed = random.Random(seed), 0
    steps = list(by_step(made))
    to_kill = set(chance.sample(range(len(steps)), min(kills, len(steps))))
    first_day = min(one.day for one in made.files)
    for step, files in track(steps, description="nights", console=console):
        now_ns = morning_ns(first_day, step)
        put(inbox_of(settings), files, now_ns - 3600 * 10**9)
        if step in to_kill:
            killed += kill_one(settings, now_ns, chance)
        done = store_import.run(settings, inbox_of(settings), now_ns)
        told = rows_of_reports(settings, now_ns)
        judge_files(score, files, told, done.waiting)
    return killed


def kill_one(settings: Settings, now_ns: int, chance: random.Random) -> bool:
    """Start a run and kill it once it is at work; True where it was."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.store_import", "--child", str(now_ns)], cwd=PROJECT_ROOT
    )
    deadline = time.monotonic() + 30
    before = len(list((settings.home / "archive" / "stores").rglob("*.file")))
    wanted = before + chance.randint(1, 4)
    while child.poll() is None and time.monotonic() < deadline:
        if len(list((settings.home / "archive" / "stores").rglob("*.file"))) >= wanted:
            break
        time.sleep(0.002)
    time.sleep(chance.random() * 0.05)
    alive = child.poll() is None
    child.kill()
    child.wait(30)
    return alive


def rows_of_reports(settings: Settings, now_ns: int) -> dict[str, dict]:
    """Reports of one night, by file."""
    table = rows(settings.lake, "bronze.store_files", [f.name for f in contracts.table("bronze.store_files").fields])
    night = datetime.fromtimestamp(now_ns / 1e9, _ZONE)
    return {row["file_name"]: row for row in table.iter_rows(named=True) if row["imported_at"] == night}


def deliver_again(settings: Settings, made: World) -> list[str]:
    """Everything once more, by the command itself; what changed in topic or tables."""
    before, lines = end_of_raw(settings), {name: lake_facts.rows(settings.lake, name) for name in TABLES}
    shutil.rmtree(inbox_of(settings))
    at_ns = time.time_ns() - 3600 * 10**9
    for nth, (_, files) in enumerate(by_step(made)):
        put(inbox_of(settings) / f"{nth:03d}", files, at_ns + nth)
    try:
        kefulake("store-import")
    except RuntimeError as error:  # files that were refused before are refused again
        if "exit 3" not in str(error):
            raise
    kefulake("flush")
    changed = [f"the second delivery sent {end_of_raw(settings) - before} messages"] * (end_of_raw(settings) != before)
    after = {name: lake_facts.rows(settings.lake, name) for name in TABLES}
    return changed + [
        f"{name} has {after[name]} rows after {lines[name]}" for name in TABLES if after[name] != lines[name]
    ]


def end_of_raw(settings: Settings) -> int:
    """Messages ever written to raw.store."""
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "ends"})
    try:
        partitions = range(contracts.topic("raw.store").partitions)
        return sum(consumer.get_watermark_offsets(TopicPartition("raw.store", p), timeout=30)[1] for p in partitions)
    finally:
        consumer.close()


def current_rows_of(settings: Settings, made: World) -> list[str]:
    """Gold's own rule for the row that stands (current_rows.newest_revisions) against the truth's last revisions."""
    from jobs.spark.sail import sail_session
    from pipelines.tables.current_rows import newest_revisions

    needed = [
        "channel", "account", "source_message_id", "source_revision", "attempt", "received_at", "raw_topic",
        "raw_partition", "raw_offset", "first_topic", "first_partition", "first_offset", "text", "outcome",
    ]  # fmt: skip
    with sail_session() as spark:
        frames = [spark.read.format("delta").load(str(settings.table_path(t))).select(needed) for t in TABLES[1:3]]
        standing = newest_revisions(frames[0].unionByName(frames[1]))
        found = standing.select("source_message_id", "text", "outcome").collect()
    stands = {row[0]: (row[1], row[2]) for row in found}
    truth = {}
    for row in sorted(made.rows, key=lambda one: one.revision):
        if row.fate == "kept":
            truth[row.message_id] = (row.text if row.outcome is None else None, row.outcome)
    same = {name for name, value in truth.items() if name in stands and stands[name][0] == value[0]
            and (stands[name][1] == "revoked") == (value[1] == "revoked")}  # fmt: skip
    wrong = [f"{name} stands as {stands.get(name)}, not {truth[name]}" for name in truth if name not in same]
    return wrong + [f"{len(found)} rows stand, {len(truth)} messages are known"] * (len(found) != len(truth))


def show(report: dict) -> None:
    """The figures for a person."""
    table = Table("fault", "planted", "found", title="Store files against their truth")
    for name, (planted, found) in report["by_fault"].items():
        table.add_row(name, f"{planted:,}", f"{found:,}", style="" if planted == found else "red")
    table.add_section()
    table.add_row("all", f"{report['planted']:,}", f"{report['found']:,}")
    console.print(table)
    console.print(
        f"{report['files']:,} files, {report['rows']:,} rows, {report['messages']:,} messages, {report['killed_runs']} "
        f"runs killed; false alarms {report['false_alarms']}; second delivery changed "
        f"{report['changed_by_second_delivery']}; {report['seconds']} s in all"
    )
    for what in report["wrong"][:20]:
        console.print(f"[red]WRONG[/] {what}", highlight=False)
    console.print(f"{REPORT.relative_to(PROJECT_ROOT)} written")


if __name__ == "__main__":
    sys.exit(main())
