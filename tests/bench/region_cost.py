"""What the look at the region costs of cleaning a batch: with one region, and with two."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pipelines.cleaning import batch as batch_module
from pipelines.cleaning import process
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.collectors.regions import Further, Regions
from pipelines.privacy.keys import MasterKey
from pipelines.simulation.traffic import generate

ROWS, ROUNDS = 5_000, 15  # the rows that go to Python at a time (jobs/flink/clean_interactions.py)
ONE = Regions("cn")
TWO = Regions("cn", (Further("sg"),), {("web_chat", f"shop_sg_{number}"): "sg" for number in range(50)})


def cost() -> dict[str, float]:
    """Microseconds a message of the whole cleaning and of the look alone (the median of the rounds), and its share.

    With one region the look is one question a batch, and one more in the loop over its messages: the second is measured
    as the difference of two loops that do nothing else.
    """
    messages = list(generate(7, ROWS, 1_000, datetime(2026, 1, 9, tzinfo=UTC), "flat_json"))
    n = len(messages)
    batch = RawBatch(
        [m.value for m in messages], [m.topic for m in messages], [0] * n, list(range(n)),
        [1_767_960_000_000_000] * n, ["default"] * n, [None] * n, [0] * n, [None] * n,
    )  # fmt: skip
    context = CleaningContext.create(MasterKey({1: bytes(32)}))
    whole = _us(lambda: process.clean_columns(batch, context, 1), n)
    one = _us(lambda: batch_module.misplaced(batch, ONE, "cn"), n) + max(_us(_asks, n) - _us(_loops, n), 0.0)
    two = _us(lambda: batch_module.misplaced(batch, TWO, "cn"), n)
    figures = {"cleaning_us": whole, "one_region_us": one, "two_regions_us": two}
    shares = {"one_region_share": one / whole, "two_regions_share": two / whole}
    return {name: round(value, 5) for name, value in (figures | shares).items()}


def _us(work: Callable[[], object], rows: int) -> float:
    taken = []
    work()
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        work()
        taken.append((time.process_time_ns() - began) / 1000 / rows)
    return statistics.median(taken)


def _asks(refused: dict | None = None) -> None:
    for position in range(ROWS):
        if refused and position in refused:
            break


def _loops() -> None:
    for _position in range(ROWS):
        pass


if __name__ == "__main__":
    print(cost())
