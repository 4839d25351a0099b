"""The audit log: rows of the chain in MariaDB, each sent on to the topic ``audit.log``, which is their second place.

The number is the primary key, so two writers cannot both follow the same row: one of them is refused and follows the
other. A named lock only spares them the refusals. The user that writes may SELECT and INSERT, nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from datetime import UTC, datetime, timedelta

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition
from sqlalchemy import Connection, Engine, column, insert, select, table, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from pipelines import contracts
from pipelines.io.compacted_tail import CompactedTail, TailError
from pipelines.io.publisher import PublishError, publish
from pipelines.privacy.audit_chain import Act, AuditRow, Head, link
from pipelines.privacy.keys import MasterKey

log = logging.getLogger(__name__)

TOPIC = "audit.log"
_COLUMNS = [field.name for field in fields(AuditRow)]
_LOG = table("audit_log", *map(column, _COLUMNS))
_EPOCH = datetime(1970, 1, 1)
_LOCK, _SEND_LOCK, _LOCK_WAIT_S = "kefulake.audit", "kefulake.audit.send", 10
_MOST_REFUSALS = 100
_PAGE_ROWS = 10_000


Send = Callable[[Callable[[int], "list[AuditRow]"]], None]
"""Gets a function that gives the rows after a number, and takes to the second place those it lacks."""


class AuditRefused(RuntimeError):
    """The row could not be written, so what it would have told of must not happen; the message says why."""


class AuditLog:
    """Adds rows and reads them. `send` takes new rows to the second place; what it fails to send goes with the next."""

    def __init__(self, engine: Engine, key: MasterKey, send: Send | None = None):
        self._engine, self._key, self._send = engine, key, send
        self._last: Head | None = None

    def append(self, act: Act) -> AuditRow:
        """Write one act down, in one transaction. Raises AuditRefused; then it is not written."""
        return self.append_all([act])[0]

    def append_all(self, acts: Sequence[Act]) -> list[AuditRow]:
        """Write acts down in their order, all or none, for the price of one. Raises AuditRefused; then it is none."""
        # Mostly nobody else wrote in between, and then the key of the table is all that has to be asked.
        last, self._last = self._last, None
        try:
            with self._engine.connect() as connection:
                rows = self._added(connection, acts, last) if last else None
                if rows is None:
                    with _lock(connection, _LOCK):
                        rows = self._followed(connection, acts)
                self._last = Head.of(rows[-1])
                if self._send is not None:
                    self._sent(connection)
                return rows
        except (DBAPIError, OSError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise AuditRefused(
                f"the audit log cannot be written ({reason}), so nothing is shown or done. Is MariaDB up? "
                "Ask kefulake status"
            ) from error

    def _followed(self, connection: Connection, acts: Sequence[Act]) -> list[AuditRow]:
        for _ in range(_MOST_REFUSALS):
            if (rows := self._added(connection, acts, self._head(connection))) is not None:
                return rows
        raise AuditRefused("the audit log cannot be written: other writers were first again and again; try again")

    def _added(self, connection: Connection, acts: Sequence[Act], head: Head) -> list[AuditRow] | None:
        """The rows that follow `head`; None where somebody who did not wait for the lock followed it first."""
        self._key.refresh()  # after a rotation rows are hashed under the new version
        rows: list[AuditRow] = []
        for act in acts:
            rows.append(link(act, head, self._key))
            head = Head.of(rows[-1])
        values = [dict(zip(_COLUMNS, astuple(r), strict=True)) | {"acted_at": _instant(r.acted_at)} for r in rows]
        try:
            connection.execute(insert(_LOG), values)
            connection.commit()
        except IntegrityError:
            connection.rollback()
            return None
        return rows

    def _head(self, connection: Connection) -> Head:
        newest = select(_LOG.c.audit_seq, _LOG.c.row_hash).order_by(_LOG.c.audit_seq.desc()).limit(1)
        found = connection.execute(newest).first()
        return Head(*found) if found else Head.none()

    def send_missing(self, send: Send) -> None:
        """Take to the second place what it lacks, for a writer that does not wait for it with each act."""
        with self._engine.connect() as connection, _lock(connection, _SEND_LOCK) as got:
            if got:
                send(lambda after: _rows(connection, after, _PAGE_ROWS))

    def _sent(self, connection: Connection) -> None:
        try:
            # A lock of its own: whoever writes the next act does not wait for Kafka.
            with _lock(connection, _SEND_LOCK) as got:
                if got:
                    self._send(lambda after: _rows(connection, after, _PAGE_ROWS))
        except (KafkaException, PublishError, TailError) as error:
            log.warning("the audit row is in the table; topic %s gets it with the next one: %s", TOPIC, error)

    def rows(self, *, after: int = 0) -> Iterator[AuditRow]:
        """All rows with greater numbers, in their order, read in pages. Raises sqlalchemy.exc.DBAPIError."""
        with self._engine.connect() as connection:
            while page := _rows(connection, after, _PAGE_ROWS):
                yield from page
                after = page[-1].audit_seq

    def newest(self, limit: int) -> list[AuditRow]:
        """The last rows, newest first."""
        with self._engine.connect() as connection:
            return [
                _row(found) for found in connection.execute(_select().order_by(_LOG.c.audit_seq.desc()).limit(limit))
            ]


def ensure_table(engine: Engine) -> None:
    """Makes the table on a server of your own; in the embedded stack root makes it, and nobody else may."""
    with engine.begin() as connection:
        connection.exec_driver_sql(contracts.mariadb_ddl(contracts.table(TOPIC), name="audit_log"))


@contextmanager
def _lock(connection: Connection, name: str) -> Iterator[bool]:
    got = connection.execute(text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": _LOCK_WAIT_S}).scalar_one()
    try:
        yield got == 1
    finally:
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})


def _select():
    return select(*(_LOG.c[name] for name in _COLUMNS))


def _rows(connection: Connection, after: int, limit: int) -> list[AuditRow]:
    chosen = _select().where(_LOG.c.audit_seq > after).order_by(_LOG.c.audit_seq).limit(limit)
    return [_row(found) for found in connection.execute(chosen)]


def _row(found: tuple) -> AuditRow:
    number, at, *rest = found
    return AuditRow(number, (at - _EPOCH) // timedelta(microseconds=1), *rest)


def _instant(at_us: int) -> datetime:
    return datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(microseconds=at_us)


# ---- the second place


def sender(bootstrap: str) -> Send:
    """Sends what the topic lacks: it asks the topic for its newest number, and the table for the rows after it."""

    def send(rows_after: Callable[[int], list[AuditRow]]) -> None:
        rows = rows_after(last_sent(bootstrap))
        publish(bootstrap, TOPIC, [(str(row.audit_seq), orjson.dumps(row)) for row in rows], timeout_s=10)

    return send


def last_sent(bootstrap: str, *, timeout_s: float = 3.0) -> int:
    """Newest number in the topic, 0 for none. Raises KafkaException or TailError."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"tail-of-{TOPIC}",  # the client wants a name; nothing is ever committed to it
            "enable.auto.commit": False,
            "log_level": 2,
            "auto.offset.reset": "error",
        }
    )
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=timeout_s)
        if high <= low:
            return 0
        consumer.assign([TopicPartition(TOPIC, 0, high - 1)])
        message = consumer.poll(timeout_s)
        if message is None or message.error() is not None:
            raise TailError(f"The newest record of topic {TOPIC} could not be read in {timeout_s:.0f} s.")
        return int(message.key())
    finally:
        consumer.close()


def witness(bootstrap: str) -> dict[int, str]:
    """Hash by number, as the topic has them. Raises KafkaException or TailError."""
    tail, known = CompactedTail(bootstrap, TOPIC), {}
    try:
        for records in tail.load_to_end():
            for _, value in records:
                row = orjson.loads(value)
                known.setdefault(row["audit_seq"], row["row_hash"])  # what came first counts
    finally:
        tail.close()
    return known
