"""Kafka messages into Arrow: raw bytes into bronze rows, JSON records into the rows of their table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as paj
from confluent_kafka import Message

from pipelines.contracts import Table, Topic, arrow_schema
from pipelines.privacy.bronze_cipher import BronzeCipher

_INSTANT = pa.timestamp("us", tz="UTC")
_MIN_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Unreadable:
    """A message that is no record of its topic, and why in plain words without its content."""

    message: Message
    reason: str

    @property
    def where(self) -> str:
        """Its own coordinates, as text."""
        return f"{self.message.topic()}/{self.message.partition()}/{self.message.offset()}"


@dataclass(frozen=True)
class Rows:
    """The rows of some messages, and the messages that gave none."""

    table: pa.Table
    unreadable: list[Unreadable]


class UnknownColumn(Exception):
    """Records carry a field that the contract lacks; storing them without it would lose it. The message names it."""


# ---- raw topics


def bronze_rows(messages: Sequence[Message], ciphers: Mapping[str, BronzeCipher], schema: pa.Schema) -> pa.Table:
    """Rows of ``bronze.raw_events``: coordinates, clock, key, headers and the encrypted bytes of each message.

    `ciphers` is by topic. Instants are the record's own time (milliseconds, set by the collector).
    """
    topics = [message.topic() for message in messages]
    partitions = [message.partition() for message in messages]
    offsets = [message.offset() for message in messages]
    payloads = [message.value() for message in messages]
    received_at = _instants([message.timestamp()[1] for message in messages])
    columns = {
        "raw_topic": pa.array(topics, pa.string()),
        "raw_partition": pa.array(partitions, pa.int32()),
        "raw_offset": pa.array(offsets, pa.int64()),
        "received_at": received_at,
        "received_date": _date_of(received_at),
        "key_bytes": pa.array([message.key() for message in messages], pa.binary()),
        "headers": pa.array(_headers([message.headers() for message in messages]), pa.string()),
        "payload_bytes": pa.array([None if p is None else len(p) for p in payloads], pa.int64()),
        "payload_ciphertext": pa.array(_encrypted(topics, partitions, offsets, payloads, ciphers), pa.binary()),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _encrypted(
    topics: list[str],
    partitions: list[int],
    offsets: list[int],
    payloads: list[bytes | None],
    ciphers: Mapping[str, BronzeCipher],
) -> list[bytes | None]:
    """Runs of one topic are encrypted together: the client hands messages out by partition, so runs are long."""
    sealed: list[bytes | None] = []
    start, count = 0, len(topics)
    while start < count:
        topic, end = topics[start], start + 1
        while end < count and topics[end] == topic:
            end += 1
        sealed += ciphers[topic].encrypt(partitions[start:end], offsets[start:end], payloads[start:end])
        start = end
    return sealed


def _headers(all_headers: list[list[tuple[str, bytes | None]] | None]) -> list[str | None]:
    """Headers as JSON objects. Most messages repeat those of others, so each distinct list is encoded once."""
    known: dict[tuple, str] = {}
    texts: list[str | None] = []
    for headers in all_headers:
        if not headers:
            texts.append(None)
            continue
        key = tuple(headers)
        text = known.get(key)
        if text is None:
            decoded = {name: None if value is None else value.decode("utf-8", "replace") for name, value in headers}
            text = known[key] = json.dumps(decoded, ensure_ascii=False)
        texts.append(text)
    return texts


# ---- JSON topics


class JsonRecords:
    """Turns the JSON records of one topic into rows of one table, vectorised.

    A record is one JSON object with fields of the topic's contract, instants as integer microseconds. What is no such
    record comes back as Unreadable: found by halving, so one bad record costs a few parses more and no row-wise pass.
    """

    def __init__(self, topic: Topic, table: Table):
        self.topic, self.schema = topic, arrow_schema(table)
        wire = arrow_schema(topic)
        self._wire = pa.schema([pa.field(f.name, f.type) for f in wire])
        keys = [f.name for f in self.schema if not f.nullable and f.name in wire.names]
        self._required = sorted({*topic.required, *keys} & set(self.schema.names))
        self._options = paj.ParseOptions(explicit_schema=self._wire, unexpected_field_behavior="error")
        derived = set(self.schema.names) - set(wire.names) - {"received_date"}
        if derived:
            raise ValueError(f"{table.name}: no field of {topic.name} fills {', '.join(sorted(derived))}")

    def rows(self, messages: Sequence[Message]) -> Rows:
        """Rows in the order of the messages, removals (no value, compacted topics only) last.

        Raises UnknownColumn when a record carries a field that the contract lacks.
        """
        full = [message for message in messages if message.value() is not None]
        empty = [message for message in messages if message.value() is None] if len(full) < len(messages) else []
        tables, unreadable = self._parse(full)
        if empty and self.topic.cleanup == "compact" and self.topic.key in self.schema.names:
            tables.append(self._removals(empty))
        else:
            unreadable += [Unreadable(message, "the record has no value") for message in empty]
        rows = pa.concat_tables(tables) if tables else self.schema.empty_table()
        return Rows(rows, unreadable)

    def _parse(self, messages: list[Message]) -> tuple[list[pa.Table], list[Unreadable]]:
        if not messages:
            return [], []
        try:
            return [self._parsed([message.value() for message in messages])], []
        except (pa.ArrowInvalid, ValueError) as error:
            if len(messages) > 1:
                middle = len(messages) // 2
                (left, bad_left), (right, bad_right) = self._parse(messages[:middle]), self._parse(messages[middle:])
                return left + right, bad_left + bad_right
            self._refuse_unknown_columns(messages[0].value())
            return [], [Unreadable(messages[0], _reason(error))]

    def _parsed(self, values: list[bytes]) -> pa.Table:
        # A value that begins an object gives at least one row; with as many rows as values, each gave exactly one.
        if not all([value[:1] == b"{" for value in values]):
            raise ValueError("not a JSON object")
        joined = b"\n".join(values)
        block = max(_MIN_BLOCK_BYTES, 2 * max(map(len, values)))
        # With threads: what is left to write when the job is done finds idle cores (50,000 rows in 0.2 s, not 0.4).
        options = paj.ReadOptions(use_threads=True, block_size=block)
        try:
            parsed = paj.read_json(pa.BufferReader(joined), options, self._options)
            parsed.validate(full=True)  # invalid UTF-8 is read as it comes, but Arrow's readers do not take it
        except pa.ArrowInvalid:
            joined.decode("utf-8")  # says "not UTF-8" where that is why; 2 us a row, so not asked of all
            raise
        if parsed.num_rows != len(values):
            raise ValueError("not exactly one JSON object")
        for name in self._required:
            if parsed.column(name).null_count:
                raise ValueError(f"required field {name} is missing")
        return self._typed(parsed.select(self._wire.names))

    def _typed(self, parsed: pa.Table) -> pa.Table:
        columns = []
        for field in self.schema:
            if field.name == "received_date" and field.name not in self._wire.names:
                columns.append(_date_of(parsed.column("received_at").cast(_INSTANT)))
            else:
                columns.append(parsed.column(field.name).cast(field.type))
        return pa.table(columns, schema=self.schema)

    def _removals(self, messages: list[Message]) -> pa.Table:
        """A record without a value takes its key away: a row with the key, its time and nothing else."""
        written_at = _instants([message.timestamp()[1] for message in messages])
        keys = pa.array([(message.key() or b"").decode("utf-8", "replace") for message in messages], pa.string())
        columns = []
        for field in self.schema:
            if field.name == self.topic.key:
                columns.append(keys)
            elif field.type == _INSTANT:
                columns.append(written_at)
            elif field.name == "received_date":
                columns.append(_date_of(written_at))
            else:
                columns.append(pa.nulls(len(messages), field.type))
        return pa.table(columns, schema=self.schema)

    def _refuse_unknown_columns(self, value: bytes) -> None:
        try:
            record = json.loads(value)
        except ValueError:
            return
        if isinstance(record, dict) and (unknown := sorted(set(record) - set(self._wire.names))):
            raise UnknownColumn(
                f"records of {self.topic.name} carry {', '.join(unknown)}, which schemas/topics/{self.topic.name}.yaml "
                "does not list. Add the field to the contract and start the service again; nothing was skipped"
            )


def unreadable_rows(
    unreadable: Sequence[Unreadable], schema: pa.Schema, seal: Callable[[Message], str], processed_at_us: int
) -> pa.Table:
    """Rows of ``quarantine.rejects`` for records no table can take: their own coordinates, reason and sealed bytes."""
    messages = [bad.message for bad in unreadable]
    received_at = _instants([message.timestamp()[1] for message in messages])
    count = len(messages)
    columns = {
        "raw_topic": pa.array([m.topic() for m in messages], pa.string()),
        "raw_partition": pa.array([m.partition() for m in messages], pa.int32()),
        "raw_offset": pa.array([m.offset() for m in messages], pa.int64()),
        "attempt": pa.array([0] * count, pa.int32()),
        "received_at": received_at,
        "received_date": _date_of(received_at),
        "processed_at": pa.array([processed_at_us] * count, pa.int64()).cast(_INSTANT),
        "rule": pa.array(["tiering.unreadable"] * count, pa.string()),
        "reason": pa.array([bad.reason for bad in unreadable], pa.string()),
        "payload_bytes": pa.array([len(m.value() or b"") for m in messages], pa.int64()),
        "payload_encrypted": pa.array([seal(m) for m in messages], pa.string()),
    }
    arrays = [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.table(arrays, schema=schema)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the record is not UTF-8"
    if isinstance(error, pa.ArrowInvalid):
        return "the record is not JSON of the contract's types"  # Arrow's own message would quote the content
    return f"the record is {error}" if str(error).startswith("not") else str(error)


def _instants(milliseconds: list[int]) -> pa.Array:
    return pc.multiply(pa.array(milliseconds, pa.int64()), 1000).cast(_INSTANT)


def _date_of(instants: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return instants.cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
