"""Writes raw messages again so that each lands at the offset it had: raw coordinates are the name of every row."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, Message, Producer

from pipelines.backup.cut import steps
from pipelines.io.backup_topics import Record
from pipelines.io.committed_log import QUIET, CommittedLog

_TIMEOUT_S = 120.0
_SETTINGS = {
    "enable.idempotence": True, "acks": "all", "linger.ms": 20, "compression.type": "lz4",
    "message.max.bytes": 9_437_184, "queue.buffering.max.messages": 200_000, "message.timeout.ms": 120_000,
}  # fmt: skip


class OffsetMissed(RuntimeError):
    """A message did not land at its offset: the log holds others already. The message names it; restore anew."""


def rewrite(
    bootstrap: str, place: str, records: Sequence[Record], start: int, end: int, tell: Callable[[int], None]
) -> int:
    """Write one partition from `start`, where its log begins, to `end`; how many messages.

    `records` ascend by offset. Offsets without a record are those of transaction markers and of erased messages: an
    aborted transaction takes them, which no reader of committed records sees. Raises OffsetMissed, KafkaException.
    """
    topic, _, number = place.rpartition("/")
    by_offset = {record.offset: record for record in records}
    written = 0
    plain = _Writing(Producer(QUIET | _SETTINGS | {"bootstrap.servers": bootstrap}), topic, int(number))
    fencing = None
    for what, first, beyond in steps([record.offset for record in records], start, end):
        if what == "write":
            for offset in range(first, beyond):
                plain.send(by_offset[offset])
                written += 1
                if written % 5000 == 0:
                    tell(5000)
            plain.flush()
            continue
        if fencing is None:
            ends = CommittedLog(bootstrap, [topic])
            name = {
                "transactional.id": f"kefulake-restore-{uuid.uuid4().hex}",
                "transaction.timeout.ms": 180_000,
            }
            fencing = _Writing(
                Producer(QUIET | _SETTINGS | name | {"bootstrap.servers": bootstrap}), topic, int(number)
            )
            fencing.producer.init_transactions(_TIMEOUT_S)
        fencing.producer.begin_transaction()
        if what == "commit":
            fencing.send(by_offset[first])
            fencing.flush()
            fencing.producer.commit_transaction(_TIMEOUT_S)
            written += 1
        else:
            for offset in range(first, beyond - 1):
                fencing.send(Record(offset, 0, b"gap", None, b""))
            fencing.flush()
            fencing.producer.abort_transaction(_TIMEOUT_S)
        _await_end(ends, place, beyond)
    tell(written % 5000)
    return written


def _await_end(ends: CommittedLog, place: str, offset: int) -> None:
    """The marker of a transaction comes after the answer to its commit, when the coordinator gets to it."""
    (source,) = (one for one in ends.sources() if str(one) == place)
    deadline = time.monotonic() + _TIMEOUT_S
    while (end := ends.bounds(source)[1]) < offset:
        if time.monotonic() > deadline:
            raise OffsetMissed(f"{place} ends at {end}: the marker before {offset} did not come in {_TIMEOUT_S:.0f} s")
        time.sleep(0.02)
    if end != offset:
        raise OffsetMissed(f"{place} ends at {end} and not at {offset}: somebody else writes to it")


class _Writing:
    """A producer that checks where each record landed."""

    def __init__(self, producer: Producer, topic: str, partition: int):
        self.producer, self._topic, self._partition = producer, topic, partition
        self._wrong: list[str] = []

    def send(self, record: Record) -> None:
        def landed(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._wrong.append(f"{self._topic}/{self._partition}, offset {record.offset}: {error.str()}")
            elif message.offset() != record.offset:
                self._wrong.append(
                    f"{self._topic}/{self._partition}: a message of offset {record.offset} landed at {message.offset()}"
                )

        while True:
            try:
                self.producer.produce(
                    self._topic, record.value, key=record.key, partition=self._partition, headers=record.headers,
                    timestamp=record.timestamp_ms, on_delivery=landed,
                )  # fmt: skip
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def flush(self) -> None:
        left = self.producer.flush(_TIMEOUT_S)
        if left:
            self._wrong.append(f"{self._topic}/{self._partition}: {left} messages were not acknowledged")
        if self._wrong:
            raise OffsetMissed(self._wrong[0])
