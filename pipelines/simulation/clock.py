"""Times as sources write them, and the hours of a day on which people write."""

from __future__ import annotations

from bisect import bisect
from datetime import datetime, timedelta, timezone
from itertools import accumulate

SHANGHAI = timezone(timedelta(hours=8))
# Share of a day's contacts per hour of Shanghai time: quiet nights, peaks before noon and in the evening.
_HOURLY = (2, 1, 1, 1, 1, 1, 2, 3, 5, 7, 8, 7, 5, 6, 7, 7, 6, 5, 5, 6, 7, 6, 4, 3)
_CUMULATIVE = list(accumulate(_HOURLY))


def spread(fraction: float, start_us: int, span_us: int) -> int:
    """The instant at which that fraction of the span's contacts has arrived; days follow each other.

    >>> spread(0.0, 0, 86_400_000_000), spread(0.5, 0, 86_400_000_000) < 86_400_000_000
    (0, True)
    """
    days = max(1, round(span_us / 86_400_000_000))
    day, within = divmod(fraction * days, 1)
    arrived = within * _CUMULATIVE[-1]
    hour = min(23, bisect(_CUMULATIVE, arrived))
    before = _CUMULATIVE[hour - 1] if hour else 0
    return start_us + int((day * 24 + hour + (arrived - before) / _HOURLY[hour]) * span_us / (24 * days))


def local(at_us: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Shanghai time as most sources write it."""
    return datetime.fromtimestamp(at_us / 1e6, SHANGHAI).strftime(form)


def iso(at_us: int) -> str:
    """ISO 8601 with milliseconds and zone."""
    return datetime.fromtimestamp(at_us / 1e6, SHANGHAI).isoformat(timespec="milliseconds")
