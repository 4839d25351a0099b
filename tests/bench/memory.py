"""Resident memory of the whole stack: idle, at a steady rate, flat out, and idle again; memory.json, by part.

RSS counts a page that several processes share in each of them, PSS divides it among them: their sum is what the machine
really holds. The limits (idle 4 GB, under load 8 GB) are held against RSS, the larger of the two. What stays after the
load is shown without a limit: allocators and JVMs keep what they once had.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from infra.stack.settings import PROJECT_ROOT, Settings
from tests.bench import all_on, bench_report
from tests.bench.bench_stack import BenchStack, StepFailed
from tests.bench.core_seconds import stack_processes

EVERY_S = 2.0
LIMIT_MB = {"idle": 4_000, "steady": 8_000, "flat out": 8_000}
Sample = dict[str, tuple[float, float]]  # part → (RSS, PSS), MB of 10^6 bytes
console = Console(width=None if sys.stdout.isatty() else 120)


def sample(settings: Settings) -> Sample:
    """What every part holds now, with all it started."""
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for process, part in stack_processes(settings):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            found[part][0] += memory.rss / 1e6
            found[part][1] += memory.pss / 1e6
    return {part: (rss, pss) for part, (rss, pss) in found.items()}


class Phase(threading.Thread):
    """Samples while something goes on; `with` begins and ends it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="memory", daemon=True)
        self._settings, self._over = settings, threading.Event()
        self.samples: list[Sample] = []

    def __enter__(self) -> Phase:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(30)

    def run(self) -> None:
        """A sample at once, and then one every two seconds."""
        while True:
            self.samples.append(sample(self._settings))
            if self._over.wait(EVERY_S):
                return


def summary(samples: list[Sample]) -> dict:
    """The moment at which all parts together held most.

    >>> told = summary([{"kafka": (10.0, 9.0), "tiering": (5.0, 2.0)}, {"kafka": (11.0, 9.5)}])
    >>> told["rss_mb"], told["pss_mb"], told["samples"], told["parts"]["tiering"]
    (15, 11, 2, {'rss_mb': 5, 'pss_mb': 2})
    """
    most = max(samples, key=lambda parts: sum(rss for rss, _ in parts.values()))
    parts = sorted(most.items(), key=lambda pair: -pair[1][0])
    return {
        "rss_mb": round(sum(rss for rss, _ in most.values())),
        "pss_mb": round(sum(pss for _, pss in most.values())),
        "samples": len(samples),
        "parts": {part: {"rss_mb": round(rss), "pss_mb": round(pss)} for part, (rss, pss) in parts},
    }  # fmt: skip


def measure(stack: BenchStack, *, rate: int, seconds: int, events: int) -> dict[str, dict]:
    """All phases, one after the other, on one stack."""
    phases = {}
    for name, during in (
        ("idle", lambda: threading.Event().wait(seconds)),
        ("steady", lambda: simulate(stack, "--rate", str(rate), "--seconds", str(seconds))),
        ("flat out", lambda: simulate(stack, "--events", str(events), "--seed", "9")),
        ("idle after", lambda: threading.Event().wait(seconds)),
    ):
        with Phase(stack.settings) as phase:
            during()
        phases[name] = summary(phase.samples)
        console.print(f"  {name}: {phases[name]['rss_mb']:,} MB resident, {phases[name]['pss_mb']:,} MB of the machine")
    return phases


def simulate(stack: BenchStack, *options: str) -> None:
    """Traffic of all channels by the product's own command, until every message stands in a table."""
    command = [sys.executable, "-m", "jobs.cli", "simulate", *options]
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=stack.environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise StepFailed(f"kefulake simulate: {(done.stderr or done.stdout).strip()[-600:]}")
    all_on.drain(stack)


def show(phases: dict[str, dict]) -> None:
    """A column a phase, a line a part."""
    table = Table(title="Memory at the fullest moment: resident (share of the machine), MB", header_style="bold")
    table.add_column("part")
    for name in phases:
        table.add_column(name, justify="right")
    for part in phases["steady"]["parts"]:
        held = [phase["parts"].get(part) for phase in phases.values()]
        table.add_row(part, *(f"{h['rss_mb']:,} ({h['pss_mb']:,})" if h else "" for h in held))
    table.add_section()
    table.add_row("all", *(f"{phase['rss_mb']:,} ({phase['pss_mb']:,})" for phase in phases.values()))
    table.add_row("limit", *(f"{LIMIT_MB[name]:,}" if name in LIMIT_MB else "" for name in phases))
    console.print(table)


def main(argv: list[str] | None = None) -> int:
    """0 when every phase stays below its limit."""
    parser = argparse.ArgumentParser(prog="memory", description=__doc__)
    parser.add_argument("--rate", type=int, default=2_000, help="events a second of the steady phase")
    parser.add_argument("--seconds", type=int, default=60, help="of the steady phase and both idle ones")
    parser.add_argument("--events", type=int, default=500_000, help="of the phase that goes flat out")
    parser.add_argument("--report", type=Path, default=PROJECT_ROOT / "build" / "reports" / "memory.json")
    args = parser.parse_args(argv)
    home = Path(tempfile.mkdtemp(prefix="kefulake-memory-")) / "home"
    with BenchStack(home) as stack:
        stack.up()
        stack.deploy()
        phases = measure(stack, rate=args.rate, seconds=args.seconds, events=args.events)
    home.parent.rmdir()
    asked = {"rate_per_s": args.rate, "seconds": args.seconds, "events_flat_out": args.events}
    report = {"phases": phases, "limit_mb": LIMIT_MB, "asked": asked, "machine": bench_report.machine()}
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(phases)
    over = [name for name, limit in LIMIT_MB.items() if phases[name]["rss_mb"] > limit]
    for name in over:
        console.print(f"[red]{name}: above {LIMIT_MB[name]:,} MB[/]")
    console.print(f"report: {args.report}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
