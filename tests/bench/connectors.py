"""A hundred random fault schedules against a real server and a real broker: every record once. connectors.json.

The broker is the stack's own, alone; what arrived is read back from its raw topics and counted by the job's own
event_id. One more schedule goes the whole way: job, lake, balance.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines.io.connector_log import ConnectorLog
from pipelines.simulation.api_faults import random_schedule
from tests.bench.connector_world import RESOURCES, Verdict, World, declared
from tests.bench.connectors_whole_way import whole_way
from tests.bench.report_file import merge
from tests.bench.scratch_stack import scratch_stack

REPORT = PROJECT_ROOT / "build" / "reports" / "connectors.json"
KILLS = 0.05
console = Console()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """--schedules how many, --seed the first, --no-stack and --only-stack leave one half out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-stack", action="store_true", help="leave out the run through job, lake and balance")
    parser.add_argument("--only-stack", action="store_true", help="only that run; the other figures stay as they are")
    return parser.parse_args(argv)


def play(settings: Settings, seed: int, folder: Path) -> Verdict:
    """One schedule of faults, kills and changes against one resource and the broker."""
    name = RESOURCES[seed % len(RESOURCES)]
    connectors = declared(seed, name, "link" if name == "orders" else None)
    topic = next(iter(connectors.resources.values())).topic
    log = ConnectorLog(settings.bootstrap, topic, settings.table_path("bronze.raw_events"))
    return World(random_schedule(seed), connectors, log, folder, kills=KILLS).play()


def all_schedules(settings: Settings, seeds: range) -> Iterator[tuple[int, Verdict]]:
    """Verdicts by seed, as they come."""
    folder = settings.home / "positions"
    with Progress(console=console) as progress:
        for seed in progress.track(seeds, description="fault schedules"):
            try:
                yield seed, play(settings, seed, folder)
            except AssertionError as stuck:  # a schedule without a good end has lost what it did not bring
                yield seed, Verdict(lost=[str(stuck)])


def figures(verdicts: dict[int, Verdict], seconds: float) -> dict[str, Any]:
    """The sums: ``twice`` and ``lost`` are records, ``kinds`` how often each fault was met."""
    kinds: Counter[str] = Counter()
    for verdict in verdicts.values():
        kinds.update(verdict.faults)
    sums = {name: sum(asdict(one)[name] for one in verdicts.values()) for name in _SUMMED}
    found = {name: sum(len(getattr(one, name)) for one in verdicts.values()) for name in ("lost", "twice", "strange")}
    broken = {str(seed): asdict(one) for seed, one in verdicts.items() if one.lost or one.twice or one.strange}
    faults = {"faults": sum(kinds.values()), "kinds": dict(kinds.most_common())}
    return {"schedules": len(verdicts)} | sums | found | faults | {"seconds": round(seconds, 1), "broken": broken}


_SUMMED = ("records", "revisions", "rejected", "runs", "failed_runs", "kills", "rebuilds", "unproven")


def report(found: dict[str, Any]) -> None:
    """The table of what was measured."""
    table = Table("what", "number", title="Connectors under fault schedules")
    for name, value in found.items():
        if isinstance(value, dict) and name in ("kinds", "whole_way"):
            for key, count in value.items():
                table.add_row(f"  {name}: {key}", f"{count:,}" if isinstance(count, int) else str(count))
        elif name != "broken":
            table.add_row(name, f"{value:,}")
    console.print(table)
    for seed, verdict in found.get("broken", {}).items():
        console.print(f"[red]schedule {seed}[/red]: {verdict}")


def main(argv: list[str] | None = None) -> None:
    """Exit 1 when a record was lost, came twice, or nobody knows where it came from."""
    args = parse_args(argv)
    if not args.only_stack:
        began = time.monotonic()
        with scratch_stack("bench-connectors", only=["kafka"]) as settings:
            seeds = range(args.seed, args.seed + args.schedules)
            merge(REPORT, figures(dict(all_schedules(settings, seeds)), time.monotonic() - began))
    if not args.no_stack:
        merge(REPORT, {"whole_way": whole_way()})
    found = merge(REPORT, {})
    report(found)
    console.print(f"report: {REPORT.relative_to(PROJECT_ROOT)}")
    through = found.get("whole_way", {})
    wrong = [found.get(name) for name in ("lost", "twice", "strange")]
    wrong += [through.get(name) for name in ("lost", "twice", "silver_wrong")]
    sys.exit(1 if any(wrong) or through.get("balance", "closed") != "closed" else 0)


if __name__ == "__main__":
    main()
