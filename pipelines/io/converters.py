"""What a tiering stream does with messages: bronze and JSON converters, and the keeper of what cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa
from confluent_kafka import Message

from pipelines.io.committed_log import Source
from pipelines.io.delta import DeltaStore, Move
from pipelines.io.records import JsonRecords, Rows, Unreadable, bronze_rows, unreadable_rows
from pipelines.privacy.bronze_cipher import BronzeCipher, topic_id_bytes
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import PayloadSealer, coordinates


class Converter(Protocol):
    """Messages of a table's topics into its rows."""

    def sources_are(self, sources: Sequence[Source]) -> None:
        """Told at each rewind which topic lives are read."""

    def rows(self, messages: Sequence[Message]) -> Rows:
        """The rows, and what could not be read."""


class BronzeConverter:
    """Raw topics into ``bronze.raw_events``."""

    def __init__(self, key: MasterKey, schema: pa.Schema):
        self._key, self._schema = key, schema
        self._ciphers: dict[str, BronzeCipher] = {}

    def sources_are(self, sources: Sequence[Source]) -> None:
        """One cipher a topic ID."""
        self._ciphers = {s.topic: BronzeCipher(self._key, topic_id_bytes(s.topic_id)) for s in sources}

    def rows(self, messages: Sequence[Message]) -> Rows:
        """Every message is a row: bronze takes bytes as they are."""
        self._key.refresh()
        return Rows(bronze_rows(messages, self._ciphers, self._schema), [])


class JsonConverter:
    """JSON topics with one contract each into one table."""

    def __init__(self, records: Mapping[str, JsonRecords]):
        self._records = dict(records)

    def sources_are(self, sources: Sequence[Source]) -> None:
        """Nothing depends on the topic's life here."""

    def rows(self, messages: Sequence[Message]) -> Rows:
        """Rows topic by topic."""
        if len(self._records) == 1:
            (only,) = self._records.values()
            return only.rows(messages)
        parts = [only.rows([m for m in messages if m.topic() == topic]) for topic, only in self._records.items()]
        return Rows(pa.concat_tables([p.table for p in parts]), [bad for p in parts for bad in p.unreadable])


class LeftToTiering:
    """What is no record of the topic is kept by the tiering service, from the same topic; here it is only counted."""

    def keep(self, unreadable: Sequence[Unreadable], sources: Mapping[tuple[str, int], Source]) -> int:
        """How many were passed over."""
        return len(unreadable)


class UnreadableKeeper:
    """Puts what no table can take into ``quarantine.rejects``, once, although it lies in another table than the rows.

    Its position there (the source's application ID with ``/unreadable``) tells after a crash whether it was written
    already, so the two commits, first here, then the stream's own, need not be one.
    """

    def __init__(self, open_rejects: Callable[[], DeltaStore], key: MasterKey, clock: Callable[[], float] = time.time):
        self._open, self._key, self._sealer, self._clock = open_rejects, key, PayloadSealer(key), clock

    def keep(self, unreadable: Sequence[Unreadable], sources: Mapping[tuple[str, int], Source]) -> int:
        """Gives the number of rows written. Raises LostRace when another service was at the same messages."""
        if not unreadable:
            return 0
        self._key.refresh()
        store = self._open()
        by_application: dict[str, list[Unreadable]] = {}
        for bad in unreadable:
            application = f"{sources[bad.message.topic(), bad.message.partition()].application}/unreadable"
            by_application.setdefault(application, []).append(bad)
        known = store.positions(list(by_application))
        new, moves = [], {}
        for application, found in by_application.items():
            unwritten = [bad for bad in found if bad.message.offset() >= known.get(application, 0)]
            if unwritten:
                new += unwritten
                end = max(bad.message.offset() for bad in unwritten) + 1
                moves[application] = Move(known.get(application), end)
        if not new:
            return 0
        rows = unreadable_rows(new, store.schema, self._seal, int(self._clock() * 1e6))
        return store.append(rows, moves)

    def _seal(self, message: Message) -> str:
        where = coordinates(message.topic(), message.partition(), message.offset())
        return self._sealer.seal(message.value() or b"", where)
