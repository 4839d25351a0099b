"""How far every part has come: ends of the topics, positions of the tables and of the cleaning job."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from confluent_kafka import Consumer, IsolationLevel, KafkaError, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.committed_log import QUIET, Source
from pipelines.service.passed import Seen
from pipelines.tables.data_balance import BRONZE, ROLE_OF

TIMEOUT_S = 10.0
# Of a longer gap nobody asks whether records stand in it: they do.
_MARKERS = 100


def look(settings: Settings, cleaning_group: str) -> Seen:
    """Positions first, ends after them. Raises KafkaException when the broker is away."""
    admin = AdminClient(QUIET | {"bootstrap.servers": settings.bootstrap})
    raw = _sources(admin, contracts.table(BRONZE).topics)
    outputs = {name: _sources(admin, contracts.table(name).topics) for name in ROLE_OF}
    at = datetime.now(UTC)
    bronze_positions = _positions(settings, BRONZE, raw)
    output_positions: dict[str, int] = {}
    for name, sources in outputs.items():
        output_positions |= _positions(settings, name, sources)
    job = positions_of(settings.bootstrap, cleaning_group, [source.place for source in raw])
    return Seen(
        bronze=bronze_positions,
        outputs=output_positions,
        job=job,
        raw_ends=_ends(admin, raw),
        output_ends=_ends(admin, [source for sources in outputs.values() for source in sources]),
        at=at,
    )


def _sources(admin: AdminClient, topics: Iterable[str]) -> list[Source]:
    cluster = admin.list_topics(timeout=TIMEOUT_S).cluster_id
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_S)
    return [
        Source(cluster, name, str(topic.topic_id), partition.id)
        for name, future in described.items()
        for topic in [future.result(timeout=TIMEOUT_S)]
        for partition in topic.partitions
    ]


def _positions(settings: Settings, table: str, sources: Iterable[Source]) -> dict[str, int]:
    path = settings.table_path(table)
    if not (path / "_delta_log").exists():
        return {}
    delta = DeltaTable(path)
    return {str(source): delta.transaction_version(source.application) or 0 for source in sources}


def committed(bootstrap: str, group: str, places: Iterable[TopicPartition]) -> dict[str, int]:
    """Committed offsets of a consumer group by partition (``raw.app/0``), asked as one of its consumers (which never
    joins it). Raises KafkaException when the broker is away.

    Not by the admin client: librdkafka 2.16 crashes the process (null pointer in ``rd_kafka_cgrp_op``) when that asks a
    coordinator that is still loading.
    """
    consumer = Consumer(QUIET | {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    try:
        found = consumer.committed(list(places), timeout=TIMEOUT_S)
        return {f"{p.topic}/{p.partition}": p.offset for p in found if p.error is None and p.offset >= 0}
    finally:
        consumer.close()


def positions_of(bootstrap: str, group: str, places: Iterable[TopicPartition]) -> dict[str, int]:
    """`committed`, and where a log begins for a partition of which the group has read nothing yet.

    A job commits nothing of a partition without a record. A restored log begins where the lost one ended, and an erased
    one where all had read to: who counted from 0 would wait for messages that are not there.
    """
    places = list(places)
    known = committed(bootstrap, group, places)
    asked = {place: OffsetSpec.earliest() for place in places if f"{place.topic}/{place.partition}" not in known}
    if not asked:
        return known
    admin = AdminClient(QUIET | {"bootstrap.servers": bootstrap})
    found = admin.list_offsets(asked, request_timeout=TIMEOUT_S)
    begins = {f"{p.topic}/{p.partition}": future.result(timeout=TIMEOUT_S).offset for p, future in found.items()}
    return begins | known


def ends_of_records(bootstrap: str, positions: Mapping[str, int], ends: Mapping[str, int]) -> dict[str, int]:
    """`ends`, but the position itself where no committed record stands between it and the end.

    An erasure closes segments by an aborted transaction, whose record and marker take two offsets that no reader of
    committed records ever passes: who waits for the end of such a topic would wait until its next message.
    """
    open_ends = {place: end for place, end in ends.items() if 0 < end - positions.get(place, 0) <= _MARKERS}
    settings = QUIET | {"bootstrap.servers": bootstrap, "group.id": "progress", "enable.auto.commit": False}
    settings |= {"isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest"}
    found, consumer = dict(ends), Consumer(settings)
    try:
        waiting = set(open_ends)
        consumer.assign([_place(place, positions.get(place, 0)) for place in waiting])
        until = time.monotonic() + TIMEOUT_S
        while waiting and time.monotonic() < until:
            message = consumer.poll(0.5)
            if message is None:
                continue
            place = f"{message.topic()}/{message.partition()}"
            if message.error() is None or place not in waiting:  # a record: its end is one to wait for
                waiting.discard(place)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                waiting.discard(place)
                found[place] = positions.get(place, 0)
    finally:
        consumer.close()
    return found


def _place(partition: str, offset: int) -> TopicPartition:
    topic, _, number = partition.rpartition("/")
    return TopicPartition(topic, int(number), offset)


def _ends(admin: AdminClient, sources: Iterable[Source]) -> Mapping[str, int]:
    """High watermarks: what stands in an open transaction counts, so that nobody takes it for passed."""
    asked = {source.place: OffsetSpec.latest() for source in sources}
    found = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT_S)
    return {f"{p.topic}/{p.partition}": future.result(timeout=TIMEOUT_S).offset for p, future in found.items()}
