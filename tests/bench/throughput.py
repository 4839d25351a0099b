"""Throughput side by side: the limit, the peer and the whole way on the same raw topics of the same broker, in turn,
twice."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from infra.stack.settings import PROJECT_ROOT
from tests.bench import lake_facts, rounds, whole_way
from tests.bench.bench_stack import BenchStack, StepFailed
from tests.bench.core_seconds import Sampler, tree
from tests.bench.figures import rate
from tests.bench.load import Load

Tell = Callable[[str], None]
# Best of three: small batches pay the cost of a commit often, large ones wait for their slowest task.
TRIGGER_SHARES = (0.125, 0.25, 0.5)
PEER_LIMIT_S = 120.0
PEER_SLOWEST_PER_S = 1000


def run(home: Path, pool: Path, mix: str, events: int, tell: Tell, *, keep: bool = False) -> dict:
    """All three for one mix, in two rounds. What fails is told and null, and listed in ``failures``; the others go on.

    The machine's speed changes from one quarter of an hour to the next, and the sides run minutes apart: each has its
    turn in both rounds, on a broker and folders of its own. The second round takes the trigger size that won the first.
    """
    first = _round(home / "round-1", pool, mix, events, tell, lambda stack: best_of_three(stack, events, tell), keep)
    rows = (first["spark"] or {}).get("rows_per_trigger", int(events * TRIGGER_SHARES[-1]))
    second = _round(home / "round-2", pool, mix, events, tell, lambda stack: spark_peer(stack, events, rows), keep)
    figures = rounds.together([first, second]) | {"events": events}
    told = {name: (figures[name] or {}).get("duplicates") for name in ("spark", "whole_way")}
    tell(f"{mix}: duplicates by rule: Spark {told['spark']}, whole way {told['whole_way']}")
    return figures


def _round(
    home: Path, pool: Path, mix: str, events: int, tell: Tell, peer: Callable[[BenchStack], dict], keep: bool
) -> dict:
    """Each side once."""
    figures: dict = {"failures": []}
    with BenchStack(home, keep=keep) as stack:
        stack.up("kafka")
        filled = Load(stack.settings.bootstrap, pool, 0, events=events).report(timeout_s=60 + events / 5000)
        tell(f"{mix}: {filled['sent']:,} messages in the raw topics, {filled['per_s']:,}/s")
        sides = {
            "limit": lambda: append_loop(stack, mix, events),
            "spark": lambda: peer(stack),
            "whole_way": lambda: whole_way_rate(stack, events),
        }
        for name, side in sides.items():
            figures[name] = None
            try:
                figures[name] = side()
                tell(f"{mix}: {name} {figures[name]['events_per_s']:,} events/s")
            except Exception as failure:  # the other sides still have something to measure
                figures["failures"].append(f"{mix} {name}: {failure}")
                tell(f"[red]{mix}: {name} failed: {failure}[/]")
    return figures


def _measured_process(
    command: list[str],
    stack: BenchStack,
    environment: dict[str, str],
    limit_s: float,
    log: Path,
    name_of: Callable[[psutil.Process], str],
) -> tuple[dict, Sampler]:
    """Runs a side in a process of its own to its end or its limit; its last line (JSON) and its samples."""
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        root = psutil.Process(process.pid)
        with Sampler(lambda: [*tree(root, name_of), *_broker(stack)]) as sampler:
            try:
                told, _ = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired as slow:
                raise StepFailed(f"{command[0]} was not through after {limit_s:.0f} s and was stopped") from slow
            finally:
                _end(root)
                process.wait(20)
    if process.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:])
        raise StepFailed(f"{command[0]} ended with code {process.returncode}: {tail}")
    return json.loads(told.strip().splitlines()[-1]), sampler


def _end(root: psutil.Process) -> None:
    """Kills what is left of a side; nothing when it ended by itself."""
    left = [process for process, _ in tree(root, lambda _: "")]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)


def _broker(stack: BenchStack):
    from infra.stack import processes

    pid = int(processes.pid_file(stack.settings.home, "kafka").read_text(encoding="utf-8"))
    yield psutil.Process(pid), "broker"


def whole_way_rate(stack: BenchStack, events: int) -> dict:
    """(a): ours, with what it called a duplicate, to be held against the peer's."""
    figures = whole_way.run(stack, events)
    return figures | {"duplicates": lake_facts.duplicates_by_rule(stack.lake)}


def append_loop(stack: BenchStack, mix: str, events: int) -> dict:
    """(c): the bare loop."""
    command = ["tests.bench.append_loop", "--bootstrap", stack.settings.bootstrap, "--events", str(events)]
    command += ["--target", str(stack.settings.home / "append"), *(["--parse"] if mix == "flat" else [])]
    told, sampler = _measured_process(
        command, stack, stack.environment, 120 + events / 5000, stack.settings.home / "append.log", lambda _: "loop"
    )
    return told | {"peak_memory_mb": sampler.peak_memory_mb}


def best_of_three(stack: BenchStack, events: int, tell: Tell) -> dict:
    """(b): the fastest of the peer's trigger sizes, with what the others gave."""
    tried: list[dict] = []
    failures: list[str] = []
    for share in TRIGGER_SHARES:
        try:
            tried.append(spark_peer(stack, events, max(1000, int(events * share))))
            tell(f"  Spark, {tried[-1]['rows_per_trigger']:,} rows a trigger: {tried[-1]['events_per_s']:,} events/s")
        except Exception as failure:  # one size that fails does not take the others along
            failures.append(str(failure))
            tell(f"  [red]Spark with {share:.0%} of the rows a trigger failed: {failure}[/]")
    if not tried:
        raise StepFailed("; ".join(failures))
    best = max(tried, key=lambda one: one["events_per_s"])
    speeds = {one["rows_per_trigger"]: one["events_per_s"] for one in tried}
    return best | {"tried": speeds, "failures": failures}


def spark_peer(stack: BenchStack, events: int, rows_per_trigger: int) -> dict:
    """(b) with one trigger size; the clock runs from the first judged batch to the last row in Delta, as for us."""
    lake = stack.settings.home / f"spark-{rows_per_trigger}"
    lake.mkdir()
    command = ["tests.bench.spark_peer", "--rows-per-trigger", str(rows_per_trigger), "--lake", str(lake)]
    began = time.monotonic()
    _, sampler = _measured_process(
        command,
        stack,
        stack.environment | {"PYTHONPATH": str(PROJECT_ROOT)},  # for Spark's Python workers
        PEER_LIMIT_S + events / PEER_SLOWEST_PER_S,
        lake / "spark.log",
        _spark_part,
    )
    wall_s = time.monotonic() - began
    tables = [lake_facts.BRONZE, *lake_facts.OUTPUTS]
    began_at, ended_at = lake_facts.first_judged_at(lake), lake_facts.last_commit_at(lake, tables)
    rows = {name: lake_facts.rows(lake, name) for name in tables}
    balance = lake_facts.balance(lake)
    if not balance.closes(events):
        raise StepFailed(f"the peer's balance does not close: {events:,} sent, {balance}")
    return {
        "events_per_s": round(rate(events, began_at, ended_at)),
        "seconds": round(ended_at - began_at, 2),
        "with_start_s": round(wall_s, 1),
        "rows_per_trigger": rows_per_trigger,
        "rows": rows,
        "duplicates": lake_facts.duplicates_by_rule(lake),
        "core_seconds": sampler.spent(began_at, ended_at, events),
        "peak_memory_mb": sampler.peak_memory_mb,
    }


def _spark_part(process: psutil.Process) -> str:
    if process.name().startswith("java"):
        return "Spark JVM"
    return "Python workers" if "pyspark.daemon" in " ".join(process.cmdline()) else "Spark driver"
