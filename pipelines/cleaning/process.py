"""A batch of raw messages in, one judged record a message out: parse, rules, tokens, customer, encoding.

Called with whole batches by the Flink job and by anything that wants the same verdicts; no clock, no network, no
engine. Each message is judged on its own, so a result does not depend on how messages were batched.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from itertools import compress

import polars as pl

from pipelines import contracts
from pipelines.channels.interaction import Reject
from pipelines.cleaning import source_records
from pipelines.cleaning.batch import RAW_PREFIX, ParsedBatch, RawBatch, misplaced, parse, raw_ref, raw_refs
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.customer import join_customer, tokenise_identifiers
from pipelines.cleaning.json_lines import json_line, json_lines
from pipelines.cleaning.judge import judge
from pipelines.collectors.regions import DEFAULT_ACCOUNT
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
Columns = dict[str, list]
KEPT_TOPICS = ("interactions.clean", "feedback.clean", "ticket_events.clean", "customers.clean", "orders.clean")
REJECTS, REVIEW = "quarantine.rejects", "review.queue"
FIRST_PLACE = {"first_topic": pl.String, "first_partition": pl.Int32, "first_offset": pl.Int64}
_TOPIC_BY_ROUTE = {"rejected": REJECTS, "review": REVIEW}
_TOPIC_BY_KIND = dict.fromkeys(("feedback", "complaint"), "feedback.clean")
_TOPIC_BY_CHANNEL = {"ticket_system": "ticket_events.clean", **source_records.CLEAN_TOPICS}
_RECORD_KEY = pl.coalesce("customer_id", "session_id", "raw_ref")


def clean(batch: RawBatch, context: CleaningContext, processed_us: int) -> pl.DataFrame:
    """What `clean_columns` gives, as a frame with the columns of ``OUTPUT_TYPES``."""
    return pl.DataFrame(clean_columns(batch, context, processed_us), schema=OUTPUT_TYPES)


def clean_columns(batch: RawBatch, context: CleaningContext, processed_us: int) -> Columns:
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
            [row] = _rejected(batch, [(0, Reject("cleaning.failed", reason))], context, processed_us)
            return dict(zip(OUTPUT_TYPES, ([value] for value in row), strict=True))
        step = max(size // _CHUNK, 1)
        parts = [clean_columns(batch.rows(slice(at, at + step)), context, processed_us) for at in range(0, size, step)]
        return {name: [value for part in parts for value in part[name]] for name in OUTPUT_TYPES}


def _clean(batch: RawBatch, context: CleaningContext, processed_us: int) -> Columns:
    parsed = parse(batch, misplaced(batch, context.regions, context.region))
    columns = _judged(batch, parsed, context, processed_us) if parsed.positions else {name: [] for name in OUTPUT_TYPES}
    rejected = _rejected(batch, parsed.rejects, context, processed_us)
    for (position, _), row in zip(parsed.rejects, rejected, strict=True):  # ascending, so each lands where it stood
        for column, value in zip(columns.values(), row, strict=True):
            column.insert(position, value)
    if len(columns["record"]) != len(batch.topics):
        raise AssertionError(f"{len(batch.topics)} messages came in, {len(columns['record'])} verdicts went out")
    if columns["vault_entries"]:  # those of the whole batch ride on its first row: which one has no meaning
        columns["vault_entries"][0] = [f"{token}|{value}" for token, value in context.vault.drain()] or None
    return columns


def _judged(batch: RawBatch, parsed: ParsedBatch, context: CleaningContext, processed_us: int) -> Columns:
    """The readable messages: rules on the clear text, then tokens, then the customer, then the record."""
    frame = join_customer(tokenise_identifiers(parsed.interactions, context), context)
    frame = judge(frame.hstack(_place(batch, parsed.positions, processed_us)), context)
    columns: dict[int, dict] = {}
    if source_records.some_in(batch.topics):
        frame, columns = source_records.take_out(frame, context)
    kinds = frozenset(context.policies["privacy"]["free_text"]["kinds"])
    for name, hide in (("text", redact), ("subject", redact), ("outcome", redact), ("attributes", redact_json)):
        frame = frame.replace_column(frame.get_column_index(name), hide(frame[name], context.tokeniser, kinds=kinds))
    topics = destinations(frame)
    records = _records(frame.hstack(_sealed(topics, parsed.positions, batch, context)), topics)
    for row, stated in columns.items():
        if topics[row] in KEPT_TOPICS:
            records[row] = source_records.merged(records[row], stated)
    keys = frame.select(_RECORD_KEY).to_series().to_list()
    made = {"topic": topics, "record_key": keys, "record": records, "vault_entries": [None] * len(frame)}
    known = {"occurred_us": "occurred_at", "received_us": "received_at"}
    return {name: made[name] if name in made else frame[known.get(name, name)].to_list() for name in OUTPUT_TYPES}


def _rejected(
    batch: RawBatch, rejects: list[tuple[int, Reject]], context: CleaningContext, processed_us: int
) -> list[tuple]:
    """Output rows of the unreadable messages. Nothing is known of them but their place: each is an event of its own."""
    rows = []
    for position, reject in rejects:
        topic, payload = batch.topics[position], batch.payloads[position] or b""
        where = topic, batch.partitions[position], batch.offsets[position]
        known = dict(zip(FIRST_PLACE, _first_place(batch.first_refs[position]), strict=True))
        known |= dict(zip(("raw_topic", "raw_partition", "raw_offset"), where, strict=True))
        known |= {"attempt": batch.attempts[position], "channel": topic.removeprefix(RAW_PREFIX)}
        known |= {"account": batch.accounts[position] or DEFAULT_ACCOUNT, "received_at": batch.received_us[position]}
        known |= {"source_ref": batch.source_refs[position]}
        known |= {"processed_at": processed_us, "rule": reject.rule, "reason": reject.reason}
        known |= {"payload_bytes": len(payload), "payload_encrypted": context.sealer.seal(payload, coordinates(*where))}
        record = json_line({name: known[name] for name in _fields(REJECTS) if known[name] is not None})
        ref = raw_ref(*where)
        rows.append((ref, ref, REJECTS, ref, record, None, None, known["received_at"], known["attempt"], None))
    return rows


def destinations(frame: pl.DataFrame) -> list[str]:
    """The topic each record belongs to: by its route, else by its kind, else by its channel."""
    places = zip(frame["route"], frame["kind"], frame["channel"], strict=True)
    return [
        _TOPIC_BY_ROUTE.get(route) or _TOPIC_BY_KIND.get(kind) or _TOPIC_BY_CHANNEL.get(channel, "interactions.clean")
        for route, kind, channel in places
    ]


def _place(batch: RawBatch, positions: list[int], processed_us: int) -> list[pl.Series]:
    """Where each message stands, and where its first attempt stood if any message of the batch is a replay."""
    columns = {
        "raw_ref": (raw_refs(batch), pl.String),
        "raw_topic": (batch.topics, pl.String),
        "raw_partition": (batch.partitions, pl.Int32),
        "raw_offset": (batch.offsets, pl.Int64),
        "attempt": (batch.attempts, pl.Int32),
        "received_at": (batch.received_us, pl.Int64),
    }
    if any(batch.source_refs):
        columns |= {"source_ref": (batch.source_refs, pl.String)}
    if any(batch.first_refs):
        firsts = zip(*map(_first_place, batch.first_refs), strict=True)
        columns |= {name: (values, FIRST_PLACE[name]) for name, values in zip(FIRST_PLACE, firsts, strict=True)}
    return [
        pl.Series("processed_at", [processed_us] * len(positions), dtype=pl.Int64),
        *(pl.Series(n, [values[p] for p in positions], dtype=dtype) for n, (values, dtype) in columns.items()),
    ]


def _first_place(ref: str | None) -> tuple[str | None, int | None, int | None]:
    """Topic, partition and offset of ``topic|partition|offset``; a header of a replay, so it may hold anything."""
    if ref is None:
        return None, None, None
    topic, partition, offset = [*ref.split("|"), "", ""][:3]
    return topic, _whole_number(partition, 2**31), _whole_number(offset, 2**63)


def _whole_number(text: str, limit: int) -> int | None:
    plain = text.isascii() and text.isdigit() and len(text) < 20  # Python reads no number of 4,300 digits
    return int(text) if plain and int(text) < limit else None


def _sealed(topics: list[str], positions: list[int], batch: RawBatch, context: CleaningContext) -> list[pl.Series]:
    """The encrypted bytes and their size where a person or a replay will need them: rejects and review rows."""
    sealed: list[str | None] = [None] * len(topics)
    sizes: list[int | None] = [None] * len(topics)
    for row, (position, topic) in enumerate(zip(positions, topics, strict=True)):
        if topic in (REJECTS, REVIEW):
            payload = batch.payloads[position] or b""
            where = coordinates(batch.topics[position], batch.partitions[position], batch.offsets[position])
            sealed[row], sizes[row] = context.sealer.seal(payload, where), len(payload)
    return [pl.Series("payload_encrypted", sealed, dtype=pl.String), pl.Series("payload_bytes", sizes, dtype=pl.Int64)]


def _records(frame: pl.DataFrame, topics: list[str]) -> list[str | None]:
    """The record of each row as JSON with exactly the fields its topic's contract lists."""
    records: list[str | None] = [None] * len(frame)
    present, met = set(frame.columns), set(topics)
    for group in _same_fields():
        if met.isdisjoint(group):
            continue
        belongs = [topic in group for topic in topics]
        mask = pl.Series(belongs)
        columns = [frame[name].filter(mask) for name in _fields(group[0]) if name in present]
        for row, record in zip(compress(range(len(frame)), belongs), json_lines(columns), strict=True):
            records[row] = record
    return records


@lru_cache(maxsize=1)
def _same_fields() -> list[list[str]]:
    """Output topics in groups whose records have the same fields: kept contacts of all three are encoded in one go."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in (*KEPT_TOPICS, REJECTS, REVIEW):
        groups.setdefault(_fields(name), []).append(name)
    return list(groups.values())


@lru_cache(maxsize=16)
def _fields(topic: str) -> tuple[str, ...]:
    return tuple(f.name for f in contracts.topic(topic).fields)
