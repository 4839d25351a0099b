"""What the Spark peer runs in its Python workers: the same rules and the same encryption, batch by Arrow batch.

A module of its own, so that workers import it and keep the context from batch to batch, as the Flink workers do.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator

import pyarrow as pa

# As the Flink workers: two of them share the cores, and a pool of its own only adds queues.
os.environ["POLARS_MAX_THREADS"] = "1"

CLEANED = pa.schema(
    [
        ("event_id", pa.string()),
        ("topic", pa.string()),
        ("record", pa.string()),
        ("feedback_key", pa.string()),
        ("occurred_us", pa.int64()),
        ("attempt", pa.int32()),
        ("vault_entries", pa.list_(pa.string())),
        ("raw_topic", pa.string()),
        ("raw_partition", pa.int32()),
        ("raw_offset", pa.int64()),
        ("received_at", pa.timestamp("us", "UTC")),
    ]
)
# What the rules say of a message; where it stands and when it came is known before.
JUDGED = CLEANED.names[:7]
CLEANED_SQL = (
    "event_id string, topic string, record string, feedback_key string, occurred_us long, attempt int, "
    "vault_entries array<string>, raw_topic string, raw_partition int, raw_offset long, received_at timestamp"
)


@functools.cache
def _context(keys_file: str):
    from pipelines.cleaning.context import CleaningContext
    from pipelines.io.batch_memory import CollectBetweenBatches
    from pipelines.privacy.keys import MasterKey

    # The collector as the Flink workers have it.
    return CleaningContext.create(MasterKey.load(keys_file)), CollectBetweenBatches()


@functools.cache
def _ciphers(keys_file: str, topic_ids: tuple[tuple[str, str], ...]):
    from pipelines.privacy.bronze_cipher import BronzeCipher, topic_id_bytes
    from pipelines.privacy.keys import MasterKey

    key = MasterKey.load(keys_file)
    return {topic: BronzeCipher(key, topic_id_bytes(topic_id)) for topic, topic_id in topic_ids}


def clean_batches(batches: Iterator[pa.RecordBatch], *, keys_file: str) -> Iterator[pa.RecordBatch]:
    """Kafka rows in (value, topic, partition, offset, timestamp, account, source_ref), judged rows out."""
    from pipelines.cleaning.batch import RawBatch
    from pipelines.cleaning.process import clean

    context, memory = _context(keys_file)
    for batch in batches:
        memory.before(batch.num_rows)
        if not batch.num_rows:
            continue
        column = {name: batch.column(name) for name in batch.schema.names}
        received = column["timestamp"].cast(pa.timestamp("us", "UTC"))
        raw = RawBatch(
            column["value"].to_pylist(),
            column["topic"].to_pylist(),
            column["partition"].to_pylist(),
            column["offset"].to_pylist(),
            received.cast(pa.int64()).to_pylist(),
            column["account"].to_pylist(),
            column["source_ref"].to_pylist(),
            [0] * batch.num_rows,
            [None] * batch.num_rows,
        )
        judged = clean(raw, context, time.time_ns() // 1000)
        table = judged.select(JUDGED).to_arrow()
        place = {"raw_topic": "topic", "raw_partition": "partition", "raw_offset": "offset"}
        for name, source in place.items():
            table = table.append_column(name, column[source])
        table = table.append_column("received_at", received).cast(CLEANED)
        yield from table.combine_chunks().to_batches()


def encrypt_batches(
    batches: Iterator[pa.RecordBatch], *, keys_file: str, topic_ids: tuple[tuple[str, str], ...]
) -> Iterator[pa.RecordBatch]:
    """Adds ``payload_ciphertext``: the bytes as bronze keeps them, in runs of one topic."""
    ciphers = _ciphers(keys_file, topic_ids)
    for batch in batches:
        topics = batch.column("raw_topic").to_pylist()
        partitions, offsets = batch.column("raw_partition").to_pylist(), batch.column("raw_offset").to_pylist()
        payloads = batch.column("value").to_pylist()
        sealed: list[bytes | None] = []
        start = 0
        while start < len(topics):
            end = start + 1
            while end < len(topics) and topics[end] == topics[start]:
                end += 1
            sealed += ciphers[topics[start]].encrypt(partitions[start:end], offsets[start:end], payloads[start:end])
            start = end
        kept = batch.schema.names.index("value")
        arrays = [array for at, array in enumerate(batch.columns) if at != kept] + [pa.array(sealed, pa.binary())]
        names = [name for name in batch.schema.names if name != "value"] + ["payload_ciphertext"]
        yield pa.RecordBatch.from_arrays(arrays, names=names)
