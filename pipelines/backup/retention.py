"""Which files of a backup a restore may still ask for: any round of the last days, and one state of each day before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

DAY_S = 86_400.0


@dataclass(frozen=True)
class Keep:
    """Policy backup, part keep: every state since `since`, and before that the states at `days` (epoch seconds)."""

    since: float
    days: tuple[float, ...]

    @classmethod
    def of(cls, policy: Mapping[str, Any], fulls: Iterable[float], now: float) -> Keep:
        """From the policy and the instants of full backups: the last of each UTC day counts.

        >>> keep = Keep.of({"point_in_time_days": 1, "daily_days": 3}, [0.5 * DAY_S, 0.9 * DAY_S, 2 * DAY_S], 3 * DAY_S)
        >>> keep.since / DAY_S, [at / DAY_S for at in keep.days]
        (2.0, [0.9, 2.0])
        """
        last_of: dict[str, float] = {}
        for at in sorted(fulls):
            if at >= now - policy["daily_days"] * DAY_S:
                last_of[f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"] = at
        return cls(now - policy["point_in_time_days"] * DAY_S, tuple(last_of.values()))

    def needs(self, line: Mapping[str, Any]) -> bool:
        """True while a state that is kept holds the file: written at `at`, in no table any more since `unused_since`.

        >>> keep = Keep(100.0, (40.0,))
        >>> [keep.needs({"at": at, "unused_since": gone}) for at, gone in [(10.0, 39.0), (10.0, 41.0), (50.0, 99.0),
        ...  (50.0, 101.0), (101.0, None)]]  # gone before the day; held on the day; after the day and before since; …
        [False, True, False, True, True]
        """
        gone = line.get("unused_since")
        if gone is None or gone >= self.since:
            return True
        return any(line["at"] <= day < gone for day in self.days)


def thinned(copies: Iterable[tuple[str, float]], keep: Keep, *, newest: int) -> list[str]:
    """Whole copies (path, written at) that may go: all but the newest few, one an hour since `since`, one a day kept.

    >>> keep = Keep(7200.0, (3000.0,))
    >>> copies = [("a", 10.0), ("b", 2000.0), ("c", 2500.0), ("d", 7300.0), ("e", 7400.0), ("f", 11e3), ("g", 11100.0)]
    >>> thinned(copies, keep, newest=1)  # c is the day's, e the newest of its hour, f and g share one
    ['a', 'b', 'd', 'f']
    """
    ordered = sorted(copies, key=lambda copy: copy[1])
    kept = {path for path, _ in ordered[-newest:]}
    by_hour = {int(at // 3600): path for path, at in ordered if at >= keep.since}
    kept.update(by_hour.values())
    for day in keep.days:
        before = [path for path, at in ordered if at <= day]
        kept.update(before[-1:])
    return [path for path, _ in ordered if path not in kept]
