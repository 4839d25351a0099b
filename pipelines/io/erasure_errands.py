"""Erasures as errands of a table's one writer: commands from ``privacy.erasures``, results beside it.

A command waits until the writer has caught up, so that no row of the person is on its way any more. Carried out twice
(a writer that was killed in between reads the topic anew) it removes nothing more, and says so again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Collection
from typing import NamedTuple

import orjson
from confluent_kafka import KafkaException

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.compacted_tail import CompactedTail, TailError
from pipelines.io.delta_erasure import Erased, erase
from pipelines.io.publisher import publish
from pipelines.privacy.erasure import Person, columns_that_tell, concerned

log = logging.getLogger(__name__)

COMMANDS, RESULTS = "privacy.erasures", "privacy.erasure_results"
_EVERY_S, _AGAIN_AFTER_S = 0.5, 5.0


class Command(NamedTuple):
    """Whose rows to remove from one table."""

    erasure_id: str
    table_name: str
    who: Person

    @property
    def key(self) -> str:
        """Its key in the topic."""
        return f"{self.erasure_id} {self.table_name}"

    def encoded(self) -> bytes:
        """Its value in the topic."""
        selection = orjson.dumps(self.who.selection()).decode()
        return orjson.dumps({"erasure_id": self.erasure_id, "table_name": self.table_name, "selection": selection})

    @classmethod
    def decoded(cls, value: bytes) -> Command:
        """Back from the topic. Raises ValueError, KeyError or TypeError for what is no command."""
        told = orjson.loads(value)
        return cls(told["erasure_id"], told["table_name"], Person.of(orjson.loads(told["selection"])))


class Errands:
    """Commands by table, for the threads that write these tables. Follows the topic in a thread of its own."""

    def __init__(self, settings: Settings, tables: Collection[str]):
        self._settings = settings
        self._waiting: dict[str, queue.SimpleQueue[Command]] = {name: queue.SimpleQueue() for name in tables}

    def follow(self, stop: threading.Event) -> None:
        """Until `stop`: read commands from the topic's beginning. A broker that is away is tried again."""
        while not stop.is_set():
            try:
                tail = CompactedTail(self._settings.bootstrap, COMMANDS, every_s=0)
            except (KafkaException, TailError) as error:
                log.info("erasures: topic %s cannot be read yet: %s", COMMANDS, error)
                stop.wait(_AGAIN_AFTER_S)
                continue
            try:
                self._read(tail, stop)
            except (KafkaException, TailError) as error:
                log.warning("erasures: %s; reading the topic anew", error)
            finally:
                tail.close()

    def _read(self, tail: CompactedTail, stop: threading.Event) -> None:
        # To the end first, so that a command taken back long ago is not carried out again at every start.
        open_now = {}
        for records in tail.load_to_end():
            open_now |= dict(records)
        self._take(open_now)
        while not stop.wait(_EVERY_S):
            self._take(dict(tail.poll_if_due(time.monotonic())))

    def _take(self, records: dict[str, bytes | None]) -> None:
        for key, value in records.items():
            if value is None:
                continue
            try:
                command = Command.decoded(value)
            except (ValueError, KeyError, TypeError) as error:
                log.error("erasures: command %s cannot be read and is passed over: %s", key, error)
                continue
            if command.table_name in self._waiting:
                self._waiting[command.table_name].put(command)

    def next(self, table: str) -> Command | None:
        """A command that waits for this table's writer, or None."""
        try:
            return self._waiting[table].get_nowait()
        except (queue.Empty, KeyError):
            return None

    def run(self, command: Command) -> Erased:
        """Remove the rows and tell. Raises what Delta or Kafka raises; the command then waits again."""
        try:
            done = erase_rows(self._settings, command.table_name, command.who)
            result = {"erasure_id": command.erasure_id, "table_name": command.table_name, **vars(done)}
            told = orjson.dumps(result | {"erased_at": time.time_ns() // 1000})
            publish(self._settings.bootstrap, RESULTS, [(command.erasure_id, told)])
        except Exception:
            self._waiting[command.table_name].put(command)
            raise
        log.info("%s: erasure %s removed %d rows", command.table_name, command.erasure_id, done.rows_removed)
        return done


def erase_rows(settings: Settings, table: str, who: Person) -> Erased:
    """Remove a person's rows from a table for good."""
    columns = columns_that_tell([field.name for field in contracts.table(table).fields])
    return erase(settings.table_path(table), columns, lambda rows: concerned(rows, who))
