"""Whether a file in the inbox may be taken yet: by its name, its size and when it was last written to."""

from __future__ import annotations

from collections.abc import Container
from pathlib import PurePath
from typing import NamedTuple

from pipelines.stores.verdicts import FileIncomplete


class Arrival(NamedTuple):
    """A file in the inbox as the disk shows it. ``changed_ns`` is the inode's ctime: it tells one delivery of a file
    from the next even where a copy keeps the modification time.
    """

    path: str
    size: int
    modified_ns: int
    changed_ns: int


class Look(NamedTuple):
    """What an earlier run saw of a file that had to wait, and since when (ns) it has looked so."""

    size: int
    modified_ns: int
    since_ns: int


def require_settled(
    arrival: Arrival, before: Look | None, others: Container[str], now_ns: int, *, settle_s: float, marks: list[str]
) -> None:
    """Nothing where the file may be read now. Raises FileIncomplete ``incomplete.marked``, ``incomplete.growing``.

    >>> one, now = Arrival("S01.csv", 10, 0, 0), 61_000_000_000
    >>> require_settled(one, None, set(), now, settle_s=60, marks=[".part"])
    >>> require_settled(one, None, {"S01.csv.part"}, now, settle_s=60, marks=[".part"])
    Traceback (most recent call last):
    ...
    pipelines.stores.verdicts.FileIncomplete: S01.csv.part lies beside it: it is still being written
    """
    suffix = PurePath(arrival.path).suffix.lower()
    if suffix in marks:
        raise FileIncomplete("incomplete.marked", f"its name ends with {suffix}: it is still being written")
    for mark in marks:
        if arrival.path + mark in others:
            name = PurePath(arrival.path + mark).name
            raise FileIncomplete("incomplete.marked", f"{name} lies beside it: it is still being written")
    if now_ns - arrival.modified_ns < settle_s * 1e9:
        raise FileIncomplete("incomplete.growing", f"it was written to within the last {settle_s:g} s")
    if before is not None and before.size != arrival.size and now_ns - before.since_ns < settle_s * 1e9:
        raise FileIncomplete("incomplete.growing", f"it grew from {before.size:,} to {arrival.size:,} bytes")


def looked_at(arrival: Arrival, before: Look | None, now_ns: int) -> Look:
    """What to remember of a file that waits: the moment stays while the file does."""
    same = before is not None and (before.size, before.modified_ns) == (arrival.size, arrival.modified_ns)
    return Look(arrival.size, arrival.modified_ns, before.since_ns if same else now_ns)


def waited_too_long(look: Look, now_ns: int, give_up_after_s: float) -> bool:
    """True for a file that is incomplete and has not changed for so long that nobody writes to it any more.

    >>> day_ns = 86_400_000_000_000
    >>> waited_too_long(Look(10, 0, 0), day_ns, 86_400), waited_too_long(Look(10, 0, 5), day_ns, 86_400)
    (True, False)
    """
    return now_ns - look.since_ns >= give_up_after_s * 1e9
