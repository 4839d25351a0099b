"""Takes records out of Kafka for good: deleted from the beginning of a log, or tombstoned and compacted away.

What the broker does by itself was tried out: DeleteRecords moves the beginning of a log and leaves the bytes where
they are, for the segment that is written to is never deleted, and a quiet topic never gets a new one. A log rolls
when something is appended after ``segment.ms``; an aborted transaction is such an append, and no reader of committed
records ever sees it. With that the bytes were gone within seconds of DeleteRecords, and tombstoned values within 2 s.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)  # fmt: skip

from pipelines.io.committed_log import QUIET, Collected, CommittedLog, Source
from pipelines.io.publisher import publish
from pipelines.io.vault_topic import records

TIMEOUT_S = 30.0
ROLL = b"roll"  # key of the aborted record with which a segment begins
_SETTLES_S = 0.2  # from the controller, which takes a setting, to the logs, which follow it
_ROLL = {"segment.ms": "1"}
# What a topic has while an erasure waits for it: deleted and cleaned at once.
DELETING = {"file.delete.delay.ms": "100"}
COMPACTING = DELETING | {
    "min.cleanable.dirty.ratio": "0.0001", "max.compaction.lag.ms": "1", "delete.retention.ms": "1",
}  # fmt: skip
_SET_FOR_TOPIC = 1  # ConfigSource.DYNAMIC_TOPIC_CONFIG


class RollFailed(RuntimeError):
    """The broker did not take the record that closes a segment; the message names the partitions."""


@contextmanager
def hasty(bootstrap: str, topics: Collection[str], wanted: Mapping[str, str]) -> Iterator[None]:
    """Topics with these settings, and with their own again afterwards."""
    admin, before = _admin(bootstrap), {}
    described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in topics])
    for resource, future in described.items():
        entries = future.result(TIMEOUT_S)
        # What was set for the topic is set again; what was a default becomes one again.
        before[resource.name] = {
            name: entries[name].value if entries[name].source == _SET_FOR_TOPIC else None for name in wanted
        }
    _configure(admin, {topic: dict(wanted) for topic in topics})
    try:
        yield
    finally:
        _configure(admin, before)


def _configure(admin: AdminClient, wanted: Mapping[str, Mapping[str, str | None]]) -> None:
    if not wanted:
        return
    resources = []
    for topic, settings in wanted.items():
        entries = [
            ConfigEntry(
                name,
                value or "",
                incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
            )
            for name, value in settings.items()
        ]
        resources.append(ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries))
    for future in admin.incremental_alter_configs(resources).values():
        future.result(TIMEOUT_S)


def roll(bootstrap: str, sources: Iterable[Source]) -> dict[Source, int]:
    """Closes the segment each partition writes to; where the next one begins. Raises RollFailed.

    The next one begins with the aborted record. Its marker comes later, when the coordinator gets to it. ``segment.ms``
    is short for a moment only: every append of a busy topic would begin a segment.
    """
    by_place = {(source.topic, source.partition): source for source in sources}
    begins: dict[Source, int] = {}

    def placed(error: KafkaError | None, message: Message) -> None:
        if error is None:
            begins[by_place[message.topic(), message.partition()]] = message.offset()

    name = f"kefulake-roll-{uuid.uuid4().hex}"
    producer = Producer(QUIET | {"bootstrap.servers": bootstrap, "transactional.id": name})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    with hasty(bootstrap, {topic for topic, _ in by_place}, _ROLL):
        time.sleep(_SETTLES_S)
        for source in by_place.values():
            # With a key: a compacted topic takes nothing without.
            producer.produce(source.topic, None, ROLL, partition=source.partition, on_delivery=placed)
        producer.flush(TIMEOUT_S)
    producer.abort_transaction(TIMEOUT_S)
    if missing := sorted(set(by_place.values()) - set(begins)):
        raise RollFailed(f"segments of {', '.join(map(str, missing))} could not be closed; is the broker up?")
    return begins


def sees_nothing_before(bootstrap: str, source: Source, position: int, end: int) -> bool:
    """True where a reader of committed records that stands at `position` has nothing left to read before `end`.

    The job's committed offset is that of its last record; it never moves over the marker of an aborted transaction.
    """
    if position >= end:
        return True
    reader = CommittedLog(bootstrap, [source.topic])
    try:
        low, _ = reader.bounds(source)
        begin = max(low, position)
        reader.start_at({source: begin})
        taken = reader.collect(Collected(), max_rows=1, max_bytes=1, wait_s=TIMEOUT_S)
        nothing = reader.at_end() and not any(message.offset() < end for message in taken.messages)
        # What an open transaction holds is no end: it may be committed a moment from now.
        return nothing and taken.next_offset.get(source, begin) >= end
    finally:
        reader.close()


def delete_before(bootstrap: str, offsets: Mapping[Source, int]) -> None:
    """Moves the beginning of each log; the broker then deletes segments that lie before it."""
    places = [TopicPartition(source.topic, source.partition, offset) for source, offset in offsets.items()]
    admin = _admin(bootstrap)
    for future in admin.delete_records(places).values():
        future.result(TIMEOUT_S)


def segments_before(data: Path, offsets: Mapping[Source, int]) -> list[Path]:
    """Segment files that begin before the given offsets, and files on their way out: bytes that are still there."""
    left = []
    for source, offset in offsets.items():
        folder = data / f"{source.topic}-{source.partition}"
        left += [file for file in folder.glob("*.log") if int(file.stem) < offset]
        left += folder.glob("*.deleted")
    return sorted(left)


def remove_keys(bootstrap: str, sources: Iterable[Source], keys: Iterable[str]) -> int:
    """A record without a value for each key: readers drop it, compaction removes what stood under it.

    In every partition of a topic: the job's Java client and ours choose by different hashes of the key, and a removal
    in another partition than the value removes nothing.
    """
    records = [(source, key) for source in sources for key in sorted(keys)]
    topic = {source.topic for source, _ in records}
    if len(topic) > 1:
        raise ValueError(f"partitions of one topic are meant, not of {sorted(topic)}")
    return publish(
        bootstrap, topic.pop(), [(key, None) for _, key in records], partitions=[s.partition for s, _ in records]
    )  # fmt: skip


def records_of(bootstrap: str, topic: str, keys: Collection[str]) -> tuple[int, int]:
    """How many records with a value, and how many without, the log holds of these keys."""
    wanted, full, empty = {key.encode() for key in keys}, 0, 0
    for message in records(bootstrap, topic):
        if message.key() in wanted:
            full, empty = full + (message.value() is not None), empty + (message.value() is None)
    return full, empty


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient(QUIET | {"bootstrap.servers": bootstrap})
