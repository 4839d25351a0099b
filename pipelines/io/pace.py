"""Spreads work that is in no hurry: a slice of it, then a rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Slice = TypeVar("Slice")


def paced(
    slices: Iterable[Slice],
    rest_factor: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Slice]:
    """Hands on each slice and, when the next one is asked for, rests `rest_factor` times as long as the last one took.

    Merging 48 MB of a table in one go kept a core busy for 2 to 5 s, in which the broker and the cleaning job fell
    behind by a second, although the writers of tables have niceness 10.

    >>> rests, now = [], iter([7.0, 7.1, 7.4, 7.6, 8.2])
    >>> list(paced("ab", 3, clock=lambda: next(now), sleep=rests.append))  # 0.1 s to read and write a, 0.2 s for b
    ['a', 'b']
    >>> [round(rest, 1) for rest in rests]
    [0.3, 0.6]
    """
    began = clock()
    for one in slices:
        yield one
        sleep(rest_factor * (clock() - began))
        began = clock()
