"""Reads what has changed at a source, page by page, while it goes on changing under the reader.

Pages by number, offset or link count positions, and positions shift when a record changes or goes. So the reader does
not count on: it asks anew from the latest change of the page before, and the page that comes must join it, that is hold
a record of that instant again; where there is nothing to join, two answers must begin alike. Positions are followed
only among records of one and the same instant, and that is repeated until a round brings nothing new. Tokens stand for
a place that does not shift: they are followed to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from pipelines.connectors.failures import Passing, WalkExpired
from pipelines.connectors.pages import Page, Step
from pipelines.connectors.records import SourceRecord
from pipelines.connectors.resources import RESOLUTION_US, Client, Resource, TokenPages

_US = 1_000_000


class Batch(NamedTuple):
    """Records to hand on. Once they are: all that changed before ``cursor_us`` has been handed on (None: not known).

    ``resume`` is where a walk by token stands; None: go on from the cursor. ``top_us``: latest change on the page.
    """

    records: list[SourceRecord]
    cursor_us: int | None
    resume: Step | None = None
    top_us: int | None = None


class Ask(Protocol):
    """Fetches the page of a step; ``check`` may raise Passing, then it is asked for again."""

    def __call__(self, step: Step, check: Callable[[Page], None]) -> Page:
        """The page."""


class _Read(NamedTuple):
    page: Page
    records: list[SourceRecord]


class Reader:
    """One run over one resource; counts ``pages``, and ``unproven`` ones, taken although they joined nothing.

    ``known(record)``: whether it has been handed on. Whoever takes a batch marks its records before the next.
    """

    def __init__(
        self,
        resource: Resource,
        limits: Client,
        ask: Ask,
        read: Callable[[bytes], SourceRecord],
        known: Callable[[SourceRecord], bool],
    ) -> None:
        self._resource, self._limits, self._ask, self._read, self._known = resource, limits, ask, read, known
        self._unit_us = RESOLUTION_US[resource.cursor.form]
        self.pages = 0
        self.unproven = 0

    def batches(self, cursor_us: int | None, resume: Step | None) -> Iterator[Batch]:
        """All that changed since ``cursor_us`` less the overlap (None: everything), oldest change first.

        Raises what `ask` raises.
        """
        since_us = None if cursor_us is None else self._floor(cursor_us - self._resource.cursor.overlap_s * _US)
        if isinstance(self._resource.page, TokenPages):
            return self._by_token(cursor_us, since_us, resume)
        return self._by_cursor(cursor_us, since_us)

    def _by_cursor(self, cursor_us: int | None, since_us: int | None) -> Iterator[Batch]:
        anchors: frozenset[str] = frozenset()
        while True:
            found = self._joined(Step(since_us), anchors)
            later = self._later(found, since_us)
            if found.page.following is None:
                yield self._batch(found, _latest(cursor_us, self._later(found, None)))
                return
            if later:
                cursor_us, since_us = _latest(cursor_us, later), self._floor(max(later))
                anchors = self._of_instant(found, since_us)
                yield self._batch(found, cursor_us)
                continue
            found = yield from self._one_instant(cursor_us, since_us, found, anchors)
            later = self._later(found, since_us)
            if not later:
                return
            # Not from the first change met behind the instant: positions may have shifted past one before it.
            since_us = self._floor(min(later)) if since_us is None else since_us + self._unit_us
            anchors = frozenset()

    def _one_instant(
        self, cursor_us: int | None, since_us: int | None, first: _Read, anchors: frozenset[str]
    ) -> Iterator[Batch]:  # returns the last page
        """More records of one instant than a page holds: their positions are followed, round by round."""
        for round_ in range(self._limits.tie_rounds):
            found, met, came = first, set(), False
            while True:
                met.add(found.page.digest)
                later = set(self._later(found, since_us))
                came = came or any(record.at_us not in later and not self._known(record) for record in found.records)
                yield self._batch(found, cursor_us)
                if later or found.page.following is None:
                    break
                found = self._fetch(found.page.following, met)
            if round_ and not came:
                break
            first = self._joined(Step(since_us), anchors)
        return found

    def _by_token(self, cursor_us: int | None, since_us: int | None, resume: Step | None) -> Iterator[Batch]:
        for again in range(self._limits.walk_restarts + 1):
            orderly, met, step = True, set(), resume
            found = None
            try:
                if step is None:
                    step = Step(since_us)
                    found = self._joined(step, frozenset())
                while True:
                    found = found or self._fetch(step, met)
                    met.add(found.page.digest)
                    later = self._later(found, None)
                    orderly = orderly and not (later and step.token and step.top_us and min(later) < step.top_us)
                    top_us = _latest(step.top_us, later)
                    if found.page.following is None:
                        break
                    step = found.page.following._replace(top_us=top_us)
                    yield self._batch(found, cursor_us, step)
                    found = None
            except WalkExpired:
                if again == self._limits.walk_restarts:
                    raise
                resume = None
                continue
            last = orderly or again == self._limits.walk_restarts
            yield self._batch(found, _latest(cursor_us, [top_us] if last and top_us is not None else []))
            if last:
                return
            resume = None  # pages came in another order than their records': whether all came, a second walk shows

    def _joined(self, step: Step, anchors: frozenset[str]) -> _Read:
        """The first page from an instant on: one that joins, else the earliest of several that came twice."""
        tried: list[_Read] = []
        for _ in range(self._limits.suspect_attempts):
            found = self._fetch(step, frozenset())
            if not found.records or self._joins(found, step.since_us, anchors):
                return found  # of an empty one, how many there are is checked already
            tried.append(found)
            earliest = min(tried, key=_first_us)
            alike = [one for one in tried if _begin(one) == _begin(earliest)]
            if len(alike) > 1:
                return alike[-1]
        self.unproven += 1
        return min(tried, key=_first_us)

    def _joins(self, found: _Read, since_us: int | None, anchors: frozenset[str]) -> bool:
        """It holds what it must begin with, and nothing that lies before and is known: the page before, once more."""
        early = (
            record.at_us is not None and since_us is not None and self._floor(record.at_us) < since_us
            for record in found.records
            if self._known(record)
        )
        return any(record.record in anchors for record in found.records) and not any(early)

    def _of_instant(self, found: _Read, at_us: int) -> frozenset[str]:
        return frozenset(r.record for r in found.records if r.at_us is not None and self._floor(r.at_us) == at_us)

    def _fetch(self, step: Step, met: frozenset[bytes] | set[bytes]) -> _Read:
        def check(page: Page) -> None:
            if page.values and page.digest in met:
                raise Passing("a page that came before came again")

        page = self._ask(step, check)
        self.pages += 1
        return _Read(page, [self._read(value) for value in page.values])

    def _later(self, found: _Read, since_us: int | None) -> list[int]:
        """Instants of the page behind ``since_us`` that may move the cursor: not ahead of the server's own clock."""
        now_us, ahead_us = found.page.server_at_us, self._resource.cursor.ahead_s * _US
        return [
            record.at_us
            for record in found.records
            if record.at_us is not None
            and (since_us is None or self._floor(record.at_us) > since_us)
            and (now_us is None or record.at_us <= now_us + ahead_us)
        ]

    def _batch(self, found: _Read, cursor_us: int | None, resume: Step | None = None) -> Batch:
        return Batch(found.records, cursor_us, resume, _latest(cursor_us, self._later(found, None)))

    def _floor(self, at_us: int) -> int:
        return at_us // self._unit_us * self._unit_us


def _first_us(found: _Read) -> int:
    return min((record.at_us for record in found.records if record.at_us is not None), default=2**63)


def _begin(found: _Read) -> str:
    return found.records[0].record


def _latest(cursor_us: int | None, later: list[int]) -> int | None:
    return max([*later, *([] if cursor_us is None else [cursor_us])], default=None)
