"""From the clean topics into the identity state: identifiers that messages carry together, records of the CRM.

The parts of a `pipelines.io.tiering.TableStream`: a converter that keeps only what says something new, and a store that
takes evidence in and moves its positions as one transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
from confluent_kafka import Message
from sqlalchemy import Connection, Engine

from pipelines.identity.evidence import TOKEN_COLUMNS, of_messages, set_key
from pipelines.identity.register_records import KINDS, of_records
from pipelines.io.committed_log import Source
from pipelines.io.delta import Move
from pipelines.io.identity_store import Author, IdentityStore
from pipelines.io.mariadb_positions import Positions
from pipelines.io.records import Rows

log = logging.getLogger(__name__)

NAME = "identity_claims"
_AUTHOR = Author("policy:identity", "identifiers seen together in messages, orders and CRM records")
_MANY = b'_token":"'
MESSAGES, RECORDS, ORDERS = ("interactions.clean", "feedback.clean"), "customers.clean", "orders.clean"
_OF_RECORDS = [
    ("record_key", pa.string()), ("crm_status", pa.string()), ("phone_verified", pa.bool_()),
    ("updated_at", pa.int64()), ("source_revision", pa.int64()), ("attempt", pa.int64()),
]  # fmt: skip
SCHEMA = pa.schema(
    [("channel", pa.string()), ("sender_role", pa.string()), ("occurred_at", pa.int64()), *_OF_RECORDS]
    + [(name, pa.string()) for name in dict.fromkeys((*TOKEN_COLUMNS, *KINDS))]
)


class SightingConverter:
    """Messages and orders that carry two identifiers or more, unless the same ones were told lately, and CRM records.

    An order is its customer's, whoever typed it in; a CRM record is told whole, whatever it carries. A set is told on
    its first two sightings (a typed identifier wants a second one), then once in `told_again_after_s`. After a failure
    it is told anew: `sources_are` forgets.
    """

    def __init__(self, policy: Mapping[str, Any], clock: Callable[[], float] = time.monotonic):
        self._again_s, self._limit, self._clock = policy["told_again_after_s"], policy["remembered_sets"], clock
        self._told: dict[str, tuple[int, float]] = {}

    def sources_are(self, sources: Sequence[Source]) -> None:
        """A rewind: what was told may be lost, so it is told again."""
        self._told.clear()

    def rows(self, messages: Sequence[Message]) -> Rows:
        """Rows of SCHEMA. What cannot be read is the tiering service's to keep, from the same topic."""
        fresh, now_s = [], self._clock()
        for message in messages:
            value, topic = message.value(), message.topic()
            if value is None or (
                topic != RECORDS and value.count(_MANY) < 2
            ):  # 9 of 10 messages end here, unparsed: 0.1 us each
                continue
            try:
                record = orjson.loads(value)
            except orjson.JSONDecodeError:
                continue
            if topic == RECORDS:
                fresh.append(record)
                continue
            if topic == ORDERS:
                record = {name: record.get(name) for name in ("channel", "occurred_at", *TOKEN_COLUMNS)}
                record["sender_role"] = "customer"
            if record.get("sender_role") == "customer" and self._is_news(record, now_s):
                fresh.append(record)
        columns = [pa.array([record.get(f.name) for record in fresh], f.type) for f in SCHEMA]
        return Rows(pa.table(columns, schema=SCHEMA), [])

    def _is_news(self, record: Mapping[str, Any], now_s: float) -> bool:
        key = set_key(record["channel"], [record.get(name) for name in TOKEN_COLUMNS])
        times, told_s = self._told.get(key, (0, 0.0))
        if times >= 2 and now_s - told_s < self._again_s:
            return False
        if len(self._told) >= self._limit:
            self._told.clear()
        self._told[key] = (times + 1, now_s)
        return True


class SightingStore:
    """The identity state as a stream's store: evidence and positions in one transaction, then out to `publish`."""

    def __init__(
        self,
        engine: Engine,
        policy: Mapping[str, Any],
        publish: Callable[[str, list[tuple[str, bytes | None]]], object],
        clock: Callable[[], float] = time.time,
    ):
        self._store, self._policy, self._publish, self._clock = IdentityStore(engine, policy), policy, publish, clock
        self._positions = Positions(engine, NAME)
        self.schema, self.version = SCHEMA, 0
        self._store.drain(publish)  # what a process that ended in between left behind

    def refresh(self) -> None:
        """Nothing is remembered here: every question goes to the server."""

    def positions(self, applications: Sequence[str]) -> dict[str, int]:
        """Next offset of each application ID."""
        return self._positions.of(applications)

    def is_empty(self) -> bool:
        """Rows of other origin say nothing of these topics: a topic made again is read from its beginning, unsaid."""
        return True

    def append(self, rows: pa.Table, moves: Mapping[str, Move]) -> int:
        """Take the evidence of `rows` in and move the positions. Raises LostRace where another service moved them."""
        resolution, told = self._policy["resolution"], pl.from_arrow(rows)
        is_record = pl.col("record_key").is_not_null()
        records = of_records(told.filter(is_record), resolution)
        # The records first: of two that come together the CRM's names the customer.
        evidence = pl.concat([records.claims, of_messages(told.filter(~is_record), resolution)])

        def move(connection: Connection) -> None:
            self._positions.move(connection, moves)

        outcome = self._store.learn(
            evidence, at_us=int(self._clock() * 1e6), author=_AUTHOR, revisions=records.revisions, beside=move
        )
        if outcome.changes.links:
            self._store.drain(self._publish)
            log.info(
                "%d sets told, %d records looked at, %d identifiers lead elsewhere",
                evidence["record_key"].n_unique(), outcome.records_looked_at, len(outcome.changes.links),
            )  # fmt: skip
        self.version += 1
        return rows.num_rows
