"""Until when everything that came in has reached its table: what lets the balance call an hour closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Ends = Mapping[str, int]
"""Offset by partition, for example ``{"raw.app/0": 17}``."""


@dataclass(frozen=True)
class Seen:
    """Offsets of all parts, looked up in this order: positions first, so that an end is never older than they are.

    bronze, outputs: what the tables say. job: what the cleaning job has finished. raw_ends, output_ends: where the
    topics end, open transactions included.
    """

    bronze: Ends
    outputs: Ends
    job: Ends
    raw_ends: Ends
    output_ends: Ends
    at: datetime


class Passed:
    """Follows one mark at a time through all parts; `until` is the last instant whose mark came through.

    A mark is the end of the raw topics at an instant. It has passed when bronze and the cleaning job are beyond it, and
    the output tables are beyond the ends that the output topics had once the job was beyond it.

    >>> from datetime import UTC
    >>> nine, ten, eleven = (datetime(2026, 1, 5, h, tzinfo=UTC) for h in (9, 10, 11))
    >>> passed = Passed()
    >>> passed.look(Seen({"r/0": 0}, {"o/0": 0}, {"r/0": 0}, {"r/0": 5}, {"o/0": 0}, nine))      # 5 messages came in
    >>> passed.look(Seen({"r/0": 5}, {"o/0": 0}, {"r/0": 5}, {"r/0": 9}, {"o/0": 6}, ten))       # job is through, 6 out
    >>> passed.look(Seen({"r/0": 9}, {"o/0": 6}, {"r/0": 9}, {"r/0": 9}, {"o/0": 11}, eleven))   # ... and in the table
    datetime.datetime(2026, 1, 5, 9, 0, tzinfo=datetime.timezone.utc)
    """

    def __init__(self) -> None:
        self.until: datetime | None = None
        self._at: datetime | None = None
        self._raw: Ends = {}
        self._out: Ends | None = None

    def look(self, seen: Seen) -> datetime | None:
        """Take in what was seen; gives `until`."""
        if self._at is None:
            self._mark(seen)
        if self._out is None and beyond(seen.bronze, self._raw) and beyond(seen.job, self._raw):
            self._out = dict(seen.output_ends)
        if self._out is not None and beyond(seen.outputs, self._out):
            self.until = self._at
            self._mark(seen)
        return self.until

    def _mark(self, seen: Seen) -> None:
        self._at, self._raw, self._out = seen.at, dict(seen.raw_ends), None


def beyond(positions: Ends, ends: Ends) -> bool:
    """True when every partition's position has reached its end; an empty partition needs none.

    >>> beyond({"a/0": 5}, {"a/0": 5, "a/1": 0}), beyond({}, {"a/0": 1})
    (True, False)
    """
    return all(positions.get(partition, 0) >= end for partition, end in ends.items())
