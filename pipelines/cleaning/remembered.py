"""Messages judged before a restore, told to the job again so that it knows them: no verdict, no row, only memory.

A restored job has no state. Each message judged lately comes once more as its ``event_id`` and raw coordinates, in a
topic of its own beside the raw ones; it takes the same way through the engine, so whatever repeats it afterwards is a
duplicate of the first. Its output goes to a topic that feeds no table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from pipelines.cleaning.batch import RawBatch, raw_ref

SEEN, SEEDED = "restore.seen", "restore.seeded"
Columns = dict[str, list[Any]]


def judged(batch: RawBatch, clean: Callable[[RawBatch], Columns]) -> Columns:
    """What `clean` says of the messages of a batch, and the rows of remembered ones where they stand among them."""
    if SEEN not in batch.topics:
        return clean(batch)
    fresh = [row for row, topic in enumerate(batch.topics) if topic != SEEN]
    columns = clean(RawBatch(*([column[row] for row in fresh] for column in batch)))
    for row, topic in enumerate(batch.topics):
        if topic == SEEN:
            told = _remembered(batch.payloads[row] or b"{}", batch.received_us[row])
            for name, column in columns.items():
                column.insert(row, told[name])
    return columns


def _remembered(payload: bytes, received_us: int) -> dict[str, Any]:
    """The row of one remembered message, columns as `pipelines.cleaning.process.OUTPUT_TYPES`.

    >>> told = record("e1", "raw.app", 0, 7, "k1", 5)
    >>> row = _remembered(told, 9)
    >>> row["event_id"], row["raw_ref"], row["topic"], row["feedback_key"], row["occurred_us"]
    ('e1', 'raw.app|0|7', 'restore.seeded', 'k1', 5)
    """
    one = orjson.loads(payload)
    ref = raw_ref(one["raw_topic"], one["raw_partition"], one["raw_offset"])
    return {
        "event_id": one["event_id"], "raw_ref": ref, "topic": SEEDED, "record_key": ref, "record": payload.decode(),
        "feedback_key": one.get("feedback_key"), "occurred_us": one.get("occurred_at"), "received_us": received_us,
        "attempt": 0, "vault_entries": None,
    }  # fmt: skip


def record(
    event_id: str, topic: str, partition: int, offset: int, feedback_key: str | None, occurred_us: int | None
) -> bytes:
    """A record of ``restore.seen``."""
    told: dict[str, Any] = {"event_id": event_id, "raw_topic": topic, "raw_partition": partition, "raw_offset": offset}
    if feedback_key is not None:
        told |= {"feedback_key": feedback_key, "occurred_at": occurred_us}
    return orjson.dumps(told)
