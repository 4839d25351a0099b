"""Reads Kafka topics from positions somebody else keeps: committed records only, no reset, no group commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

log = logging.getLogger(__name__)

# A broker that is away is asked again every 0.2 to 2 s, and the client does not print each refusal: we log the outcome.
QUIET = {"log_level": 2, "reconnect.backoff.ms": 200, "reconnect.backoff.max.ms": 2000, "socket.timeout.ms": 10_000}
_SLICE_ROWS = 5000
_UNTIL_MEASURED_ROWS = 200


class LogRefused(Exception):
    """A position and the broker's log do not fit together; a person decides. The message says what to do."""


class TopicChanged(Exception):
    """A topic got another ID or more partitions while we read; look at the topics again."""


@dataclass(frozen=True, order=True)
class Source:
    """One partition in one life of a topic; `application` names it in a table's positions.

    >>> Source("c1", "raw.app", "t9", 0).application
    'c1/t9/0'
    """

    cluster: str
    topic: str
    topic_id: str
    partition: int

    @property
    def application(self) -> str:
        """Application ID of Delta's ``txn`` action."""
        return f"{self.cluster}/{self.topic_id}/{self.partition}"

    @property
    def place(self) -> TopicPartition:
        """As the client names it."""
        return TopicPartition(self.topic, self.partition)

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass
class Collected:
    """Messages in the order of their offsets, and the next offset to read of each source that moved."""

    messages: list[Message] = field(default_factory=list)
    next_offset: dict[Source, int] = field(default_factory=dict)
    payload_bytes: int = 0


class CommittedLog:
    """The partitions of some topics, read with ``read_committed`` by manual assignment.

    Nothing connects before `sources` is called. With `open_too` what transactions wrote that have not ended is read as
    well, and what they took back.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        *,
        queue_kbytes: int = 16384,
        timeout_s: float = 10.0,
        open_too: bool = False,
    ):
        self._isolation = "read_uncommitted" if open_too else "read_committed"
        self._bootstrap, self._topics, self._timeout_s = bootstrap, list(topics), timeout_s
        self._queue_kbytes = queue_kbytes
        self._admin: AdminClient | None = None
        self._consumer: Consumer | None = None
        self._sources: dict[tuple[str, int], Source] = {}
        self._positions: dict[Source, int] = {}
        self._at_end: set[Source] = set()
        self._bytes_a_row = 0.0

    # ---- what there is

    def sources(self) -> list[Source]:
        """All partitions as the broker knows them now. Raises KafkaException when a topic is missing or it is away."""
        if self._admin is None:
            self._admin = AdminClient(QUIET | {"bootstrap.servers": self._bootstrap})
        cluster = self._admin.list_topics(timeout=self._timeout_s).cluster_id
        described = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=self._timeout_s)
        return sorted(
            Source(cluster, name, str(topic.topic_id), partition.id)
            for name, future in described.items()
            for topic in [future.result(timeout=self._timeout_s)]
            for partition in topic.partitions
        )

    def bounds(self, source: Source) -> tuple[int, int]:
        """First and next offset of a partition's log, asked of the broker."""
        if self._admin is None:
            self.sources()
        (earliest,) = self._admin.list_offsets({source.place: OffsetSpec.earliest()}).values()
        (latest,) = self._admin.list_offsets({source.place: OffsetSpec.latest()}).values()
        return earliest.result(self._timeout_s).offset, latest.result(self._timeout_s).offset

    def check_unchanged(self) -> None:
        """Raises TopicChanged unless what was collected so far came from the very topics it was read as.

        A topic can be deleted and made again between two fetches; its offsets then mean other messages.
        """
        if self.sources() != sorted(self._sources.values()):
            raise TopicChanged(f"topics {', '.join(self._topics)} were changed; reading their partitions anew")

    def start_at(self, positions: Mapping[Source, int]) -> None:
        """Read on from `positions`, one for each source.

        Raises LogRefused when a position lies outside the log, naming topic, partition, offset and what to do.
        """
        self.close()
        self._consumer = Consumer(
            QUIET
            | {
                "bootstrap.servers": self._bootstrap,
                "group.id": "kefulake-tiering",  # the client wants a name; no offset is ever committed to it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": self._isolation,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": self._queue_kbytes,
                "fetch.max.bytes": 16 * 1024 * 1024,
                "max.partition.fetch.bytes": 8 * 1024 * 1024,
                # A table is in no hurry: asking for every few bytes cost the broker and us a third of a core at 9,300
                # messages a second over 28 partitions.
                "fetch.min.bytes": 262_144,
                "fetch.wait.max.ms": 200,
                "fetch.queue.backoff.ms": 50,
                "error_cb": _log_client_error,
            }
        )
        for source, offset in positions.items():
            low, high = self._consumer.get_watermark_offsets(source.place, timeout=self._timeout_s)
            if not low <= offset <= high:
                raise LogRefused(_outside(source, offset, low, high))
        self._sources = {(source.topic, source.partition): source for source in positions}
        self._positions = dict(positions)
        self._consumer.assign([TopicPartition(s.topic, s.partition, offset) for s, offset in positions.items()])

    def close(self) -> None:
        """Lets go of the broker; `start_at` begins anew."""
        consumer, self._consumer = self._consumer, None
        self._sources, self._positions, self._at_end = {}, {}, set()
        if consumer is not None:
            consumer.close()

    # ---- reading

    def collect(
        self,
        into: Collected,
        *,
        max_rows: int,
        max_bytes: int,
        wait_s: float,
        slice_s: float = 0.25,
        stop: Callable[[], bool] = lambda: False,
    ) -> Collected:
        """Add messages to `into` until it is full, `wait_s` is over, or every partition is read to its end.

        Raises LogRefused when the broker says that an offset lies outside its log.
        """
        deadline = time.monotonic() + wait_s
        while len(into.messages) < max_rows and into.payload_bytes < max_bytes and not stop():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                break
            self._take(into, self._slice_rows(into, max_rows, max_bytes), min(slice_s, remaining_s))
            if self.at_end():
                break
        return into

    def _slice_rows(self, into: Collected, max_rows: int, max_bytes: int) -> int:
        """How many messages to ask for next: their size is known only afterwards, so judge by those seen before."""
        if not self._bytes_a_row:
            return min(_UNTIL_MEASURED_ROWS, max_rows - len(into.messages))
        room = int((max_bytes - into.payload_bytes) / self._bytes_a_row) + 1
        return max(1, min(_SLICE_ROWS, max_rows - len(into.messages), room))

    def _take(self, into: Collected, rows: int, wait_s: float) -> None:
        taken = self._consumer.consume(num_messages=rows, timeout=wait_s)
        good = [message for message in taken if message.error() is None]
        if good:
            self._add(good, into)
        if len(good) != len(taken):
            for message in taken:
                if message.error() is not None:
                    self._event(message, into)

    def _add(self, good: list[Message], into: Collected) -> None:
        size = sum([len(message) for message in good])  # a list: twice as fast as a generator here
        into.messages += good
        into.payload_bytes += size
        self._bytes_a_row = size / len(good) + 1
        last = {(m.topic(), m.partition()): m.offset() for m in good}  # within a partition offsets only grow
        for key, offset in last.items():
            self._at_end.discard(self._sources[key])
            self._move(self._sources[key], offset + 1, into)

    def _event(self, message: Message, into: Collected) -> None:
        error = message.error()
        source = self._sources.get((message.topic(), message.partition()))
        if error.code() == KafkaError._PARTITION_EOF and source is not None:
            # Its offset lies behind transaction markers and aborted records, which no message ever shows.
            if message.offset() >= self._positions[source]:
                self._at_end.add(source)
            self._move(source, message.offset(), into)
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE) and source is not None:
            low, high = self._consumer.get_watermark_offsets(source.place, timeout=self._timeout_s)
            raise LogRefused(_outside(source, self._positions[source], low, high))
        elif not error.retriable():
            raise KafkaException(error)

    def _move(self, source: Source, offset: int, into: Collected) -> None:
        if offset > self._positions[source]:
            self._positions[source] = offset
            into.next_offset[source] = offset

    # ---- how far

    def at_end(self) -> bool:
        """True when every partition was read to the end of what is committed, and nothing came since."""
        return len(self._at_end) == len(self._positions)

    def lag(self) -> dict[Source, int]:
        """Offsets between what was read and the broker's end (transaction markers and open transactions included)."""
        behind = {}
        for source, position in self._positions.items():
            _, high = self._consumer.get_watermark_offsets(source.place, timeout=self._timeout_s, cached=True)
            behind[source] = max(0, high - position)
        return behind


def _outside(source: Source, offset: int, low: int, high: int) -> str:
    if offset < low:
        why = f"the log begins at {low}: offsets {offset} to {low - 1} were removed before they were read"
        what = "bring the topic back from a backup, or accept the gap"
    else:
        why = f"the log ends at {high}: the broker lost records that were already read"
        what = "bring the broker's data back, or accept the new end"
    return (
        f"topic {source.topic}, partition {source.partition}: next offset to read is {offset}, but {why}. "
        f"Nothing was skipped. To go on: {what} with `python -m jobs.ops.positions --set {source.topic}/"
        f"{source.partition}={low if offset < low else high}`, which writes it down in the table's history"
    )


def _log_client_error(error: KafkaError) -> None:
    log.log(logging.ERROR if error.fatal() else logging.DEBUG, "kafka client: %s", error.str())
