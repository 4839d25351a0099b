"""Measures Kefulake on this machine and writes build/reports/bench.json.

throughput  the whole way into Delta, a tuned Spark peer with the same rules and a bare consume-append loop, one after
            the other on the same raw topics; once flat JSON, once the mix of all channels
latency     at a steady 9,300 events/s: raw record → clean record read, and → visible in silver
burst       one minute at 15 times that rate, then nothing may be lost
all-on      every part of the stack: the highest steady rate that leaves no growing lag
gateway     the HTTP door alone

Every step has a fresh stack of its own. A step that fails is told, stays null, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from infra.stack.settings import PROJECT_ROOT
from tests.bench import all_on, bench_report, load_pool, steady, throughput
from tests.bench.bench_stack import BenchStack, StepFailed

REPORT = PROJECT_ROOT / "build" / "reports" / "bench.json"
STEPS = ("throughput", "latency", "burst", "all-on", "gateway")
console = Console()
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Durations in seconds, rates in events per second."""

    events: int = 1_000_000
    pool: int = 200_000
    warm_s: float = 240  # until the compilers are done and what the start left behind is worked off
    steady_s: float = 75
    burst_s: float = 60
    all_on_steps: int = 5
    all_on_step_s: float = 60
    per_s: float = steady.STEADY_PER_S


QUICK = Sizes(events=60_000, pool=20_000, warm_s=10, steady_s=15, burst_s=5, all_on_steps=2, all_on_step_s=36)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Command line of the bench."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, help=f"messages of a throughput run (default {Sizes.events:,})")
    parser.add_argument("--rate", type=float, help=f"steady events a second (default {Sizes.per_s:,})")
    parser.add_argument("--quick", action="store_true", help="a smoke of some minutes: small figures, not to be quoted")
    parser.add_argument("--only", choices=STEPS, action="append", help="this step; may be given more than once")
    parser.add_argument("--mix", choices=sorted(load_pool.MIXES), action="append", help="only this traffic")
    parser.add_argument("--home", type=Path, help="folder of the bench's stacks (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="keep each step's stack folder: logs and tables")
    parser.add_argument("--report", type=Path, default=REPORT)
    return parser.parse_args(argv)


class Bench:
    """One run: pools, steps, what failed."""

    def __init__(self, home: Path, sizes: Sizes, mixes: list[str], *, keep: bool):
        self._home, self._sizes, self._mixes, self._keep = home, sizes, mixes, keep
        self.failures: list[str] = []
        self.steps: dict[str, dict | None] = {}
        self.data: dict[str, object] = {"source": "simulated, pipelines/simulation", "seed": load_pool.SEED}

    def prepare(self) -> None:
        """The messages, encoded before any clock runs."""
        for mix in self._mixes:
            self.data[mix] = load_pool.make(self._pool(mix), mix, self._sizes.pool)
            console.print(f"{mix}: {self.data[mix]}")

    def _pool(self, mix: str) -> Path:
        return self._home / f"{mix}.pool"

    def _worst_pool(self) -> Path:
        return self._pool("mix" if "mix" in self._mixes else self._mixes[-1])

    def _try(self, name: str, measure: Callable[[], dict]) -> dict | None:
        console.rule(name)
        began = time.monotonic()
        try:
            found = measure()
        except Exception as failure:  # whatever it was: the other steps still have something to measure
            log.info("%s failed", name, exc_info=True)
            self.failures.append(f"{name}: {type(failure).__name__}: {failure}")
            console.print(f"[red]{name} failed after {time.monotonic() - began:.0f} s: {failure}[/]")
            return None
        self.failures += found.get("failures", [])
        console.print(f"{name}: {time.monotonic() - began:.0f} s")
        return found

    def throughput(self) -> None:
        """Side by side, for each mix."""
        self.steps["throughput"] = {
            mix: self._try(
                f"throughput {mix}",
                lambda mix=mix: throughput.run(
                    self._home / f"throughput-{mix}", self._pool(mix), mix, self._sizes.events, console.print,
                    keep=self._keep,
                ),
            )
            for mix in self._mixes
        }  # fmt: skip

    def latency(self) -> None:
        """At a steady rate, for each mix."""
        size = self._sizes
        self.steps["latency"] = {
            mix: self._try(
                f"latency {mix}",
                lambda mix=mix: steady.latency(
                    self._home / f"latency-{mix}", self._pool(mix), size.per_s, size.warm_s, size.steady_s,
                    keep=self._keep,
                ),
            )
            for mix in self._mixes
        }  # fmt: skip

    def burst(self) -> None:
        """Fifteen times the steady rate."""
        pool, size = self._worst_pool(), self._sizes
        self.steps["burst"] = self._try(
            "burst", lambda: steady.burst(self._home / "burst", pool, size.per_s, size.burst_s, keep=self._keep)
        )

    def all_on(self) -> None:
        """Every part."""
        pool, size = self._worst_pool(), self._sizes
        self.steps["all_on"] = self._try(
            "all on",
            lambda: all_on.highest_rate(
                self._home / "all-on", pool, size.per_s / 2, size.all_on_steps, size.all_on_step_s, console.print,
                keep=self._keep,
            ),
        )  # fmt: skip

    def gateway(self) -> None:
        """The door alone, by its own bench."""

        def measure() -> dict:
            with BenchStack(self._home / "gateway", keep=self._keep) as stack:
                stack.up("kafka")
                command = [sys.executable, "-m", "tests.bench.gateway_bench"]
                if self._sizes is QUICK:
                    command += ["--seconds", "5", "--batches", "30"]
                done = subprocess.run(
                    command, cwd=PROJECT_ROOT, env=stack.environment, capture_output=True, text=True, timeout=300,
                    check=False,
                )  # fmt: skip
                if done.returncode:
                    raise StepFailed(f"gateway_bench: {done.stderr.strip()[-600:]}")
                return json.loads(done.stdout[done.stdout.index("{") :])

        self.steps["gateway"] = self._try("gateway", measure)


def main(argv: list[str] | None = None) -> int:
    """0 when every step gave its figures."""
    args = parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    base = QUICK if args.quick else Sizes()
    given = {"events": args.events, "per_s": args.rate}
    sizes = Sizes(**(base.__dict__ | {k: v for k, v in given.items() if v})) if any(given.values()) else base
    home = args.home or Path(tempfile.mkdtemp(prefix="kefulake-bench-"))
    bench = Bench(home.resolve(), sizes, args.mix or list(load_pool.MIXES), keep=args.keep)
    bench.prepare()
    for step in args.only or STEPS:
        getattr(bench, step.replace("-", "_"))()
    command = shlex.join(["python", "-m", "tests.bench.bench", *(argv if argv is not None else sys.argv[1:])])
    report = bench_report.assemble(bench.steps, bench.data | {"sizes": sizes.__dict__}, command)
    report |= {"quick": args.quick, "failures": bench.failures}
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    bench_report.show(report, console)
    for failure in bench.failures:
        console.print(f"[red]failed: {failure}[/]")
    if args.home is None and not args.keep and not bench.failures:
        shutil.rmtree(home, ignore_errors=True)
    console.print(f"report: {args.report}" + (f"; what failed is kept in {home}" if bench.failures else ""))
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
