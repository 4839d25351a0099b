"""The arithmetic of the bench: percentiles, rates, growth of a lag, CPU time between two moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Series = Sequence[tuple[float, Mapping[str, float]]]
"""Samples in the order of time: (epoch seconds, what → value)."""


def percentiles(values: Sequence[float], wanted: Sequence[int] = (50, 95, 99)) -> dict[str, float]:
    """Nearest-rank percentiles as ``{"p50": …}``: each is a value that was seen. Empty for no values.

    >>> percentiles([5, 1, 4, 2, 3], (50, 95))
    {'p50': 3.0, 'p95': 5.0}
    """
    if not len(values):
        return {}
    ordered = np.sort(np.asarray(values, dtype=float))
    ranks = {q: max(1, -(-q * len(ordered) // 100)) for q in wanted}
    return {f"p{q}": float(ordered[rank - 1]) for q, rank in ranks.items()}


def weighted_percentiles(pairs: Sequence[tuple[float, int]], wanted: Sequence[int] = (50, 95)) -> dict[str, float]:
    """As `percentiles`, of values that each stand for a number of rows.

    >>> weighted_percentiles([(9.0, 1), (2.0, 19)], (50, 95))
    {'p50': 2.0, 'p95': 2.0}
    """
    pairs = [(value, count) for value, count in pairs if count > 0]
    if not pairs:
        return {}
    values, counts = (np.array(column) for column in zip(*sorted(pairs), strict=True))
    reached = np.cumsum(counts)
    found = {q: values[np.searchsorted(reached, reached[-1] * q / 100)] for q in wanted}
    return {f"p{q}": float(value) for q, value in found.items()}


def rate(count: int, began_at: float, ended_at: float) -> float:
    """Events per second over a window. Raises ValueError for a window without length.

    >>> rate(500, 10.0, 12.5)
    200.0
    """
    if ended_at <= began_at:
        raise ValueError(f"a window from {began_at} to {ended_at} has no length")
    return count / (ended_at - began_at)


def ratio(part: float | None, whole: float | None) -> float | None:
    """A quotient to three digits; None where one of the two was not measured.

    >>> ratio(3.0, 2.0), ratio(None, 2.0)
    (1.5, None)
    """
    return round(part / whole, 3) if part is not None and whole else None


def growth_per_s(samples: Sequence[tuple[float, float]], period_s: float) -> float:
    """How fast the mean of a period rises from the first period to the last, of (seconds, value) samples.

    A lag rises between two checkpoints and falls with each: only means over whole periods tell a trend from that.
    Raises ValueError for samples of less than two periods.

    >>> growth_per_s([(0, 100), (5, 300), (10, 110), (15, 310), (20, 120), (25, 320)], 10)
    1.0
    """
    if not samples or samples[-1][0] - samples[0][0] < 1.5 * period_s:
        raise ValueError(f"a trend over periods of {period_s} s needs samples of two of them")
    (first_at, first), (last_at, last) = (
        np.mean([sample for sample in samples if wanted(sample[0])], axis=0)
        for wanted in (lambda at: at < samples[0][0] + period_s, lambda at: at > samples[-1][0] - period_s)
    )
    return float((last - first) / (last_at - first_at))


def lag_grows(
    samples: Sequence[tuple[float, float]], rate_per_s: float, period_s: float, *, share: float = 0.03
) -> bool:
    """True when the lag rises by more than `share` of the arriving events: what comes in is not carried away.

    >>> lag_grows([(0, 900), (5, 1100), (10, 900), (15, 1100)], 1000, 10)
    False
    """
    return growth_per_s(samples, period_s) > share * rate_per_s


def at_moment(series: Series, moment: float) -> dict[str, float]:
    """Cumulative values at a moment, between the samples on both sides of it; a part not yet seen counts 0.

    >>> at_moment([(0, {"a": 0.0}), (10, {"a": 5.0, "b": 2.0})], 5)
    {'a': 2.5, 'b': 1.0}
    """
    if not series:
        return {}
    before = max((s for s in series if s[0] <= moment), default=series[0], key=lambda s: s[0])
    after = min((s for s in series if s[0] >= moment), default=series[-1], key=lambda s: s[0])
    span = after[0] - before[0]
    share = (moment - before[0]) / span if span > 0 else 0.0
    low, high = before[1], after[1]
    return {k: low.get(k, 0.0) + share * (high.get(k, 0.0) - low.get(k, 0.0)) for k in sorted({*low, *high})}


def between(series: Series, began_at: float, ended_at: float) -> dict[str, float]:
    """How much each cumulative value grew from one moment to another.

    >>> between([(0, {"a": 1.0}), (10, {"a": 6.0})], 0, 10)
    {'a': 5.0}
    """
    first, last = at_moment(series, began_at), at_moment(series, ended_at)
    return {what: last[what] - first.get(what, 0.0) for what in last}


def per_million(core_seconds: Mapping[str, float], events: int) -> dict[str, float]:
    """Core-seconds per million events, with the total, largest first.

    >>> per_million({"broker": 1.0, "python": 3.0}, 500_000)
    {'total': 8.0, 'python': 6.0, 'broker': 2.0}
    """
    scaled = {what: round(spent * 1e6 / events, 1) for what, spent in core_seconds.items()}
    ordered = dict(sorted(scaled.items(), key=lambda pair: -pair[1]))
    return {"total": round(sum(core_seconds.values()) * 1e6 / events, 1)} | ordered


def next_step(low: float, high: float | None) -> float:
    """The next rate to try: twice the best that held while nothing failed yet, else the middle.

    >>> next_step(8000, None), next_step(8000, 12000)
    (16000, 10000.0)
    """
    return low * 2 if high is None else (low + high) / 2
