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
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack import lifecycle
from infra.stack.settings import PROJECT_ROOT, Settings
from tests.bench.kill_flow import await_served, await_status, moved, pid_of, served_keys

REPORT = PROJECT_ROOT / "build" / "reports" / "kill_test.json"
SCOPES = {
    "tiering": ["kafka", "tiering"],
    "full": ["kafka", "flink-jobmanager", "flink-taskmanager", "mariadb", "tiering", "serving-writer"],
}
# Run beside them, but the list of victims does not name them.
ALSO = {"tiering": [], "full": ["job-keeper", "balance"]}
ROUND_ROWS = 5_000
TRICKLE_ROWS = 100
RAW_TOPICS = ("raw.web_chat", "raw.app", "raw.phone", "raw.wechat")
RECOVERY_LIMIT_S = 120
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


def kill_one(settings: Settings, part: str, second: Second) -> bool:
    """``kill -9`` and nothing else; False when there was nothing to kill."""
    pid = second.process.pid if part == "tiering-second" and second.process else pid_of(settings, part)
    if not pid or not psutil.pid_exists(pid):
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def await_recovery(settings: Settings, kill: Kill, old_pid: int, began: float) -> None:
    """Waits until the part has a new pid and what flows through it moved on after that."""
    base = -1
    while time.monotonic() - began < RECOVERY_LIMIT_S:
        back = kill.part == "tiering-second" or pid_of(settings, kill.part) not in (0, old_pid)
        now = moved(settings, kill.part) if back else -1
        if base >= 0 and now > base + 1:
            kill.recover_s = round(time.monotonic() - began, 1)
            return
        base = now if base < 0 else base
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
        old_pid, began = pid_of(self._settings, part), time.monotonic()
        while not kill_one(self._settings, part, self._second):
            self._second.keep_running()
            time.sleep(0.2)
        kill = Kill(part, round(began - self._began, 1))
        self.kills.append(kill)
        self._second.keep_running()
        await_recovery(self._settings, kill, old_pid, began)
        console.print(f"  {kill.at_s:7.1f} s  kill -9 {part:18} back and flowing after {kill.recover_s} s")


def run(settings: Settings, scope: str, events: int, kills: int, seed: int) -> dict:
    """Traffic, kills, draining, and the comparison with the truth."""
    from tests.bench.lake_truth import compare

    traffic, sent = traffic_of(settings, scope, seed), 0
    second = Second(settings)
    killer = Killer(settings, SCOPES[scope], kills, seed, lambda: min(1, sent / events), second)
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
    second.stop()
    console.print(f"  {time.monotonic() - began:7.1f} s  all sent, all killed; waiting until all is in its place")
    if scope == "full":
        await_served(settings, truth)
    await_status(settings)
    verdict = compare(settings, truth.output_of)
    report = certificate(settings, sent, killer.kills, verdict, time.monotonic() - began, truth.aborted)
    return report | (compare_served(settings, truth) if scope == "full" else {})


def traffic_of(settings: Settings, scope: str, seed: int):
    """What a cleaning job would write, scripted, with aborted transactions among it; or raw chat for the real job."""
    from tests.bench.chat_traffic import ChatTraffic
    from tests.bench.scripted_cleaning import Traffic

    if scope == "full":
        return ChatTraffic(settings.bootstrap, seed=seed)
    return Traffic(settings.bootstrap, RAW_TOPICS, seed=seed)


def compare_served(settings: Settings, truth) -> dict:
    """MariaDB against the truth: rows lost, twice, and rows nobody sent."""
    found = Counter(served_keys(settings))
    kept = {where for where, output in truth.output_of.items() if output == "interactions.clean"}
    told = {
        "served_lost": len(kept - set(found)),
        "served_twice": sum(times > 1 for times in found.values()),
        "served_unknown": len(set(found) - kept),
    }
    console.print(told)
    return told


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
        "recover_s": sorted(seconds for seconds in recoveries if seconds is not None),
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


def deploy_job() -> None:
    """As a person would. Raises CalledProcessError."""
    kefulake = Path(sys.executable).parent / "kefulake"
    subprocess.run([kefulake, "deploy", "clean_interactions"], cwd=PROJECT_ROOT, check=True)


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
        lifecycle.up(settings, only=[*SCOPES[args.scope], *ALSO[args.scope]], extra=None, tell=lambda *_: None)
        if args.scope == "full":
            deploy_job()
        report = run(settings, args.scope, args.events, args.kills, args.seed)
        report |= {"scope": args.scope, "seed": args.seed}
    finally:
        lifecycle.down(settings, lambda *_: None)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    wrong = ("lost", "twice", "misplaced", "unknown", "served_lost", "served_twice", "served_unknown")
    exact = not any(report.get(name) for name in wrong)
    timely = report["recover_s_max"] is not None and report["recover_s_max"] <= RECOVERY_LIMIT_S
    if exact and timely and args.home is None:
        shutil.rmtree(home)
    console.print(
        "[green]exact[/]" if exact and timely else f"[red]NOT exact or too slow; everything is kept in {home}[/]"
    )
    return 0 if exact and timely else 1


if __name__ == "__main__":
    sys.exit(main())
