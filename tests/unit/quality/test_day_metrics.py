"""Figures of days out of a lake: measured once a day that is over, silent channels count as 0."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from infra.stack.settings import Settings
from pipelines.io import quality_results
from pipelines.quality import day_metrics, lake_gate
from tests.unit.quality.defects import identified
from tests.unit.quality.lake import AT, DAY
from tests.unit.quality.test_planted_defects import write

TABLE = "silver.interactions"


def _day(nth: int, rows: int, channel: str) -> list[dict]:
    at = AT + timedelta(days=nth)
    moved = {"received_at": at, "occurred_at": at, "processed_at": at, "received_date": at.date(), "channel": channel}
    return [identified(TABLE, 10_000 * nth + n) | moved for n in range(rows)]


def _note(home: Settings, now: datetime) -> list[str]:
    parts = list(lake_gate.parts_of(home, {TABLE: None}))
    days = sorted({part.day for part in parts})
    return day_metrics.note(home, parts, tables=[TABLE], tested=days, computed_at=now)


def test_a_silent_channel_and_a_slump_are_named_and_a_day_that_runs_is_not_judged(tmp_path):
    home = Settings.load(home=tmp_path, port_base=26900)
    rows = []
    for week in range(5):  # five Mondays: 40 on the app, 40 by phone
        rows += _day(7 * week, 40, "app") + _day(7 * week, 40, "phone")
    rows += _day(35, 2, "app")  # the sixth: 2 of 40, and nobody calls
    rows += _day(42, 1, "app")  # today, a row so far
    write(home, TABLE, rows)
    lines = _note(home, datetime.combine(DAY + timedelta(days=42), datetime.min.time(), UTC) + timedelta(hours=3))
    assert len(lines) == 2
    assert "2026-02-09" in lines[0]
    assert [line.split(": ")[0].split()[-1] for line in sorted(lines)] == ["app", "phone"]
    assert "rows 0, expected about 40" in " ".join(lines)

    found = quality_results.read(home, table=day_metrics.TABLE)
    # Today was judged with the rest, by the gate of gold say; its figures are still to come.
    parts = list(lake_gate.parts_of(home, {TABLE: None}))
    assert [part.day for part in day_metrics.unmeasured(home, parts)] == [DAY + timedelta(weeks=6)]
    assert {row["metric_date"] for row in found} == {DAY + timedelta(weeks=n) for n in range(6)}
    shares = [r for r in found if r["metric"] == "share_linked"]
    assert {r["metric_value"] for r in shares} == {1.0}
    assert all(r["metric_date"] < DAY + timedelta(weeks=5) for r in shares), "of two rows a share is chance"
