"""Everything on (serving writer, MariaDB, balance, gateway, metrics): the highest steady rate that leaves no lag."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import lake_facts
from tests.bench.bench_stack import BenchStack, StepFailed
from tests.bench.core_seconds import Sampler, stack_processes
from tests.bench.figures import lag_grows, next_step
from tests.bench.load import Load

_SAMPLE_S = 0.5
_CHECKPOINT_S = 10.0  # the job writes its outputs so often, and the lag falls with each
_DRAIN_LIMIT_S = 240


def highest_rate(
    home: Path,
    pool: Path,
    first_per_s: float,
    steps: int,
    step_s: float,
    tell: Callable[[str], None],
    *,
    keep: bool = False,
) -> dict:
    """A few steps of a search: doubled while the lag holds, halved between held and failed after that."""
    held, failed, tried, first_pass = 0.0, None, [], 0
    with BenchStack(home, keep=keep) as stack, Sampler(lambda: stack_processes(stack.settings)) as sampler:
        stack.up()
        stack.deploy()
        rate = first_per_s
        for _ in range(steps):
            step = one_step(stack, pool, first_pass, rate, step_s)
            tried.append(step)
            tell(f"  all on at {rate:,.0f}/s: {'held' if step['held'] else 'lag grows'}")
            first_pass = step.pop("next_pass")
            # A generator that cannot reach the rate says nothing about the stack above what it reached.
            reached = min(rate, step["reached_per_s"])
            held, failed = (max(held, reached), failed) if step["held"] else (held, rate)
            rate = next_step(held, failed) if held else rate / 2
            drain(stack)
        return {
            "events_per_s": round(held) or None,
            "tried": tried,
            "parts": sorted({part for _, parts in sampler.memory for part in parts}),
            "peak_memory_mb": sampler.peak_memory_mb,
            "memory_at_peak_mb": sampler.memory_at_peak(),
        }


def one_step(stack: BenchStack, pool: Path, first_pass: int, per_s: float, seconds: float) -> dict:
    """One rate for a while. Lag: raw messages not yet in a Delta output; the serving writer's is its own."""
    load = Load(stack.settings.bootstrap, pool, first_pass, rate=per_s, seconds=seconds)
    samples: list[tuple[float, float]] = []
    serving: list[tuple[float, float]] = []
    began = time.monotonic()
    try:
        while (elapsed := time.monotonic() - began) < seconds:
            if elapsed > seconds / 3:  # the first third fills the pipes
                samples.append((elapsed, lag(stack)))
                serving.append((elapsed, serving_lag(stack)))
            time.sleep(_SAMPLE_S)
        sent = load.report(60)
    finally:
        load.stop()
    return {
        "asked_per_s": round(per_s),
        "reached_per_s": sent["per_s"],
        "held": not any(lag_grows(s, per_s, _CHECKPOINT_S) for s in (samples, serving)),
        "lag_first_last": [samples[0][1], samples[-1][1]] if samples else [],
        "serving_lag_first_last": [serving[0][1], serving[-1][1]] if serving else [],
        "next_pass": first_pass + sent["passes"] + 1,
    }


def lag(stack: BenchStack) -> int:
    """Raw messages that stand in no Delta output yet."""
    return stack.written("raw.") - stack.rows_in_delta(lake_facts.OUTPUTS)


def serving_lag(stack: BenchStack) -> int:
    """Offsets the serving writer has not written yet."""
    return sum(table.get("lag_total", 0) for table in stack.service_status("serving_writer").values())


def drain(stack: BenchStack) -> None:
    """Waits until everything is written. Raises StepFailed when that takes too long."""
    deadline = time.monotonic() + _DRAIN_LIMIT_S
    while lag(stack) or serving_lag(stack):
        if time.monotonic() > deadline:
            raise StepFailed(f"{lag(stack):,} messages still wait {_DRAIN_LIMIT_S} s after the load ended")
        time.sleep(1)
