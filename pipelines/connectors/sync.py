"""One run of one resource: read what changed, hand on what is new, and note how far that is once it is acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipelines.connectors import position as positions
from pipelines.connectors.clock import Clock
from pipelines.connectors.position import Position
from pipelines.connectors.reader import Reader
from pipelines.connectors.records import SourceRecord
from pipelines.connectors.resources import Client, Resource
from pipelines.io.connector_log import CHANGED_AT, CONNECTOR, CURSOR, DELETED, RECORD, Sent
from pipelines.io.paced_producer import Record

_US = 1_000_000


class Log(Protocol):
    """The raw topic (`pipelines.io.connector_log.ConnectorLog`)."""

    cluster: str

    def send(self, records: Sequence[Record]) -> dict[int, int]:
        """Send and wait for every acknowledgement; the next offsets."""

    def ends(self) -> dict[int, int]:
        """Where each partition ends."""

    def sent_behind(self, connector: str, offsets: Mapping[int, int]) -> Iterator[Sent]:
        """What stands in the log at or behind these offsets."""

    def sent_ever(self, connector: str) -> Iterator[Sent]:
        """What stands in lake and log."""


@dataclass
class Figures:
    """What a run did; ``failed`` says why it did not come to the end, None when it did."""

    pages: int = 0
    records: int = 0
    sent: int = 0
    unchanged: int = 0
    deleted: int = 0
    drifted: int = 0
    retries: int = 0
    unproven: int = 0
    cursor_before_us: int | None = None
    cursor_after_us: int | None = None
    failed: str | None = None
    findings: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Sync:
    """What a run needs of its surroundings: ``secret`` keys the digests of records, ``told`` hears of each page."""

    resource: Resource
    limits: Client
    account: str
    log: Log
    file: Path
    clock: Clock
    secret: bytes
    told: Callable[[Figures], None] = lambda figures: None


def open_position(sync: Sync, *, everything: bool) -> Position:
    """Where the last run stood: by the file, and where that does not say all, by what stands in log and lake.

    ``everything``: remember all that was ever sent, not only what the overlap can bring again.
    """
    name, known = sync.resource.name, positions.load(sync.file, sync.log.cluster)
    sync.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if known is None or everything:
        found = rebuilt(sync.log.cluster, sync.log.sent_ever(name))
        # A walk's end moves the cursor and sends nothing: there the file knows more.
        found.cursor_us = _later(found.cursor_us, known and known.cursor_us)
        known = found
    elif known.open:
        for sent in sync.log.sent_behind(name, known.next_offsets):
            known.remember(sent.record, sent.at_us, _later(sent.cursor_us, known.cursor_us))
    known.next_offsets, known.open = sync.log.ends(), True
    positions.save(sync.file, known)
    return known


def rebuilt(cluster: str, sent: Iterator[Sent]) -> Position:
    """The position that records themselves tell: all of them, and the cursor as it was when partitions got their last.

    A restore gives each partition back up to an end of its own, so one may have lost what another's cursor has passed:
    the earliest of them counts.

    >>> a, b = Sent("a", 5, None, 0, 0, b"", False), Sent("b", 7, 5, 0, 1, b"", False)
    >>> found = rebuilt("c", iter([a, b, Sent("c", 9, 3, 1, 0, b"", False)]))
    >>> found.cursor_us, found.seen, found.whole
    (3, {'a': 5, 'b': 7, 'c': 9}, True)
    """
    found, newest = Position(cluster, whole=True), {}
    for one in sent:
        newest[one.partition] = _later(newest.get(one.partition), one.cursor_us)
        found.remember(one.record, one.at_us, one.cursor_us)
    if None not in newest.values():
        found.cursor_us = min(newest.values(), default=None)
    return found


def run(
    sync: Sync, position: Position, reader: Reader, figures: Figures, *, since_us: int | None = None, full: bool = False
) -> set[str]:
    """Read to the end; the keys met. ``since_us`` stands for the cursor this once, ``full`` for no cursor at all.

    Whatever is raised, what was acknowledged is in ``position``, and no more than that; `close` writes it down.

    Raises:
        ConnectorFailure: the source did not give everything.
        NotDelivered: the broker did not take everything.
    """
    figures.cursor_before_us = position.cursor_us
    known = [at_us for at_us in (since_us, position.cursor_us) if at_us is not None]
    from_us = None if full else min(known, default=None)  # a later one would leave out what lies between
    resume = None if full or since_us is not None else position.walk
    remembers_all = full or since_us is not None or position.whole
    position.walk = resume
    saved_s, met = sync.clock.monotonic(), set()
    for batch in reader.batches(from_us, resume):
        hand_on(sync, position, batch.records, figures, batch.top_us)
        # A look back must not take the cursor back.
        position.cursor_us, position.walk = _later(position.cursor_us, batch.cursor_us), batch.resume
        if remembers_all:
            met.update(record.key for record in batch.records)
        else:
            position.bound(sync.limits.max_seen)
        figures.pages, figures.cursor_after_us = reader.pages, position.cursor_us
        sync.told(figures)
        if sync.clock.monotonic() - saved_s >= sync.limits.save_every_s and not remembers_all:
            positions.save(sync.file, position)
            saved_s = sync.clock.monotonic()
    return met


def hand_on(
    sync: Sync, position: Position, records: Sequence[SourceRecord], figures: Figures, met_us: int | None
) -> None:
    """Send those that are not known, once each, and mark them when the broker has them; met beside ``met_us``."""
    new: dict[str, SourceRecord] = {}
    for record in records:
        if record.record in position.seen:
            position.remember(record.record, record.at_us, met_us)
        else:
            new.setdefault(record.record, record)
    figures.records += len(records)
    figures.unchanged += len(records) - len(new)
    if not new:
        return
    position.next_offsets |= sync.log.send([raw(sync, record, position.cursor_us) for record in new.values()])
    for record in new.values():
        position.remember(record.record, record.at_us, met_us)
    figures.sent += len(new)
    figures.deleted += sum(record.deleted for record in new.values())
    figures.drifted += sum(bool(record.findings) for record in new.values())
    figures.findings.update(finding for record in new.values() for finding in record.findings)


def raw(sync: Sync, record: SourceRecord, cursor_us: int | None) -> Record:
    """The record for the raw topic. Its headers are what a lost position is made anew from."""
    name = sync.resource.name
    headers = {"account": sync.account, "source_ref": f"{name}/{record.record}", CONNECTOR: name, RECORD: record.record}
    known = {CHANGED_AT: record.at_us, CURSOR: cursor_us, DELETED: 1 if record.deleted else None}
    headers |= {header: str(value) for header, value in known.items() if value is not None}
    if record.findings:
        headers["findings"] = ",".join(record.findings)
    pairs = [(header, value.encode()) for header, value in headers.items()]
    return Record(sync.resource.topic, record.order_key.encode(), record.value, pairs)


def close(sync: Sync, position: Position, figures: Figures, *, in_doubt: bool) -> None:
    """Write down how far we are. ``in_doubt``: the broker may have more than it acknowledged; the next run looks."""
    if figures.failed is None:  # else what lies ahead has not been met again
        position.forget(sync.resource.cursor.overlap_s)
    position.bound(sync.limits.max_seen)
    position.open = in_doubt
    figures.cursor_after_us = position.cursor_us
    positions.save(sync.file, position)


def _later(one_us: int | None, other_us: int | None) -> int | None:
    return max((at for at in (one_us, other_us) if at is not None), default=None)
