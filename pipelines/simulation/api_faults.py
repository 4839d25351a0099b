"""Which answer of a simulated API goes wrong, and how: drawn by a seed, so that a schedule can be run again."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: What can happen to an answer to a page; meanings in pipelines/simulation/api_server.py, which does it.
FAULTS = (
    "rate_seconds", "rate_date", "error_500", "error_502", "error_503", "stall", "slow_body", "reset", "cut",
    "not_json", "half", "repeated", "reordered", "token_expired", "walk_expired",
)  # fmt: skip
# They take real time, for a socket has no other: a tenth of the others' weight.
_SLOW = frozenset({"stall", "slow_body"})


@dataclass(frozen=True)
class Schedule:
    """``share`` of the answers go wrong in one of ``kinds``; the records change between two pages with ``churn``.

    ``date_skew_s``: how far the Date header is from the clock that dates the records.

    >>> [Schedule(7, ("half",), 0.5).fault(answer) for answer in range(4)]
    ['half', None, None, 'half']
    """

    seed: int
    kinds: tuple[str, ...] = FAULTS
    share: float = 0.25
    churn: float = 0.5
    date_skew_s: int = 0

    def fault(self, answer: int) -> str | None:
        """What happens to the n-th answer; None: nothing."""
        chance = random.Random(f"{self.seed}/fault/{answer}")  # noqa: S311
        if chance.random() >= self.share or not self.kinds:
            return None
        weights = [0.1 if kind in _SLOW and len(self.kinds) > 1 else 1.0 for kind in self.kinds]
        return chance.choices(self.kinds, weights)[0]


def random_schedule(seed: int) -> Schedule:
    """One of many: some kinds of faults, a share, a churn and a skew.

    >>> random_schedule(3) == random_schedule(3)
    True
    """
    chance = random.Random(f"{seed}/schedule")  # noqa: S311
    kinds = tuple(kind for kind in FAULTS if chance.random() < 0.6) or FAULTS
    share, churn = chance.uniform(0.05, 0.45), chance.uniform(0.2, 0.9)
    return Schedule(seed, kinds, share, churn, chance.randrange(-250, 250))
