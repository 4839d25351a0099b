"""Kafka positions kept beside the rows they brought: a row of ``stream_offsets`` each, moved by compare-and-set.

Of two writers with the same messages one commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine, bindparam, inspect, text
from sqlalchemy.exc import IntegrityError

from pipelines.io.delta import LostRace, Move

_DDL = """\
CREATE TABLE IF NOT EXISTS `stream_offsets` (
  `target_table` VARCHAR(64) NOT NULL,
  `cluster_topic_id` VARCHAR(128) NOT NULL,
  `partition_no` INT NOT NULL,
  `next_offset` BIGINT NOT NULL,
  PRIMARY KEY (`target_table`, `cluster_topic_id`, `partition_no`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii"""
_OF = text(
    "SELECT cluster_topic_id, partition_no, next_offset FROM stream_offsets"
    " WHERE target_table = :t AND cluster_topic_id IN :ids"
).bindparams(bindparam("ids", expanding=True))


class Positions:
    """Where one target has read to, by application ID (``cluster/topic ID/partition``)."""

    def __init__(self, engine: Engine, target: str) -> None:
        self._engine, self._target = engine, target

    @staticmethod
    def create(connection: Connection) -> None:
        """Make the table when it isn't there."""
        connection.exec_driver_sql(_DDL)

    def of(self, applications: Sequence[str]) -> dict[str, int]:
        """Next offset of each application ID that is known."""
        topics = sorted({_split(application)[0] for application in applications})
        with self._engine.connect() as connection:
            rows = connection.execute(_OF, {"t": self._target, "ids": topics})
            known = {f"{topic}/{partition}": next_offset for topic, partition, next_offset in rows}
        return {application: known[application] for application in applications if application in known}

    def set(self, application: str, next_offset: int) -> None:
        """A person's decision to go on elsewhere; the only way a position ever moves without its rows."""
        topic, partition = _split(application)
        with self._engine.begin() as connection:
            connection.execute(
                text("REPLACE INTO stream_offsets VALUES (:t, :topic, :partition, :next)"),
                {"t": self._target, "topic": topic, "partition": partition, "next": next_offset},
            )

    def move(self, connection: Connection, moves: Mapping[str, Move]) -> None:
        """Within the caller's transaction. Raises LostRace where a position isn't where `moves` saw it."""
        for application, move in sorted(moves.items()):  # in one order, so that two writers never deadlock
            self._move(connection, application, move)

    def _move(self, connection: Connection, application: str, move: Move) -> None:
        topic, partition = _split(application)
        values = {"t": self._target, "topic": topic, "partition": partition, "before": move.before, "after": move.after}
        if move.before is None:
            try:
                connection.execute(text("INSERT INTO stream_offsets VALUES (:t, :topic, :partition, :after)"), values)
            except IntegrityError as error:
                raise LostRace(f"position of {application} is already set") from error
            return
        moved = connection.execute(
            text(
                "UPDATE stream_offsets SET next_offset = :after WHERE target_table = :t AND cluster_topic_id = :topic"
                " AND partition_no = :partition AND next_offset = :before"
            ),
            values,
        )
        if moved.rowcount != 1:
            raise LostRace(f"position of {application} is no longer {move.before}")


def least_positions(engine: Engine) -> dict[str, int]:
    """Where the last reader of each application ID is, of all that keep their position here."""
    query = text(
        "SELECT cluster_topic_id, partition_no, MIN(next_offset) FROM stream_offsets"
        " GROUP BY cluster_topic_id, partition_no"
    )
    if not inspect(engine).has_table("stream_offsets"):  # a lake of history alone: no reader ever made it
        return {}
    with engine.connect() as connection:
        return {f"{topic}/{partition}": int(least) for topic, partition, least in connection.execute(query)}


def _split(application: str) -> tuple[str, int]:
    topic, _, partition = application.rpartition("/")
    return topic, int(partition)
