"""Simulated figures of days with planted incidents: what the anomaly rules are tried on, with the truth beside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

START = date(2025, 1, 6)  # a Monday
_WEEK = (1.0, 1.05, 1.0, 0.95, 1.1, 0.7, 0.6)


class Incident(NamedTuple):
    """From a day on, so many days, the figure is multiplied; 0 is an outage, 2 a load that was delivered twice."""

    first: int
    days: int
    factor: float


def volumes(
    days: int, level: float, incidents: Sequence[Incident], *, seed: int, monthly: float = 1.0, growth: float = 0.0
) -> Iterator[tuple[date, float, bool]]:
    """Day, rows, and whether an incident was planted there.

    A week has a shape, days scatter by 5 % beside the root of the count, ``monthly`` is the factor on the first of a
    month, ``growth`` the share a year.
    """
    rng = np.random.default_rng(seed)
    for n in range(days):
        day = START + timedelta(days=n)
        mean = level * _WEEK[day.weekday()] * math.exp(growth * n / 365) * (monthly if day.day == 1 else 1.0)
        mean *= math.exp(rng.normal(0, 0.05))
        hit = [one for one in incidents if one.first <= n < one.first + one.days]
        for one in hit:
            mean *= one.factor
        yield day, float(rng.poisson(mean)), bool(hit)
