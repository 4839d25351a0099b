"""The two Kafka tables of the cleaning job: all raw topics in, all output topics out.

Both sides carry bytes. The source reads every ``raw.*`` topic as one stream with its coordinates; the sink writes each
row to the topic the row names. One sink means one transaction per writer and checkpoint, whatever the number of topics,
and a record, its vault entries and its duplicates become visible together.
"""

from __future__ import annotations

from collections.abc import Sequence

RAW_EVENTS = "raw_events"
OUTPUTS = "outputs"

# The broker must allow at least this (transaction.max.timeout.ms); a job that is down for longer loses the transaction
# that its last checkpoint had prepared, so it is a day, not the producer's default minute.
TRANSACTION_TIMEOUT_MS = 86_400_000


def raw_events_ddl(bootstrap: str, topics: Sequence[str], group: str) -> str:
    """``CREATE TABLE raw_events``: payload, headers and coordinates of every raw topic, from the earliest offset.

    The table has no watermark: time rules use the instants inside the messages, and a row-time column would turn the
    append-only de-duplication into one that emits updates.
    """
    options = {
        "connector": "kafka",
        "properties.bootstrap.servers": bootstrap,
        "topic": ";".join(topics),
        "properties.group.id": group,
        # An erasure closes the segments of a quiet topic by an aborted transaction: nobody may take that for a message.
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": "earliest-offset",
        "scan.topic-partition-discovery.interval": "30 s",
        # A task holds four fetches; with the client's 50 MB each a backlog of 5 MB bodies took the whole heap. A
        # record larger than this comes all the same, alone.
        "properties.fetch.max.bytes": "8388608",
        "properties.max.partition.fetch.bytes": "1048576",
        # Up to 25 ms of latency for some 40 fetches a second and task, instead of one for every batch that arrives.
        "properties.fetch.min.bytes": "65536",
        "properties.fetch.max.wait.ms": "25",
        # A batch of the Python function in one hand-over from the fetching thread: at 500 (the client's default) the
        # job's thread sat waiting for the next hand-over for 30 % of its time.
        "properties.max.poll.records": "10000",
        "value.format": "raw",
    }
    return f"""
CREATE TABLE {RAW_EVENTS} (
  raw_topic STRING NOT NULL METADATA FROM 'topic' VIRTUAL,
  raw_partition INT NOT NULL METADATA FROM 'partition' VIRTUAL,
  raw_offset BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL,
  received_at TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL,
  headers MAP<STRING, BYTES> METADATA VIRTUAL,
  arrived_at AS PROCTIME(),
  payload BYTES
) WITH (
  {_options(options)}
)"""


def outputs_ddl(bootstrap: str, topics: Sequence[str], transactional_id_prefix: str) -> str:
    """``CREATE TABLE outputs``: each row names its topic; exactly-once through Kafka transactions."""
    options = {
        "connector": "kafka",
        "properties.bootstrap.servers": bootstrap,
        "topic": ";".join(topics),
        "key.format": "raw",
        "key.fields": "record_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": transactional_id_prefix,
        "sink.transaction-naming-strategy": "POOLING",
        "properties.transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
        "properties.compression.type": "lz4",
        # A bundle of Python's leaves over some 20 ms; with 10 the broker had it in small batches: side by side 15.8 of
        # its core-s per million events, 12.3 with 40. A clean record waits as long: hence not 40.
        "properties.linger.ms": "20",
        "properties.batch.size": "262144",
        "properties.max.request.size": "9437184",  # schemas/topics/quarantine.rejects.yaml
        "properties.buffer.memory": "67108864",
    }
    return f"""
CREATE TABLE {OUTPUTS} (
  topic STRING NOT NULL METADATA,
  record_key BYTES,
  record BYTES
) WITH (
  {_options(options)}
)"""


def _options(options: dict[str, str]) -> str:
    return ",\n  ".join("'{}' = '{}'".format(k, v.replace("'", "''")) for k, v in options.items())
