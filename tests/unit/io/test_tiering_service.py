"""The upkeep of a table: merging has time, the stream has none."""

from __future__ import annotations

import pytest

from pipelines.io import delta_upkeep, tiering_service
from pipelines.io.delta_upkeep import Upkeep

KEEP = Upkeep(
    compact_at_files=2, small_file_bytes=1, round_bytes=1, rest_factor=2, checkpoint_every_commits=1,
    vacuum_retention_hours=1,
)  # fmt: skip


class Stop:
    """A stop event that is never set and notes how long it was waited for."""

    def __init__(self):
        self.waits: list[float] = []

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False


def test_after_each_round_it_rests_twice_as_long(tmp_path, monkeypatch):
    """Rounds of 3 s and 1 s, then nothing is left: rests of 6 s and 2 s, none after the last look."""
    (tmp_path / "_delta_log").mkdir()
    clock, rounds = iter([0.0, 3.0, 9.0, 10.0, 12.0]), iter([5, 4, 0])
    monkeypatch.setattr(tiering_service.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(delta_upkeep, "compact", lambda path, keep: next(rounds))
    monkeypatch.setattr(delta_upkeep, "checkpoint", lambda path, keep: False)
    stop = Stop()
    tiering_service._upkeep(tmp_path, "silver.test", KEEP, False, stop)
    assert stop.waits == [pytest.approx(6.0), pytest.approx(2.0)]
