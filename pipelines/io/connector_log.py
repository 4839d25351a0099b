"""The raw topic as a connector needs it: send and know, and read back what it has sent, from log and lake."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.dataset as pads
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from pipelines.io.committed_log import QUIET, Source
from pipelines.io.lake_tables import arrow_files
from pipelines.io.paced_producer import NoBroker, Record

TIMEOUT_S = 15.0
# A topic made a moment ago, or a broker just back, has no leader yet; librdkafka does not call these retriable.
_NO_LEADER = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
# Headers of a record that a connector has sent: whose, which, changed when, where the cursor stood, whether it is gone.
CONNECTOR, RECORD, CHANGED_AT, CURSOR, DELETED = "connector", "record", "changed_at_us", "cursor_us", "deleted"


class NotDelivered(ConnectionError):
    """The broker has not acknowledged a record: what was sent may stand in the log or not."""


class Sent(NamedTuple):
    """A record that stands in the log; ``value`` is encrypted where it comes from the lake (``sealed``)."""

    record: str
    at_us: int | None
    cursor_us: int | None
    partition: int
    offset: int
    value: bytes
    sealed: bool
    deleted: bool = False


class ConnectorLog:
    """One raw topic. ``bronze`` is the folder of bronze.raw_events, which may not be there yet."""

    def __init__(self, bootstrap: str, topic: str, bronze: Path, *, timeout_s: float = 120.0) -> None:
        self._bootstrap, self._topic, self._bronze, self._timeout_s = bootstrap, topic, bronze, timeout_s
        self._admin = AdminClient(QUIET | {"bootstrap.servers": bootstrap})
        try:
            self.cluster = self._admin.list_topics(timeout=TIMEOUT_S).cluster_id
        except KafkaException:
            raise NoBroker(f"No broker answers at {bootstrap}: is the stack up (kefulake up)?") from None
        settings = {"enable.idempotence": True, "acks": "all", "compression.type": "lz4", "linger.ms": 5}
        settings |= {"message.timeout.ms": int(timeout_s * 1000), "message.max.bytes": 8_388_608}
        self._producer = Producer(QUIET | settings | {"bootstrap.servers": bootstrap, "client.id": "kefulake-api-sync"})

    def send(self, records: Sequence[Record]) -> dict[int, int]:
        """Send and wait for every acknowledgement; the next offset of each partition that got something.

        Raises NotDelivered when one is missing.
        """
        after: dict[int, int] = {}
        failures: list[str] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error.str())
            else:
                after[message.partition()] = max(after.get(message.partition(), 0), message.offset() + 1)

        for topic, key, value, headers, _ in records:
            try:
                while True:
                    try:
                        self._producer.produce(topic, value, key, headers=headers, on_delivery=delivered)
                        break
                    except BufferError:  # the queue is full: the broker sets the pace
                        self._producer.poll(0.05)
            except KafkaException as error:
                failures.append(error.args[0].str())
        left = self._producer.flush(self._timeout_s)
        if left or failures:
            why = failures[0] if failures else f"no answer within {self._timeout_s:.0f} s"
            raise NotDelivered(f"{self._topic}: {left + len(failures):,} of {len(records):,} not acknowledged: {why}")
        return after

    def ends(self) -> dict[int, int]:
        """Where each partition ends. Raises KafkaException when the broker is away."""
        consumer = self._consumer()
        try:
            return {partition: self._bounds(consumer, partition)[1] for partition in self._all()}
        finally:
            consumer.close()

    def sent_behind(self, connector: str, offsets: Mapping[int, int]) -> Iterator[Sent]:
        """What ``connector`` has sent at or behind these offsets (a partition without one: from its beginning)."""
        consumer = self._consumer()
        try:
            starts, ends = {}, {}
            for partition in self._all():
                low, high = self._bounds(consumer, partition)
                if (start := max(low, offsets.get(partition, low))) < high:
                    starts[partition], ends[partition] = start, high
            consumer.assign([TopicPartition(self._topic, p, start) for p, start in starts.items()])
            while ends:
                for message in consumer.consume(1000, 0.5):
                    error, partition = message.error(), message.partition()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        if error.code() in _NO_LEADER:
                            continue
                        raise KafkaException(error)
                    if error is None and (sent := _sent(message, connector)) is not None:
                        yield sent
                    # Others go on writing: what they add behind the end as it was is none of ours.
                    if error is not None or message.offset() + 1 >= ends.get(partition, 0):
                        ends.pop(partition, None)
        finally:
            consumer.close()

    def sent_ever(self, connector: str) -> Iterator[Sent]:
        """What it has ever sent: from bronze, and from the log where bronze has not come yet."""
        positions: dict[int, int] = {}
        if (self._bronze / "_delta_log").exists():
            table = DeltaTable(self._bronze)
            topic_id = self._topic_id()
            for partition in self._all():
                source = Source(self.cluster, self._topic, topic_id, partition)
                positions[partition] = table.transaction_version(source.application) or 0
            rows = table.to_pyarrow_dataset(filesystem=arrow_files(self._bronze))
            yield from _in_bronze(rows, self._topic, connector)
        yield from self.sent_behind(connector, positions)

    @retry(
        retry=retry_if_exception(
            lambda error: isinstance(error, KafkaException) and error.args[0].code() in _NO_LEADER
        ),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(30),
        reraise=True,
    )
    def _bounds(self, consumer: Consumer, partition: int) -> tuple[int, int]:
        return consumer.get_watermark_offsets(TopicPartition(self._topic, partition), TIMEOUT_S)

    def _all(self) -> list[int]:
        found = self._admin.list_topics(self._topic, timeout=TIMEOUT_S).topics[self._topic]
        if found.error is not None:
            raise NoBroker(f"Topic {self._topic} is not on the broker at {self._bootstrap}; kefulake up makes it.")
        return sorted(found.partitions)

    def _topic_id(self) -> str:
        asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=TIMEOUT_S)
        return str(asked[self._topic].result(timeout=TIMEOUT_S).topic_id)

    def _consumer(self) -> Consumer:
        settings = {"group.id": "api-sync", "enable.auto.commit": False, "enable.partition.eof": True}
        settings |= {"isolation.level": "read_committed", "auto.offset.reset": "earliest"}
        return Consumer(QUIET | settings | {"bootstrap.servers": self._bootstrap})


def _sent(message: Message, connector: str) -> Sent | None:
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or ()}
    if headers.get(CONNECTOR) != connector:
        return None
    return _of_headers(headers, message.partition(), message.offset(), message.value() or b"", sealed=False)


def _in_bronze(rows: pads.Dataset, topic: str, connector: str) -> Iterator[Sent]:
    mark = json.dumps({CONNECTOR: connector})[1:-1]  # as the tiering service writes headers; what it finds is read
    wanted = (pc.field("raw_topic") == topic) & pc.match_substring(pc.field("headers"), mark)
    columns = ["raw_partition", "raw_offset", "headers", "payload_ciphertext"]
    for batch in rows.scanner(columns=columns, filter=wanted).to_batches():
        for row in batch.to_pylist():
            headers = json.loads(row["headers"])
            if headers.get(CONNECTOR) == connector:
                sealed = row["payload_ciphertext"] or b""
                yield _of_headers(headers, row["raw_partition"], row["raw_offset"], sealed, sealed=True)


def _of_headers(headers: Mapping[str, str], partition: int, offset: int, value: bytes, *, sealed: bool) -> Sent:
    at, cursor = headers.get(CHANGED_AT, ""), headers.get(CURSOR, "")
    instants = int(at) if at else None, int(cursor) if cursor else None
    return Sent(headers.get(RECORD, ""), *instants, partition, offset, value, sealed, DELETED in headers)
