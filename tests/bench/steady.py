"""Latency at a steady rate, and a minute of many times that rate: broker, job and tiering service as deployed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from infra.stack.settings import PROJECT_ROOT
from tests.bench import lake_facts
from tests.bench.bench_stack import FLINK, BenchStack, StepFailed
from tests.bench.core_seconds import Sampler, stack_processes
from tests.bench.figures import weighted_percentiles
from tests.bench.load import Load

STEADY_PER_S = 9_300  # the mean of 800 million a day
BURST_FACTOR = 15
_ENDING_S = 60  # of a generator or reader after its time
_DRAIN_PER_S = 1_500


def latency(home: Path, pool: Path, per_s: float, warm_s: float, seconds: float, *, keep: bool = False) -> dict:
    """Raw record time → clean record read, ms, and → visible in silver, s, after a warm-up at the same rate."""
    with BenchStack(home, keep=keep) as stack:
        stack.up("kafka", *FLINK, "tiering")
        stack.deploy()
        began_at = time.time()
        from_s, until_s = began_at + warm_s, began_at + warm_s + seconds
        load = Load(stack.settings.bootstrap, pool, 0, rate=per_s, seconds=warm_s + seconds)
        reader = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.clean_reader", "--bootstrap", stack.settings.bootstrap,
             "--from", str(from_s), "--until", str(until_s)],
            cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            with Sampler(lambda: stack_processes(stack.settings), threads_of="task manager JVM") as sampler:
                sent = load.report(warm_s + seconds + _ENDING_S)
                told, _ = reader.communicate(timeout=_ENDING_S + 120)
            if reader.returncode:
                raise StepFailed(f"the reader ended with code {reader.returncode}")
        finally:
            load.stop()
            if reader.poll() is None:
                reader.kill()
                reader.wait(20)
        _drained(stack, sent["sent"])
        visible = lake_facts.visible_after_s(stack.lake, "silver.interactions", from_s, until_s)
        read = json.loads(told.splitlines()[-1])
        cores = {second["at"]: second for second in sampler.by_second(from_s, until_s)}
        read["by_second"] = [second | {"cores": cores.get(second["at"])} for second in read["by_second"]]
        return read | {
            "asked_per_s": per_s,
            "reached_per_s": sent["per_s"],
            "generator_behind_ms_max": sent["behind_ms_max"],
            "silver_s": weighted_percentiles(visible, (50, 95, 99)),
            "core_seconds": sampler.spent(from_s, until_s, round(sent["per_s"] * seconds)),
            "peak_memory_mb": sampler.peak_memory_mb,
        }


def burst(home: Path, pool: Path, per_s: float, seconds: float, *, keep: bool = False) -> dict:
    """`BURST_FACTOR` times the steady rate, as far as generator and broker reach it; then everything must drain.

    The senders of a rush have machines of their own. Here one generator stands for them on the cores of the stack, so
    from the rush on job and writers give way to it and to the broker; what they do not get then they have to catch up.
    """
    with BenchStack(home, keep=keep) as stack:
        stack.up("kafka", *FLINK, "tiering")
        stack.deploy()
        with Sampler(lambda: stack_processes(stack.settings)) as sampler:
            warm = Load(stack.settings.bootstrap, pool, 0, rate=per_s, seconds=10).report(10 + _ENDING_S)
            _give_way(stack)
            rush = Load(
                stack.settings.bootstrap, pool, warm["passes"] + 1, rate=per_s * BURST_FACTOR, seconds=seconds
            ).report(seconds + 3 * _ENDING_S)
            began = time.monotonic()
            sent = warm["sent"] + rush["sent"]
            _drained(stack, sent)
            drained_s = time.monotonic() - began
        balance = lake_facts.balance(stack.lake)
        if not balance.closes(sent):
            raise StepFailed(f"the balance does not close after the burst: {sent:,} sent, {balance}")
        return {
            "asked_per_s": per_s * BURST_FACTOR,
            "reached_per_s": rush["per_s"],
            "seconds": rush["took_s"],
            "sent": sent,
            "drained_after_s": round(drained_s, 1),
            "lost": balance.lost,
            "twice": balance.twice,
            "peak_memory_mb": sampler.peak_memory_mb,
            "memory_at_peak_mb": sampler.memory_at_peak(),
        }


def _give_way(stack: BenchStack) -> None:
    """Everything but the broker runs only when neither it nor the generator wants the core.

    Linux may weigh sessions before threads (autogroup): then the stack's session gets a low weight too, for niceness
    and policy count only among the threads of one session.
    """
    for process, part in stack_processes(stack.settings):
        with contextlib.suppress(psutil.NoSuchProcess):
            for thread in process.threads() if part != "broker" else ():  # the policy is each thread's own
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile; the others still have to give way
                    os.sched_setscheduler(thread.id, os.SCHED_IDLE, os.sched_param(0))
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a kernel without autogroup
            Path(f"/proc/{process.pid}/autogroup").write_text("19")


def _drained(stack: BenchStack, sent: int) -> None:
    wanted = {"bronze": ([lake_facts.BRONZE], sent), "outputs": (lake_facts.OUTPUTS, sent)}
    stack.wait_for_rows(wanted, limit_s=120 + sent / _DRAIN_PER_S)
