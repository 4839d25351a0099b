"""The night the disk dies, on a real stack under load: ``python -m tests.bench.restore_drill``; restore_drill.json.

Messages flow, every process is killed at once, the home is lost. From the backup alone another home is made by
``kefulake restore``; then every message that came back must stand in exactly one output, the right one, and what
repeats a message from before must be known as its duplicate. The next drill kills what the last one restored.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import psutil
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack import lifecycle, ports, processes
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines import contracts
from pipelines.backup import manifest, places
from pipelines.io import lake_tables
from pipelines.tables.data_balance import BRONZE, ROLE_OF
from tests.bench import backup_damage, restore_witness
from tests.bench.chat_traffic import TOPIC
from tests.bench.numbered_traffic import PacedTraffic, Sent, rate, repeat
from tests.bench.restore_witness import Witness
from tests.bench.scratch_stack import OVERRIDES, kefulake
from tests.bench.scripted_cleaning import Coordinate

PARTS = [
    "kafka", "flink-jobmanager", "flink-taskmanager", "mariadb", "job-keeper", "tiering", "serving-writer",
    "identity-resolver", "backup-shipper",
]  # fmt: skip
REPORT = PROJECT_ROOT / "build" / "reports" / "restore_drill.json"
PASSPHRASE = "a drill's own passphrase"
RPO_BAR_S, RTO_BAR_S = 300, 1800
PLACE = ("topic", "partition", "offset")
WRONG = (
    "damage_unnoticed", "missing", "twice", "unknown", "misplaced", "repetitions_unknown", "witness_missing",
    "earlier_wrong",
)  # fmt: skip
console = Console(highlight=False)


def main(argv: list[str] | None = None) -> int:
    """0 when every drill came back in time, and every message that came back stands once, where it belongs."""
    parser = argparse.ArgumentParser(prog="restore_drill", description=__doc__.splitlines()[0])
    parser.add_argument("--drills", type=int, default=3)
    parser.add_argument("--load-s", type=float, default=90, help="seconds of load before each kill")
    parser.add_argument("--rate", type=int, default=500, help="messages a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--keep", action="store_true", help="leave build/restore_drill in place")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    root = PROJECT_ROOT / "build" / "restore_drill"
    shutil.rmtree(root, ignore_errors=True)
    before = dict(os.environ)
    for name in OVERRIDES:
        os.environ.pop(name, None)
    os.environ[places.PASSPHRASE] = PASSPHRASE
    settings, drills, sent = enter(root / "0" / "home"), [], Sent()
    try:
        lifecycle.up(settings, only=PARTS, extra=None, tell=_quiet)
        kefulake("backup", "init")
        kefulake("deploy", "clean_interactions")
        for number in range(1, args.drills + 1):
            console.print(f"[bold]drill {number}[/]")
            settings, drill = one(settings, root / str(number) / "home", sent, number, args)
            drills.append(drill)
    finally:
        os.environ.pop("KEFULAKE_PORT_BASE", None)  # each home remembers its own
        for home in sorted(root.glob("*/home")):  # the last, or whatever a drill that failed left running
            lifecycle.down(Settings.load(home), _quiet)
        os.environ.clear()
        os.environ |= before
    return told(drills, args.report, root, keep=args.keep)


def enter(home: Path) -> Settings:
    """A home of its own, and every command from here on works in it."""
    return go_on_in(Settings.load(home, ports.free_base(24_000)))


def go_on_in(settings: Settings) -> Settings:
    """Commands from here on work in a home that was entered before."""
    os.environ |= {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    return settings


def one(settings: Settings, target: Path, sent: Sent, number: int, args: argparse.Namespace) -> tuple[Settings, dict]:
    """Load, kill, restore, prove; the settings of what was restored, and the figures."""
    folder, sealed = places.backup_folder(settings), places.keys_folder(settings)
    witness = restore_witness.plant(settings, number)
    await_round(settings)
    rated = rate(settings, sent, f"{args.seed}-{number}", "first", "feedback.clean")
    traffic = PacedTraffic(settings.bootstrap, sent, seed=args.seed * 1000 + number, rate=args.rate)
    traffic.start()
    time.sleep(args.load_s)
    killed_at = time.time()
    kill_everything(settings)
    traffic.stop(1)
    acknowledged = len(sent.at)
    shutil.rmtree(settings.home)
    console.print(f"  {acknowledged:,} messages acknowledged; all killed, home gone")

    restored = enter(target)
    output = kefulake("restore", "--to", "newest", "--from", str(folder), "--keys", str(sealed), "--parts",
                      ",".join(PARTS), timeout_s=RTO_BAR_S + 600)  # fmt: skip
    kefulake("balance", "--final")
    rto_s = time.time() - killed_at  # from the kill on, not from when somebody typed the command
    console.print(output, markup=False)
    gone = restore_witness.missing(restored, witness)
    console.print(f"  beside the messages: {', '.join(gone) or 'everything came back'}")
    earlier = {"earlier_wrong": 0}
    if number == args.drills:
        earlier = to_earlier(folder, sealed, target.with_name("earlier"), killed_at - args.load_s / 3, sent, witness)
        go_on_in(restored)
    unnoticed = backup_damage.unnoticed(folder, sealed, target.with_name("damaged"), number)
    shutil.rmtree(folder)
    back = coordinates(restored, [BRONZE])
    lost = {where for where in sent.at if where not in back}
    rpo_s = max((killed_at - sent.at[where] for where in lost), default=0.0)
    sent.without(lost)
    again = repeat(restored, sent, 200)
    once_more = rate(restored, sent, f"{args.seed}-{number}", "again", "quarantine.duplicates")
    again |= {where: rated[visitor] for visitor, where in once_more.items() if rated[visitor] in sent.at}
    fresh = PacedTraffic(restored.bootstrap, sent, seed=args.seed * 1000 + 500 + number, rate=args.rate)
    for _ in range(4):
        fresh.round(250)
    kefulake("flush")
    kefulake("balance", "--final")
    drill = {"rpo_s": round(rpo_s, 1), "rto_s": round(rto_s, 1), "acknowledged": acknowledged, "lost": len(lost),
             "load_s": args.load_s, "rate": args.rate, "damage_unnoticed": unnoticed,
             "witness_missing": len(gone), **earlier, **verdict(restored, sent, again)}  # fmt: skip
    console.print(drill)
    return restored, drill


def to_earlier(folder: Path, sealed: Path, target: Path, at: float, sent: Sent, witness: Witness) -> dict[str, int]:
    """The same backup restored to a time while the load was on, elsewhere: what was there then, once, and no more."""
    state = manifest.read(folder, until=at)
    restored = enter(target)
    moment = datetime.fromtimestamp(at, UTC).isoformat()
    parts = [part for part in PARTS if part not in ("job-keeper", "backup-shipper")]
    try:
        kefulake("restore", "--to", moment, "--from", str(folder), "--keys", str(sealed), "--parts", ",".join(parts),
                 timeout_s=RTO_BAR_S)  # fmt: skip
        kefulake("balance", "--final")
        there = {where: known_at for where, known_at in sent.at.items() if where[2] < state.ends[_place(where)]}
        covered = state.facts["covers_until"]
        late = [where for where, known_at in sent.at.items() if where not in there and known_at < covered]
        found = verdict(restored, Sent(there, sent.output_of), {})
        gone = restore_witness.missing(restored, witness)
        console.print(f"  to {moment}: {len(there):,} messages, {found}, {len(late)} not in the round, {gone}")
        return {"earlier_messages": len(there), "earlier_wrong": sum(found.values()) + len(late) + len(gone)}
    finally:
        lifecycle.down(restored, _quiet)
        shutil.rmtree(target)


def _place(where: Coordinate) -> str:
    return f"{where[0]}/{where[1]}"


def await_round(settings: Settings, limit_s: float = 120) -> None:
    """Until the shipper has made a whole round of this home."""
    deadline, file = time.monotonic() + limit_s, settings.run / "backup.json"
    while not (file.exists() and json.loads(file.read_text(encoding="utf-8"))["covers_until"]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the shipper made no whole round within {limit_s:.0f} s: {settings.logs}")
        time.sleep(0.5)


def kill_everything(settings: Settings) -> None:
    """kill -9 of the supervisor first, so that nothing is started again, then of everything of this home."""
    found = list(processes.of_home(settings.home))
    for process, _ in sorted(found, key=lambda pair: pair[1] != processes.SUPERVISOR):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs([process for process, _ in found], timeout=20)
    lifecycle.down(settings, _quiet)  # what a dying guard may have left


def coordinates(settings: Settings, names: list[str]) -> Counter[Coordinate]:
    """How often each raw coordinate of the drill's topic stands in these tables."""
    found: Counter[Coordinate] = Counter()
    with duckdb.connect() as connection:
        for name in names:
            path = settings.table_path(name)
            files = lake_tables.files(DeltaTable(path), path) if (path / "_delta_log").exists() else []
            if files:
                rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
                found.update(rows.filter(f"raw_topic = '{TOPIC}'").project(
                    "raw_topic, raw_partition, raw_offset").fetchall())  # fmt: skip
    return found


def verdict(settings: Settings, sent: Sent, again: dict[Coordinate, Coordinate]) -> dict:
    """Every table against what was sent."""
    outputs = {name: coordinates(settings, [name]) for name in ROLE_OF}
    topic_of = {name: contracts.table(name).topics[0] for name in ROLE_OF}
    times: Counter[Coordinate] = sum(outputs.values(), Counter())
    right = {where: outputs[name][where] for name, topic in topic_of.items()
             for where, kind in sent.output_of.items() if kind == topic}  # fmt: skip
    path = settings.table_path("quarantine.duplicates")
    with duckdb.connect() as connection:
        rows = connection.read_parquet(lake_tables.files(DeltaTable(path), path), hive_partitioning=False)
        columns = ", ".join((*(f"raw_{part}" for part in PLACE), *(f"duplicate_of_{part}" for part in PLACE)))
        of = {row[:3]: row[3:] for row in rows.project(columns).fetchall()}
    bronze = coordinates(settings, [BRONZE])
    return {
        "missing": sum(times[where] == 0 for where in sent.at),
        "twice": sum(count > 1 for count in times.values()) + sum(count > 1 for count in bronze.values()),
        "unknown": len(set(times) - set(sent.at)),
        "misplaced": sum(times[where] == 1 and right[where] != 1 for where in sent.at),
        "repeated": len(again),
        "repetitions_unknown": sum(of.get(where) != original for where, original in again.items()),
    }


def told(drills: list[dict], path: Path, root: Path, *, keep: bool) -> int:
    """The table and the report."""
    report = {
        "drills": len(drills),
        "rpo_s_max": max(drill["rpo_s"] for drill in drills),
        "rto_s_max": max(drill["rto_s"] for drill in drills),
        **{name: sum(d[name] for d in drills) for name in WRONG},
        "runs": drills,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    table = Table("figure", *(f"drill {n}" for n in range(1, len(drills) + 1)), title="Restore drill")
    for name in drills[-1]:
        table.add_row(name, *(f"{drill.get(name, 0):,}" for drill in drills))
    console.print(table)
    exact = not any(report[name] for name in WRONG)
    timely = report["rpo_s_max"] <= RPO_BAR_S and report["rto_s_max"] <= RTO_BAR_S
    console.print("[green]exact[/]" if exact else "[red]NOT exact[/]")
    console.print("[green]in time[/]" if timely else "[red]LATE[/]")
    if exact and timely and not keep:
        shutil.rmtree(root, ignore_errors=True)
    return 0 if exact and timely else 1


def _quiet(part: str, doing: str) -> None:
    return None


if __name__ == "__main__":
    sys.exit(main())
