"""Is a day's figure unusual beside its own past? Plain functions; thresholds from policy ``quality``.

A baseline is fooled in three ways that users of other tools report: the tested value lies inside its own average
(elementary#1560), a past incident becomes the normal (#980), what comes by the month is an alarm each month (#2052).
Here the tested day is never part of its baseline, past anomalies and declared incidents are left out, and a day is
unusual only where neither its weekday nor its day of the month lets expect the figure. What came on that day of the
month at least four times is expected, whatever it was called then.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from statistics import median
from typing import Any, NamedTuple

_MAD_TO_SIGMA = 1.4826  # of a normal distribution


class Past(NamedTuple):
    """The figure of an earlier day, and whether it was an anomaly then."""

    value: float
    anomaly: bool = False


class Judged(NamedTuple):
    """What was expected (None: too few days to say), how far off the figure is, and of how many days that is known."""

    expected: float | None
    deviation: float | None
    anomaly: bool
    samples: int


def judge(
    value: float,
    tested: date,
    past: Mapping[date, Past],
    *,
    scale: str,
    incidents: Collection[date],
    policy: Mapping[str, Any],
) -> Judged:
    """The figure of ``tested`` beside earlier days; ``scale`` is count, mean (both by ratio) or share (by difference).

    >>> policy = dict(window_days=84, min_samples=4, max_deviations=5.0, new_level_after_days=14,
    ...               same_day_of_month=dict(window_days=400, min_samples=4), min_spread=dict(count=0.15))
    >>> monday = date(2026, 3, 2)
    >>> past = {monday - timedelta(weeks=n): Past(v) for n, v in enumerate([100, 110, 90, 100, 105], start=1)}
    >>> judge(101, monday, past, scale="count", incidents=(), policy=policy).anomaly
    False
    >>> judge(20, monday, past, scale="count", incidents=(), policy=policy)[:1]
    (100,)
    >>> judge(20, monday, past, scale="count", incidents=(), policy=policy).anomaly
    True
    """
    if tested in incidents:
        return Judged(None, None, False, 0)
    before = {day: one for day, one in past.items() if day < tested and day not in incidents}
    out = left_out(before, incidents, new_level_after_days=policy["new_level_after_days"])
    usual = {day: one.value for day, one in before.items() if day not in out}
    monthly = policy["same_day_of_month"]
    # An anomaly counts here: that it comes again on that day of the month is what this looks for.
    groups = [
        (same_weekdays(usual, tested, policy["window_days"]), policy["min_samples"]),
        (
            same_days_of_month({d: one.value for d, one in before.items()}, tested, monthly["window_days"],
                               usual=weekday_levels(usual, tested, policy["window_days"]), scale=scale),
            monthly["min_samples"],
        ),
    ]  # fmt: skip
    found = [
        _beside(value, group, scale, policy["min_spread"][scale]) for group, least in groups if len(group) >= least
    ]
    if not found:
        return Judged(None, None, False, max(len(group) for group, _ in groups))
    nearest = min(found, key=lambda one: abs(one.deviation or 0.0))
    return nearest._replace(anomaly=abs(nearest.deviation or 0.0) > policy["max_deviations"])


def left_out(past: Mapping[date, Past], incidents: Collection[date], *, new_level_after_days: int) -> set[date]:
    """Days that are no measure: declared incidents, and anomalies, unless so many in a row that they are a new level.

    >>> days = {date(2026, 1, n): Past(1.0, anomaly=n >= 3) for n in range(1, 6)}
    >>> sorted(day.day for day in left_out(days, [date(2026, 1, 1)], new_level_after_days=4))
    [1, 3, 4, 5]
    >>> sorted(day.day for day in left_out(days, [date(2026, 1, 1)], new_level_after_days=3))
    [1]
    """
    out, row = {day for day in past if day in incidents}, []
    for day in [*sorted(day for day in past if day not in incidents), None]:
        if day is not None and past[day].anomaly:
            row.append(day)
            continue
        if len(row) < new_level_after_days:
            out.update(row)
        row = []
    return out


def same_weekdays(past: Mapping[date, float], tested: date, window_days: int) -> list[float]:
    """Figures of the tested day's weekday within the days before it.

    >>> same_weekdays({date(2026, 3, 2): 1.0, date(2026, 3, 3): 2.0, date(2026, 2, 23): 3.0}, date(2026, 3, 9), 10)
    [1.0]
    """
    first = tested - timedelta(days=window_days)
    return [v for day, v in past.items() if first <= day < tested and day.weekday() == tested.weekday()]


def weekday_levels(past: Mapping[date, float], tested: date, window_days: int) -> dict[int, float]:
    """The usual figure of each weekday (0 is Monday) within the days before the tested one.

    >>> weekday_levels({date(2026, 3, 2): 4.0, date(2026, 2, 23): 2.0, date(2026, 3, 3): 9.0}, date(2026, 3, 9), 84)
    {0: 3.0, 1: 9.0}
    """
    first = tested - timedelta(days=window_days)
    figures: dict[int, list[float]] = {}
    for day, value in past.items():
        if first <= day < tested:
            figures.setdefault(day.weekday(), []).append(value)
    return {weekday: median(values) for weekday, values in figures.items()}


def same_days_of_month(
    past: Mapping[date, float], tested: date, window_days: int, *, usual: Mapping[int, float], scale: str
) -> list[float]:
    """Figures of the tested day's number in earlier months, as they would be on its weekday; a last day with last days.

    >>> days = {date(2026, 1, 31): 30.0, date(2026, 1, 28): 10.0}  # a Saturday and a Wednesday; tested is a Saturday
    >>> same_days_of_month(days, date(2026, 2, 28), 400, usual={5: 5.0, 2: 10.0}, scale="count")
    [5.0, 30.0]
    """
    first, level = tested - timedelta(days=window_days), usual.get(tested.weekday())
    found = []
    for day in sorted(day for day in past if first <= day < tested):
        theirs = usual.get(day.weekday())
        if not (day.day == tested.day or (_is_last(tested) and _is_last(day))) or not level or not theirs:
            continue
        found.append(past[day] + level - theirs if scale == "share" else past[day] * level / theirs)
    return found


def _is_last(day: date) -> bool:
    return (day + timedelta(days=1)).day == 1


def _beside(value: float, group: list[float], scale: str, min_spread: float) -> Judged:
    on_scale = [_scaled(one, scale) for one in group]
    middle, centre = median(on_scale), median(group)
    spread = max(_MAD_TO_SIGMA * median(abs(one - middle) for one in on_scale), min_spread)
    if scale == "count":  # chance alone moves a count by its root
        spread = max(spread, 1 / math.sqrt(max(centre, 1.0)))
    return Judged(centre, (_scaled(value, scale) - middle) / spread, False, len(group))


def _scaled(value: float, scale: str) -> float:
    return value if scale == "share" else math.log(max(value, 0.0) + (0.5 if scale == "count" else 1e-9))
