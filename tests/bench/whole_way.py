"""The whole way: raw topics → Flink job → tiering service → bronze, silver, quarantine, duplicates in Delta."""

from __future__ import annotations

import time

from infra.stack.observe_data import CLEANING_GROUP
from jobs.ops import flush
from pipelines.io import progress
from tests.bench import lake_facts
from tests.bench.bench_stack import FLINK, BenchStack, StepFailed
from tests.bench.core_seconds import Sampler, stack_processes
from tests.bench.figures import rate

SLOWEST_PER_S = 1500  # below this the step is given up: something is broken, not slow
START_LIMIT_S = 180


def run(stack: BenchStack, sent: int) -> dict:
    """Works off the `sent` messages that stand in the raw topics; its figures.

    The clock runs from the first judged batch (the earliest ``processed_at``) to the commit that made the last row
    visible, which `kefulake flush` brings about as soon as all is judged. The tiering service starts when the first
    judged record has reached Kafka, so nothing of its work lies before the clock; its own start-up lies within.
    Raises StepFailed when a message is lost, twice or late.
    """
    stack.up("kafka", *FLINK)
    with Sampler(lambda: stack_processes(stack.settings), threads_of="task manager JVM") as sampler:
        stack.deploy()
        _await_first_output(stack)
        stack.up("tiering")
        # As an import does that builds on what it brought in: else the clock runs on until the next checkpoint in turn,
        # on two idle cores, and a run takes 50, 60 or 70 s and nothing between.
        flush.judge(stack.settings, progress.look(stack.settings, CLEANING_GROUP).raw_ends, _limit_s(sent))
        wanted = {"bronze": ([lake_facts.BRONZE], sent), "outputs": (lake_facts.OUTPUTS, sent)}
        stack.wait_for_rows(wanted, _limit_s(sent))
        tables = [lake_facts.BRONZE, *lake_facts.OUTPUTS]
        began_at, ended_at = lake_facts.first_judged_at(stack.lake), lake_facts.last_commit_at(stack.lake, tables)
    balance = lake_facts.balance(stack.lake)
    if not balance.closes(sent):
        raise StepFailed(f"the balance does not close: {sent:,} sent, {balance}")
    return {
        "events_per_s": round(rate(sent, began_at, ended_at)),
        "seconds": round(ended_at - began_at, 2),
        "rows": {name: lake_facts.rows(stack.lake, name) for name in tables},
        "core_seconds": sampler.spent(began_at, ended_at, sent),
        "peak_memory_mb": sampler.peak_memory_mb,
        "memory_at_peak_mb": sampler.memory_at_peak(),
    }


def _limit_s(sent: int) -> float:
    return 90 + sent / SLOWEST_PER_S


def _await_first_output(stack: BenchStack) -> None:
    topics = ["interactions.clean", "feedback.clean", "ticket_events.clean", "quarantine.rejects"]
    deadline = time.monotonic() + START_LIMIT_S
    while not stack.written(topics):
        if time.monotonic() > deadline:
            raise StepFailed(f"the cleaning job wrote nothing within {START_LIMIT_S} s of its deployment")
        time.sleep(0.1)
