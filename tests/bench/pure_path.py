"""The way of a message without an engine: the cleaning function on batches, then the engine's de-duplication."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import polars as pl

from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.process import clean

HOUR_US = 3_600_000_000
ROUTES = {"quarantine.rejects": "rejected", "review.queue": "review", "quarantine.duplicates": "duplicate"}


@dataclass(frozen=True)
class Outcome:
    """What became of one message."""

    route: str
    rule: str | None
    record: dict


class Message(NamedTuple):
    """A raw message as the broker would hand it over."""

    topic: str
    payload: bytes
    received_us: int
    account: str | None = None


def judge(
    messages: Sequence[Message], context: CleaningContext, *, batch_rows: int = 5000
) -> tuple[list[Outcome], float]:
    """Outcomes of the messages in that order, and the seconds of CPU the cleaning took."""
    frames, started_s = [], time.process_time()
    for at in range(0, len(messages), batch_rows):
        frames.append(clean(_batch(messages[at : at + batch_rows], at), context, processed_us=0))
    spent_s = time.process_time() - started_s
    window_us = int(context.policies["cleaning"]["duplicate_feedback"]["window_hours"] * HOUR_US)
    return list(_deduplicated(pl.concat(frames).iter_rows(named=True), window_us)), spent_s


def _batch(messages: Sequence[Message], first_offset: int) -> RawBatch:
    size = len(messages)
    topics, payloads, received_us, accounts = zip(*messages, strict=True)
    given = {
        "payloads": payloads,
        "topics": topics,
        "partitions": [0] * size,
        "offsets": list(range(first_offset, first_offset + size)),
        "received_us": received_us,
        "accounts": accounts,
        "attempts": [0] * size,
    }
    return RawBatch(*(given.get(name, [None] * size) for name in RawBatch._fields))


def _deduplicated(rows: Iterable[dict], window_us: int) -> Iterable[Outcome]:
    """As jobs/flink/cleaning_sql.py does it: first of its event_id, then feedback against the previous with its key."""
    seen: set[str] = set()
    previous: dict[str, int] = {}
    for row in rows:
        record = orjson.loads(row["record"])
        if row["event_id"] in seen:
            yield Outcome("duplicate", "event_id", record)
            continue
        seen.add(row["event_id"])
        key = row["feedback_key"]
        if key is not None:
            before_us, previous[key] = previous.get(key), row["occurred_us"]
            if before_us is not None and abs(row["occurred_us"] - before_us) <= window_us:
                yield Outcome("duplicate", "feedback.repeated", record)
                continue
        yield Outcome(ROUTES.get(row["topic"], "kept"), record.get("rule"), record)
