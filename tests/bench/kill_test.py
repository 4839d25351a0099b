"""Nothing lost, nothing twice: ``kill -9`` at random over the parts, while events flow and files are rearranged.

``python -m tests.bench.kill_test --events 1000000 --kills 20 --scope tiering`` runs broker and tiering service and, for
the second half, a second tiering service on the same tables; ``--scope full`` adds Flink, serving writer and MariaDB.
The test only kills: the product's own supervisor heals. Writes build/reports/kill_test.json and prints a certificate.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack import lifecycle, supervisor
from infra.stack.settings import PROJECT_ROOT, Settings

REPORT = PROJECT_ROOT / "build" / "reports" / "kill_test.json"
SCOPES = {"tiering": ["kafka", "tiering"]}
ROUND_ROWS = 5_000
TRICKLE_ROWS = 100
RAW_TOPICS = ("raw.web_chat", "raw.app", "raw.phone", "raw.wechat")
RECOVERY_LIMIT_S = 120
DRAIN_LIMIT_S = 600
console = Console()


@dataclass
class Kill:
    """One kill. recover_s: until the part ran again and its flow had moved on; None: not within the limit."""

    part: str
    at_s: float
    recover_s: float | None = None


@dataclass
class Second:
    """A second tiering service on the same tables, started anew whenever it dies: a supervisor of another host."""

    settings: Settings
    process: subprocess.Popen | None = None
    wanted: threading.Event = field(default_factory=threading.Event)

    def keep_running(self) -> None:
        """Call often; starts it when it should run and doesn't."""
        if self.wanted.is_set() and (self.process is None or self.process.poll() is not None):
            log = open(self.settings.logs / "tiering-second.out", "ab")  # noqa: SIM115 - lives as long as the process
            status = ["--status-file", str(self.settings.run / "tiering-second.json")]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobs.services.tiering", *status], cwd=PROJECT_ROOT, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Ends it for good."""
        self.wanted.clear()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


def busy_policies(folder: Path) -> Path:
    """A copy of ``schemas/`` in which rearranging never rests, so that kills meet it."""
    shutil.copytree(PROJECT_ROOT / "schemas", folder)
    path = folder / "policies" / "tiering.yaml"
    policy = yaml.safe_load(path.read_text(encoding="utf-8"))
    policy["batch"] |= {"commit_interval_s": 1.0}
    policy["upkeep"] |= {"every_s": 1, "compact_at_files": 4, "checkpoint_every_commits": 10, "vacuum_every_s": 5}
    policy["upkeep"] |= {"vacuum_retention_hours": 1}
    policy |= {"rest_after_lost_race_s": [0.1, 1.5]}
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    return folder


def pid_of(settings: Settings, part: str) -> int:
    """The pid the supervisor has for a part; 0 when it is not running."""
    info = supervisor.states(settings).get(part, {})
    return info["pid"] if info.get("statename") == "RUNNING" else 0


def progress(settings: Settings) -> int:
    """Grows with every commit to bronze and silver."""
    versions = 0
    for table in ("bronze.raw_events", "silver.interactions"):
        path = settings.table_path(table) / "_delta_log"
        versions += max((int(p.stem) for p in path.glob("0*.json")), default=0)
    return versions


def kill_one(settings: Settings, part: str, second: Second) -> bool:
    """``kill -9`` and nothing else; False when there was nothing to kill."""
    pid = second.process.pid if part == "tiering-second" and second.process else pid_of(settings, part)
    if not pid or not psutil.pid_exists(pid):
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def await_recovery(settings: Settings, kill: Kill, old_pid: int, began: float, moved_from: int) -> None:
    """Waits until the part has a new pid and both tables' histories moved on after it came back."""
    while time.monotonic() - began < RECOVERY_LIMIT_S:
        if kill.part == "tiering-second" or pid_of(settings, kill.part) not in (0, old_pid):
            moved = progress(settings)
            if moved > moved_from + 1:
                kill.recover_s = round(time.monotonic() - began, 1)
                return
        time.sleep(0.2)


class Killer(threading.Thread):
    """Kills the parts in random order, spread over the events."""

    def __init__(self, settings: Settings, parts: list[str], kills: int, seed: int, share_done, second: Second):
        super().__init__(name="killer")
        self._settings, self._parts, self._count, self._second = settings, parts, kills, second
        self._random, self._share_done = random.Random(seed), share_done
        self.kills: list[Kill] = []
        self._began = time.monotonic()

    def run(self) -> None:
        """One kill after another: each waits for its share of the events, then a random moment, then for recovery."""
        for number in range(self._count):
            if number >= self._count // 2:
                self._second.wanted.set()
            while self._share_done() < number / (self._count + 1):
                self._second.keep_running()
                time.sleep(0.1)
            time.sleep(self._random.uniform(0, 3))
            self._kill_random_part()
        self._second.keep_running()

    def _kill_random_part(self) -> None:
        parts = [*self._parts, *(["tiering-second"] if self._second.wanted.is_set() else [])]
        part = self._random.choices(parts, [3 if p.startswith("tiering") else 1 for p in parts])[0]
        old_pid, moved_from, began = pid_of(self._settings, part), progress(self._settings), time.monotonic()
        while not kill_one(self._settings, part, self._second):
            self._second.keep_running()
            time.sleep(0.2)
        kill = Kill(part, round(began - self._began, 1))
        self.kills.append(kill)
        self._second.keep_running()
        await_recovery(self._settings, kill, old_pid, began, moved_from)
        console.print(f"  {kill.at_s:7.1f} s  kill -9 {part:18} back and flowing after {kill.recover_s} s")


def drained(settings: Settings) -> bool:
    """True when the service says of every table that nothing is left to read."""
    path = settings.run / "tiering.json"
    status = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"tables": {}, "written_at": ""}
    fresh = path.exists() and time.time() - path.stat().st_mtime < 5
    tables = status["tables"].values()
    return bool(
        fresh and tables and all(t["state"] == "running" and not t["lag_total"] and t["caught_up_at"] for t in tables)
    )


def run_tiering(settings: Settings, events: int, kills: int, seed: int) -> dict:
    """Broker and tiering service; what a cleaning job would write is scripted, with aborted transactions among it."""
    from tests.bench.lake_truth import compare
    from tests.bench.scripted_cleaning import Traffic

    traffic, sent = Traffic(settings.bootstrap, RAW_TOPICS, seed=seed), 0
    second = Second(settings)
    killer = Killer(settings, SCOPES["tiering"], kills, seed, lambda: min(1, sent / events), second)
    began = time.monotonic()
    killer.start()
    while sent < events or killer.is_alive():
        ahead = killer.is_alive() and sent >= events * (len(killer.kills) + 1) / (kills + 1)
        rows = TRICKLE_ROWS if ahead else min(ROUND_ROWS, events - sent)
        traffic.round(rows)
        sent += rows
        if ahead:
            time.sleep(0.2)  # events go on flowing at a walk until the next kill
        elif sent % 100_000 < ROUND_ROWS:
            console.print(f"  {time.monotonic() - began:7.1f} s  {sent:,} events sent")
    killer.join()
    truth = traffic.close()
    await_drained(settings)
    second.stop()
    verdict = compare(settings, truth.output_of)
    return certificate(settings, sent, killer.kills, verdict, time.monotonic() - began, truth.aborted)


def await_drained(settings: Settings) -> None:
    """Raises TimeoutError when a table does not catch up."""
    deadline, quiet = time.monotonic() + DRAIN_LIMIT_S, 0
    while quiet < 3:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not drained within {DRAIN_LIMIT_S} s; see {settings.run / 'tiering.json'}")
        quiet = quiet + 1 if drained(settings) else 0
        time.sleep(1)


def certificate(settings: Settings, events: int, kills: list[Kill], verdict, took_s: float, aborted: int) -> dict:
    """Prints the certificate and gives the report."""
    recoveries = [kill.recover_s for kill in kills]
    report = {
        "events": events,
        "kills": len(kills),
        "lost": verdict.lost + verdict.bronze_lost,
        "twice": verdict.twice + verdict.bronze_twice,
        "recover_s_max": None if None in recoveries else max(recoveries, default=0),
        "misplaced": verdict.misplaced,
        "unknown": verdict.unknown,
        "aborted_records": aborted,
        "kills_by_part": {part: sum(k.part == part for k in kills) for part in sorted({k.part for k in kills})},
        "rows": verdict.rows,
        "versions": {t: DeltaTable(settings.table_path(t)).version() for t in verdict.rows if verdict.rows[t]},
        "took_s": round(took_s, 1),
    }
    table = Table(title="Nothing lost, nothing twice", header_style="bold")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in report.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
    return report


def main(argv: list[str] | None = None) -> int:
    """0 when the lake equals the truth and every part came back in time."""
    parser = argparse.ArgumentParser(prog="kill_test", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--scope", choices=sorted(SCOPES), default="tiering")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--home", type=Path, help="default: a new temporary folder, removed when all went well")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    home = args.home or Path(tempfile.mkdtemp(prefix="kefulake-kill-"))
    os.environ["KEFULAKE_HOME"] = str(home)
    os.environ["KEFULAKE_SCHEMAS"] = str(busy_policies(home / "schemas"))
    settings = Settings.load()
    console.print(f"seed {args.seed}, home {home}, parts {', '.join(SCOPES[args.scope])}")
    try:
        lifecycle.up(settings, only=SCOPES[args.scope], extra=None, tell=lambda *_: None)
        report = run_tiering(settings, args.events, args.kills, args.seed) | {"scope": args.scope, "seed": args.seed}
    finally:
        lifecycle.down(settings, lambda *_: None)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    exact = not any(report[name] for name in ("lost", "twice", "misplaced", "unknown"))
    timely = report["recover_s_max"] is not None and report["recover_s_max"] <= RECOVERY_LIMIT_S
    if exact and timely and args.home is None:
        shutil.rmtree(home)
    console.print(
        "[green]exact[/]" if exact and timely else f"[red]NOT exact or too slow; everything is kept in {home}[/]"
    )
    return 0 if exact and timely else 1


if __name__ == "__main__":
    sys.exit(main())
