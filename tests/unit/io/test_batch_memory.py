"""Cycles that hold a batch's bytes go between batches, not when the collector has counted enough objects."""

from __future__ import annotations

import gc
import weakref

import pytest

from pipelines.io.batch_memory import NEW_CONTAINERS, CollectBetweenBatches


@pytest.fixture
def between():
    """The collector of this process as it was, afterwards."""
    thresholds = gc.get_threshold()
    yield CollectBetweenBatches()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Bundle:
    """As the engine leaves it behind: it holds itself, and the bytes of a batch."""

    def __init__(self) -> None:
        self.itself, self.payload = self, bytes(1_000_000)


def test_a_cycle_is_gone_after_20_000_rows_and_not_before(between):
    left_behind = weakref.ref(Bundle())
    # 15,000 rows: too few to look; at 20,000 it looks; the next batch begins to count anew
    assert not between.before(15_000)
    assert left_behind() is not None
    assert between.before(5_000)
    assert left_behind() is None
    assert not between.before(19_999)


def test_within_a_batch_the_collector_hardly_looks(between):
    assert gc.get_threshold()[0] == NEW_CONTAINERS
