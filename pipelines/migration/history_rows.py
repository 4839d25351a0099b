"""A chunk of the old system into the rows of our tables, by the very rules the stream has.

Same functions, same order: identifiers to tokens, the customer, the rules, numbers in text. What differs is where a row
comes from (declared columns instead of a channel's parser) and what is no question any more: whether a complaint of
years ago is clear enough is not asked of anybody unless the declaration wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines import contracts
from pipelines.channels.instants import possible_since_us
from pipelines.channels.interaction import Interaction
from pipelines.cleaning.batch import INTERACTION_TYPES, event_id
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.customer import IDENTIFIERS, join_customer, tokenise_identifiers
from pipelines.cleaning.judge import judge
from pipelines.cleaning.process import destinations
from pipelines.cleaning.source_records import crm_record_key
from pipelines.migration.chunks import Chunk
from pipelines.migration.columns import Column
from pipelines.migration.conversions import MISSING, Converted, convert, reason
from pipelines.migration.declaration import SourceTable
from pipelines.privacy.free_text import redact, redact_json
from pipelines.privacy.payloads import coordinates

REJECTS, REVIEW = "quarantine.rejects", "review.queue"
LAST_OUTPUT = REJECTS  # of every source table; as far as it has come, so have all others
KEY_TWICE = "migration.key_twice"
OTHER_TARGET, OUT_OF_RANGE = "migration.other_target", "time.out_of_range"
_TABLE_OF_TOPIC = {
    "interactions.clean": "silver.interactions", "feedback.clean": "silver.feedback",
    "ticket_events.clean": "silver.ticket_events", "orders.clean": "silver.orders",
    "customers.clean": "silver.customers", REJECTS: REJECTS, REVIEW: REVIEW,
}  # fmt: skip
_CLEAR_NAME = {column: name for name, (_, column) in IDENTIFIERS.items()}
_INSTANT = pa.timestamp("us", tz="UTC")
REVOKED = "revoked"


class Judged(NamedTuple):
    """Rows by table, and the vault's entries of the personal values met: (token, JSON)."""

    tables: dict[str, pa.Table]
    vault: list[tuple[str, str]]


def outputs(table: SourceTable) -> tuple[str, ...]:
    """Every table that a chunk of this source table may write to, in the order of writing."""
    return (*table.targets, *((REVIEW,) if table.review else ()), LAST_OUTPUT)


def judged(chunk: Chunk, table: SourceTable, context: CleaningContext, processed_us: int) -> Judged:
    """The chunk as rows of our tables: each of its rows stands in exactly one of them.

    Raises AssertionError when the rows that come out are not as many as went in.
    """
    frame, bad = _converted(chunk, table, context)
    frame = join_customer(tokenise_identifiers(frame, context), context)
    frame = judge(frame.hstack(_places(chunk, processed_us)), context)
    if not table.review:
        doubtful = pl.col("route") == "review"
        frame = frame.with_columns(
            *(pl.when(doubtful).then(None).otherwise(pl.col(name)).alias(name) for name in ("rule", "reason")),
            pl.when(doubtful).then(pl.lit("kept")).otherwise(pl.col("route")).alias("route"),
        )
    for row in np.flatnonzero(chunk.repeats_each()).tolist():
        bad[row] = KEY_TWICE, f"an earlier row of the files has the same {table.key}; which of them counts is not known"
    frame = _refused(_hidden(frame, table, context), bad)
    frame = _revoked(frame, chunk)
    homes = pl.Series("home", [_TABLE_OF_TOPIC[topic] for topic in destinations(frame)], dtype=pl.String)
    astray = ~homes.is_in([*table.targets, REJECTS, REVIEW])
    if astray.any():
        frame = _refused(frame, {row: (OTHER_TARGET, _astray(homes[row])) for row in astray.arg_true().to_list()})
        homes = homes.set(astray, REJECTS)
    tables = {name: _rows(name, frame, homes, chunk, context) for name in outputs(table)}
    if sum(rows.num_rows for rows in tables.values()) != len(chunk):
        raise AssertionError(f"{len(chunk)} rows of {chunk.topic} came in, {tables} went out")
    return Judged(tables, context.vault.drain())


def _astray(home: str) -> str:
    return f"rows of this kind belong to {home}, which the declaration does not name as a target"


def _converted(
    chunk: Chunk, table: SourceTable, context: CleaningContext
) -> tuple[pl.DataFrame, dict[int, tuple[str, str]]]:
    """Columns of an interaction, and beside them those only records have; and why some rows cannot be one."""
    size, bad = len(chunk), {}
    done: dict[str, pl.Series] = {}
    for column in table.columns:
        source = None if column.source is None else chunk.rows[column.source]
        values = _checked(column, table, convert(column, source, size), chunk, bad)
        done[_name_of(column)] = values
    if table.record_channel:
        at = done["updated_at"]
        done |= {name: pl.Series(name, [word] * size, dtype=pl.String) for name, word in
                 (("channel", table.record_channel), ("kind", "record"), ("sender_role", "system"))}  # fmt: skip
        done |= {"occurred_at_us": at, "source_message_id": pl.Series(chunk.keys, dtype=pl.String)}
    done["source_revision"] = pl.Series(chunk.revision_of_each(), dtype=pl.Int32)
    made = [done.pop(name, pl.Series([None] * size, dtype=kind)).cast(kind).alias(name)
            for name, kind in INTERACTION_TYPES.items()]  # fmt: skip
    rest = [_coded(values, table.column(name), context).alias(name) for name, values in done.items()
            if name not in ("channel", "account")]  # fmt: skip
    heads = [done["channel"].alias("channel"), done["account"].alias("account")]
    frame = pl.DataFrame([*heads, *made, *rest])
    return frame.hstack([_event_ids(frame)]), bad


def _name_of(column: Column) -> str:
    """Where the converted column stands in the frame that the rules look at."""
    if column.target == "occurred_at":
        return "occurred_at_us"
    return _CLEAR_NAME.get(column.target, column.target)


def _checked(
    column: Column, table: SourceTable, done: Converted, chunk: Chunk, bad: dict[int, tuple[str, str]]
) -> pl.Series:
    """Notes the first thing that is wrong with each row; what is wrong is NULL from here on."""
    found = [(done.rule, done.bad)]
    if column.target in table.required:
        found.append((MISSING, done.values.is_null() & ~done.bad))
    if column.target == ("updated_at" if table.record_channel else "occurred_at"):  # when a record happened
        late_us = chunk.received_us + contracts.policy("channels")["time"]["max_ahead_s"] * 1_000_000
        outside = ((done.values < possible_since_us()) | (done.values > late_us)).fill_null(False)
        found.append((OUT_OF_RANGE, outside))
    for rule, rows in found:
        for row in rows.arg_true().to_list() if rows.any() else ():
            why = "the row's time cannot be: before the year 2000, or not yet" if rule == OUT_OF_RANGE else None
            bad.setdefault(row, (rule, why or reason(rule, column)))
    return done.values


def _coded(values: pl.Series, column: Column | None, context: CleaningContext) -> pl.Series:
    """Tokens of personal values that are no identifiers: names, birth dates, addresses, the CRM's number."""
    if column is None or column.tokenise is None:
        return values
    if column.tokenise == "crm":
        return pl.Series(
            [None if v is None else crm_record_key(v, context.record_key) for v in values], dtype=pl.String
        )
    return context.tokeniser.tokens(values, column.tokenise)


def _event_ids(frame: pl.DataFrame) -> pl.Series:
    """As the stream makes them: equal for the same message of the same account, whichever way it came."""
    names = ("channel", "account", "source_message_id", "source_revision")
    made = [event_id(channel or "", account or "", Interaction(key, revision), 0, b"")
            for channel, account, key, revision in zip(*(frame[n] for n in names), strict=True)]  # fmt: skip
    return pl.Series("event_id", made, dtype=pl.String)


def _places(chunk: Chunk, processed_us: int) -> list[pl.Series]:
    size = len(chunk)
    return [
        pl.Series("raw_topic", [chunk.topic] * size, dtype=pl.String),
        pl.Series("raw_partition", [chunk.partition] * size, dtype=pl.Int32),
        pl.Series("raw_offset", chunk.offsets, dtype=pl.Int64),
        pl.Series("attempt", [0] * size, dtype=pl.Int32),
        pl.Series("received_at", [chunk.received_us] * size, dtype=pl.Int64),
        pl.Series("processed_at", [processed_us] * size, dtype=pl.Int64),
    ]


def _hidden(frame: pl.DataFrame, table: SourceTable, context: CleaningContext) -> pl.DataFrame:
    kinds = frozenset(context.policies["privacy"]["free_text"]["kinds"])
    columns = {}
    for column in table.columns:
        if column.redacted or column.redacted_json:
            hide = redact if column.redacted else redact_json
            columns[column.target] = hide(frame[column.target], context.tokeniser, kinds=kinds).alias(column.target)
    return frame.with_columns(**columns) if columns else frame


def _refused(frame: pl.DataFrame, bad: Mapping[int, tuple[str, str]]) -> pl.DataFrame:
    """What could not be converted is a reject, whatever the rules thought of the rest of the row."""
    if not bad:
        return frame
    at = list(bad)
    return frame.with_columns(
        frame["route"].scatter(at, ["rejected"] * len(at)),
        frame["rule"].scatter(at, [rule for rule, _ in bad.values()]),
        frame["reason"].scatter(at, [why for _, why in bad.values()]),
    )


def _revoked(frame: pl.DataFrame, chunk: Chunk) -> pl.DataFrame:
    """A row that the source has no more: its newest revision is a record ``revoked`` without words, in its table."""
    if not any(chunk.deleted_each()):
        return frame
    gone = pl.Series(chunk.deleted_each())
    # The table is found by the kind it had; so the kind is changed where the row is written (`_rows`).
    return frame.with_columns(
        pl.when(gone).then(pl.lit(REVOKED)).otherwise(pl.col("outcome")).alias("outcome"),
        *(pl.when(gone).then(None).otherwise(pl.col(name)).alias(name) for name in ("text", "subject", "attributes")),
        gone.alias("_gone"),
    )


def _rows(name: str, frame: pl.DataFrame, homes: pl.Series, chunk: Chunk, context: CleaningContext) -> pa.Table:
    schema = contracts.arrow_schema(contracts.table(name))
    mine = homes == name
    rows = frame.filter(mine)
    if name in (REJECTS, REVIEW) and len(rows):
        rows = rows.hstack(_sealed(chunk, mine, context))
    if "_gone" in rows.columns:
        rows = rows.with_columns(pl.when("_gone").then(pl.lit("record")).otherwise("kind").alias("kind"))
    columns = []
    for field in schema:
        if field.name == "received_date":
            day = pa.array([chunk.received_us], pa.int64()).cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
            columns.append(pa.array([day[0].as_py()] * len(rows), pa.date32()))
        elif field.name not in rows.columns:
            columns.append(pa.nulls(len(rows), field.type))
        else:
            values = rows[field.name].to_arrow()
            columns.append(
                values.cast(pa.int64()).cast(_INSTANT) if field.type == _INSTANT else values.cast(field.type)
            )
    return pa.table(columns, schema=schema)


def _sealed(chunk: Chunk, mine: pl.Series, context: CleaningContext) -> list[pl.Series]:
    """The row's bytes, where a person or a second run will need them."""
    at = mine.arg_true().to_list()
    picked = Chunk(chunk.rows[at], [chunk.keys[row] for row in at], chunk.topic, chunk.partition, 0, 0)
    payloads = picked.payloads()
    sealed = [
        context.sealer.seal(payload, coordinates(chunk.topic, chunk.partition, chunk.first_offset + row))
        for row, payload in zip(at, payloads, strict=True)
    ]
    sizes = pl.Series("payload_bytes", list(map(len, payloads)), dtype=pl.Int64)
    return [pl.Series("payload_encrypted", sealed, dtype=pl.String), sizes]
