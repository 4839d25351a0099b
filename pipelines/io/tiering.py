"""Tiering: what stands committed in Kafka goes into its Delta table, every row once (design decision 4).

One stream a table. Each turn is collect → write: messages are read from the positions the table itself keeps, turned
into Arrow, and committed together with the new positions. Whatever goes wrong, at whatever moment, the answer is the
same: forget what is in memory and `rewind` to what the table says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.io.committed_log import Collected, CommittedLog, Source
from pipelines.io.converters import Converter, UnreadableKeeper
from pipelines.io.delta import DeltaStore, Move
from pipelines.io.records import Rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """When a commit is due: the first of these. Durations in seconds."""

    rows: int
    bytes: int
    commit_interval_s: float
    settled_after_s: float
    idle_position_s: float

    @classmethod
    def of(cls, policy: Mapping[str, Any]) -> Limits:
        """From ``schemas/policies/tiering.yaml``."""
        return cls(**policy["batch"], idle_position_s=policy["idle_position_s"])


class TableStream:
    """One table and the topics that feed it."""

    def __init__(
        self,
        name: str,
        source_log: CommittedLog,
        open_store: Callable[[], DeltaStore],
        converter: Converter,
        keeper: UnreadableKeeper,
        limits: Limits,
        *,
        transactional: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self._log, self._open_store, self._converter = name, source_log, open_store, converter
        self._keeper, self._limits, self._transactional, self._clock = keeper, limits, transactional, clock
        self._store: DeltaStore | None = None
        self._sources: dict[tuple[str, int], Source] = {}
        self._committed: dict[Source, int | None] = {}
        self._held = Collected()
        self._waiting_since: float | None = None
        self._last_message = self._last_positions = 0.0
        self.rows_written = self.unreadable_kept = self.commits = 0

    def rewind(self) -> None:
        """Forget what is held and read on from what the table says."""
        self._held, self._waiting_since = Collected(), None
        # Opened anew, not refreshed: a snapshot older than the table's log retention cannot be brought up to date.
        self._store = self._open_store()
        sources = self._log.sources()
        known = self._store.positions([source.application for source in sources])
        self._committed = {source: known.get(source.application) for source in sources}
        self._sources = {(source.topic, source.partition): source for source in sources}
        self._tell_new_topics()
        self._converter.sources_are(sources)
        self._log.start_at({source: offset or 0 for source, offset in self._committed.items()})
        self._last_positions = self._clock()
        log.info("%s: reading on from %s", self.name, _short({s: o or 0 for s, o in self._committed.items()}))

    def _tell_new_topics(self) -> None:
        if self._store.is_empty():
            return
        lives = {(source.topic, source.topic_id) for source in self._sources.values()}
        for topic, topic_id in sorted(lives):
            if all(o is None for s, o in self._committed.items() if s.topic == topic):
                log.warning(
                    "%s holds rows, but none of topic %s with ID %s: the topic is new or was made again; "
                    "it is read from its beginning",
                    self.name, topic, topic_id,
                )  # fmt: skip

    def collect(self, wait_s: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Read for up to `wait_s`; True when what is held should be written now."""
        before = len(self._held.messages)
        limits = self._limits
        self._log.collect(self._held, max_rows=limits.rows, max_bytes=limits.bytes, wait_s=wait_s, stop=stop)
        now = self._clock()
        if len(self._held.messages) > before:
            self._last_message = now
            if self._waiting_since is None:
                self._waiting_since = now
        return self._due(now)

    def _due(self, now: float) -> bool:
        limits = self._limits
        if self._waiting_since is None:
            return bool(self._held.next_offset) and now - self._last_positions >= limits.idle_position_s
        if len(self._held.messages) >= limits.rows or self._held.payload_bytes >= limits.bytes:
            return True
        settled = self._transactional and self._log.at_end() and now - self._last_message >= limits.settled_after_s
        return settled or now - self._waiting_since >= limits.commit_interval_s

    def write(self) -> int:
        """Commit what is held, rows and positions as one. Gives the rows written.

        Raises LostRace, UnknownColumn, TopicChanged, or what Delta and Kafka raise; after any of them: `rewind`.
        """
        held, began = self._held, self._clock()
        converted = self._converter.rows(held.messages) if held.messages else Rows(self._store.schema.empty_table(), [])
        turned = self._clock()
        self._log.check_unchanged()
        if converted.unreadable:
            self.unreadable_kept += self._keeper.keep(converted.unreadable, self._sources)
            for bad in converted.unreadable[:3]:
                log.error("%s: kept in quarantine.rejects: %s: %s", self.name, bad.where, bad.reason)
        # A source seen for the first time gets its position with the first commit, rows or not: from then on the table
        # knows this life of the topic.
        ends = {s: 0 for s, offset in self._committed.items() if offset is None} | held.next_offset
        moves = {s.application: Move(self._committed[s], offset) for s, offset in ends.items()}
        rows = self._store.append(converted.table, moves)
        self._committed |= ends
        self._held, self._waiting_since, self._last_positions = Collected(), None, self._clock()
        self.rows_written += rows
        self.commits += 1
        log.info(
            "%s: committed %d rows as version %d (%d read, %d unreadable, %.0f kB, arrow %.3f s, commit %.3f s)",
            self.name, rows, self._store.version, len(held.messages), len(converted.unreadable),
            held.payload_bytes / 1024, turned - began, self._clock() - turned,
        )  # fmt: skip
        return rows

    def check_topics(self) -> None:
        """Raises TopicChanged when partitions were added or a topic was made again; a quiet table sees it only so."""
        self._log.check_unchanged()

    @property
    def rows_waiting(self) -> int:
        """Messages read and not yet written."""
        return len(self._held.messages)

    @property
    def log_at_end(self) -> bool:
        """True when every committed message the broker has shown was read."""
        return self._log.at_end()

    @property
    def caught_up(self) -> bool:
        """True when every committed message the broker has shown is in the table."""
        return not self._held.messages and self._log.at_end()

    @property
    def next_offsets(self) -> dict[Source, int]:
        """The positions in the table, as last read or written by this stream."""
        return {source: offset or 0 for source, offset in self._committed.items()}

    def lag(self) -> dict[Source, int]:
        """Offsets not yet in the table; transaction markers count only while rows wait before them."""
        behind = self._log.lag()
        for source, offset in self._held.next_offset.items() if self._held.messages else ():
            behind[source] += offset - (self._committed[source] or 0)
        return behind

    def close(self) -> None:
        """Lets go of the broker; what is held and not written is read again by whoever comes next."""
        self._held, self._waiting_since = Collected(), None
        self._log.close()


def _short(offsets: Mapping[Source, int]) -> str:
    return ", ".join(f"{source}@{offset}" for source, offset in sorted(offsets.items()))
