"""A batch of raw messages in, one judged record a message out: parse, rules, tokens, customer, encoding.

Called with whole batches by the Flink job and by anything that wants the same verdicts; no clock, no network, no
engine. Each message is judged on its own, so a result does not depend on how messages were batched.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import polars as pl

from pipelines import contracts
from pipelines.channels.interaction import Reject
from pipelines.cleaning.batch import ParsedBatch, RawBatch, parse, raw_refs
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.customer import join_customer, tokenise_identifiers
from pipelines.cleaning.json_lines import json_lines
from pipelines.cleaning.judge import judge
from pipelines.privacy.free_text import redact, redact_json
from pipelines.privacy.payloads import coordinates

LOG = logging.getLogger(__name__)

OUTPUT_TYPES = {
    "event_id": pl.String,
    "raw_ref": pl.String,
    "topic": pl.String,
    "record_key": pl.String,
    "record": pl.String,
    "feedback_key": pl.String,
    "occurred_us": pl.Int64,
    "received_us": pl.Int64,
    "attempt": pl.Int32,
    "vault_entries": pl.List(pl.String),
}
_CHUNK = 64
KEPT_TOPICS = ("interactions.clean", "feedback.clean", "ticket_events.clean")
REJECTS, REVIEW = "quarantine.rejects", "review.queue"


def clean(batch: RawBatch, context: CleaningContext, processed_us: int) -> pl.DataFrame:
    """Judge a batch; one row a message in the order of the batch, columns as ``OUTPUT_TYPES``.

    ``topic`` is where the record belongs unless the engine finds it seen before; ``feedback_key`` is NULL except for
    feedback that may repeat; ``vault_entries`` are ``token|json`` of personal values met for the first time. A message
    that makes a rule fail becomes a reject ``cleaning.failed`` with its bytes; the rest of the batch goes on.
    """
    try:
        return _clean(batch, context, processed_us)
    except Exception as error:
        size = len(batch.topics)
        if size == 1:
            LOG.exception("message %s could not be cleaned", raw_refs(batch)[0])
            reason = f"The cleaning failed with {type(error).__name__}; the bytes are kept, see the log of the job."
            return _assemble(batch, [_rejected(batch, [(0, Reject("cleaning.failed", reason))], context, processed_us)])
        step = max(size // _CHUNK, 1)
        parts = [clean(batch.rows(slice(at, at + step)), context, processed_us) for at in range(0, size, step)]
        return pl.concat(parts)


def _clean(batch: RawBatch, context: CleaningContext, processed_us: int) -> pl.DataFrame:
    parsed = parse(batch)
    parts = [_rejected(batch, parsed.rejects, context, processed_us)] if parsed.rejects else []
    if parsed.positions:
        parts.append(_judged(batch, parsed, context, processed_us))
    return _with_vault(_assemble(batch, parts), context.vault.drain())


def _judged(batch: RawBatch, parsed: ParsedBatch, context: CleaningContext, processed_us: int) -> pl.DataFrame:
    """The readable messages: rules on the clear text, then tokens, then the customer, then the record."""
    place = _place(batch, parsed.positions, processed_us)
    frame = join_customer(tokenise_identifiers(parsed.interactions, context), context)
    frame = pl.concat([place, frame], how="horizontal")
    frame = judge(frame, context)
    kinds = frozenset(context.policies["privacy"]["free_text"]["kinds"])
    frame = frame.with_columns(
        redact(frame["text"], context.tokeniser, kinds=kinds).alias("text"),
        redact(frame["subject"], context.tokeniser, kinds=kinds).alias("subject"),
        redact_json(frame["attributes"], context.tokeniser, kinds=kinds).alias("attributes"),
    )
    kept = pl.when(pl.col("kind").is_in(["feedback", "complaint"])).then(pl.lit("feedback.clean"))
    kept = kept.when(pl.col("channel") == "ticket_system").then(pl.lit("ticket_events.clean"))
    topic = (
        pl.when(pl.col("route") == "rejected")
        .then(pl.lit(REJECTS))
        .when(pl.col("route") == "review")
        .then(pl.lit(REVIEW))
        .otherwise(kept.otherwise(pl.lit("interactions.clean")))
    )
    frame = frame.with_columns(topic.alias("topic"))
    return _encoded(_sealed(frame, batch, context))


def _rejected(
    batch: RawBatch, rejects: list[tuple[int, Reject]], context: CleaningContext, processed_us: int
) -> pl.DataFrame:
    """The unreadable messages. Nothing is known of them but their place, so each is an event of its own."""
    place = _place(batch, [position for position, _ in rejects], processed_us)
    frame = place.with_columns(
        pl.col("raw_ref").alias("event_id"),
        pl.col("raw_topic").str.slice(len("raw.")).alias("channel"),
        pl.Series("account", [batch.accounts[position] or "default" for position, _ in rejects], dtype=pl.String),
        pl.Series("rule", [reject.rule for _, reject in rejects], dtype=pl.String),
        pl.Series("reason", [reject.reason for _, reject in rejects], dtype=pl.String),
        pl.lit(REJECTS).alias("topic"),
        pl.lit(None, dtype=pl.String).alias("feedback_key"),
        pl.lit(None, dtype=pl.Int64).alias("occurred_at"),
    )
    return _encoded(_sealed(frame, batch, context))


def _place(batch: RawBatch, positions: list[int], processed_us: int) -> pl.DataFrame:
    refs = raw_refs(batch)

    def column(name: str, values: list, dtype: pl.DataType) -> pl.Series:
        return pl.Series(name, [values[p] for p in positions], dtype=dtype)

    return pl.DataFrame(
        [
            pl.Series("position", positions, dtype=pl.Int32),
            column("raw_ref", refs, pl.String),
            column("raw_topic", batch.topics, pl.String),
            column("raw_partition", batch.partitions, pl.Int32),
            column("raw_offset", batch.offsets, pl.Int64),
            column("attempt", batch.attempts, pl.Int32),
            column("received_at", batch.received_us, pl.Int64),
            column("first_ref", batch.first_refs, pl.String),
        ]
    ).with_columns(
        pl.lit(processed_us, dtype=pl.Int64).alias("processed_at"),
        _part("first_ref", 0).alias("first_topic"),
        _part("first_ref", 1).cast(pl.Int32, strict=False).alias("first_partition"),
        _part("first_ref", 2).cast(pl.Int64, strict=False).alias("first_offset"),
    )


def _part(reference: str, number: int) -> pl.Expr:
    return pl.col(reference).str.split("|").list.get(number, null_on_oob=True)


def _sealed(frame: pl.DataFrame, batch: RawBatch, context: CleaningContext) -> pl.DataFrame:
    """Adds the encrypted bytes and their size where a person or a replay will need them: rejects and review rows."""
    wanted = frame["topic"].is_in([REJECTS, REVIEW]).to_list()
    sealed: list[str | None] = [None] * len(frame)
    sizes: list[int | None] = [None] * len(frame)
    for row, (position, needed) in enumerate(zip(frame["position"], wanted, strict=True)):
        if needed:
            payload = batch.payloads[position] or b""
            where = coordinates(batch.topics[position], batch.partitions[position], batch.offsets[position])
            sealed[row], sizes[row] = context.sealer.seal(payload, where), len(payload)
    return frame.with_columns(
        pl.Series("payload_encrypted", sealed, dtype=pl.String), pl.Series("payload_bytes", sizes, dtype=pl.Int64)
    )


def _encoded(frame: pl.DataFrame) -> pl.DataFrame:
    """The record of each row as JSON with exactly the fields its topic's contract lists."""
    key = pl.coalesce(*(n for n in ("customer_id", "session_id", "raw_ref") if n in frame.columns))
    parts = []
    for topics in _same_fields():
        rows = frame.filter(pl.col("topic").is_in(topics))
        if len(rows) == 0:
            continue
        names = [n for n in _fields(topics[0]) if n in rows.columns]
        parts.append(
            rows.select(
                "position", "event_id", "raw_ref", "topic", "feedback_key",
                key.alias("record_key"),
                pl.col("occurred_at").alias("occurred_us"),
                json_lines(rows.select(names)).alias("record"),
                pl.col("received_at").alias("received_us"),
                "attempt",
            )
        )  # fmt: skip
    return pl.concat(parts)


def _same_fields() -> list[list[str]]:
    """Output topics in groups whose records have the same fields: the three kept ones are encoded in one go."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in (*KEPT_TOPICS, REJECTS, REVIEW):
        groups.setdefault(_fields(name), []).append(name)
    return list(groups.values())


@lru_cache(maxsize=16)
def _fields(topic: str) -> tuple[str, ...]:
    return tuple(f.name for f in contracts.topic(topic).fields)


def _assemble(batch: RawBatch, parts: list[pl.DataFrame]) -> pl.DataFrame:
    """All rows in the batch's order, no vault entries yet."""
    if not parts:
        return pl.DataFrame(schema=OUTPUT_TYPES)
    whole = pl.concat([part.select(sorted(part.columns)) for part in parts]).sort("position")
    if len(whole) != len(batch.topics):
        raise AssertionError(f"{len(batch.topics)} messages came in, {len(whole)} verdicts went out")
    nothing = pl.lit(None, dtype=OUTPUT_TYPES["vault_entries"]).alias("vault_entries")
    return whole.with_columns(nothing).select(list(OUTPUT_TYPES))


def _with_vault(frame: pl.DataFrame, entries: list[tuple[str, str]]) -> pl.DataFrame:
    """The vault entries of the batch ride on its first row: which row carries them has no meaning."""
    if not entries:
        return frame
    carried = [[f"{token}|{value}" for token, value in entries]] + [None] * (len(frame) - 1)
    return frame.with_columns(pl.Series("vault_entries", carried, dtype=OUTPUT_TYPES["vault_entries"]))
