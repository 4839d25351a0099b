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

from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)  # fmt: skip

from pipelines.io.committed_log import QUIET, Collected, CommittedLog, Source
from pipelines.io.publisher import publish
from pipelines.io.vault_topic import records

TIMEOUT_S = 30.0
# What a topic has while an erasure waits for it: a new segment with the next append, cleaned as soon as it is closed.
_HASTY = {"segment.ms": "1", "file.delete.delay.ms": "100"}
_HASTY_COMPACT = _HASTY | {
    "min.cleanable.dirty.ratio": "0.0001",
    "max.compaction.lag.ms": "1",
    "delete.retention.ms": "1",
}


@contextmanager
def hasty(bootstrap: str, topics: Collection[str], *, compact: bool = False) -> Iterator[None]:
    """Topics that roll and clean at once, and have their own settings again afterwards."""
    wanted = _HASTY_COMPACT if compact else _HASTY
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


_SET_FOR_TOPIC = 1  # ConfigSource.DYNAMIC_TOPIC_CONFIG


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
    """Closes the segment each partition writes to; the end of each log behind it. Only under `hasty`."""
    sources = list(sources)
    time.sleep(0.002)  # the segment has to be older than segment.ms
    producer = Producer(
        QUIET | {"bootstrap.servers": bootstrap, "transactional.id": f"kefulake-roll-{uuid.uuid4().hex}"}
    )
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for source in sources:
        producer.produce(source.topic, b"", partition=source.partition)
    if producer.flush(TIMEOUT_S):
        raise KafkaException("records of an aborted transaction were not acknowledged")
    producer.abort_transaction(TIMEOUT_S)
    return ends(bootstrap, sources)


def ends(bootstrap: str, sources: Iterable[Source]) -> dict[Source, int]:
    """High watermark of each partition: what stands in open transactions counts."""
    sources = list(sources)
    asked = {source.place: OffsetSpec.latest() for source in sources}
    found = _admin(bootstrap).list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
    by_place = {(p.topic, p.partition): future.result(TIMEOUT_S).offset for p, future in found.items()}
    return {source: by_place[source.topic, source.partition] for source in sources}


def sees_nothing_before(bootstrap: str, source: Source, position: int, end: int) -> bool:
    """True where a reader of committed records that stands at `position` has nothing left to read before `end`.

    The job's committed offset is that of its last record; it never moves over the marker of an aborted transaction.
    """
    if position >= end:
        return True
    reader = CommittedLog(bootstrap, [source.topic])
    try:
        low, _ = reader.bounds(source)
        reader.start_at({source: max(low, position)})
        taken = reader.collect(Collected(), max_rows=1, max_bytes=1, wait_s=TIMEOUT_S)
        return reader.at_end() and not any(message.offset() < end for message in taken.messages)
    finally:
        reader.close()


def delete_before(bootstrap: str, offsets: Mapping[Source, int]) -> None:
    """Moves the beginning of each log; the broker then deletes segments that lie before it."""
    places = [TopicPartition(source.topic, source.partition, offset) for source, offset in offsets.items()]
    for future in _admin(bootstrap).delete_records(places).values():
        future.result(TIMEOUT_S)


def segments_before(data: Path, offsets: Mapping[Source, int]) -> list[Path]:
    """Segment files that begin before the given offsets, and files on their way out: bytes that are still there."""
    left = []
    for source, offset in offsets.items():
        folder = data / f"{source.topic}-{source.partition}"
        left += [file for file in folder.glob("*.log") if int(file.stem) < offset]
        left += folder.glob("*.deleted")
    return sorted(left)


def remove_keys(bootstrap: str, topic: str, keys: Iterable[str]) -> int:
    """A record without a value for each key: readers drop it, compaction removes what stood under it."""
    return publish(bootstrap, topic, [(key, None) for key in sorted(keys)])


def records_of(bootstrap: str, topic: str, keys: Collection[str]) -> tuple[int, int]:
    """How many records with a value, and how many without, the log holds of these keys."""
    wanted, full, empty = {key.encode() for key in keys}, 0, 0
    for message in records(bootstrap, topic):
        if message.key() in wanted:
            full, empty = full + (message.value() is not None), empty + (message.value() is None)
    return full, empty


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient(QUIET | {"bootstrap.servers": bootstrap})
