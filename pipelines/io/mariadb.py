"""MariaDB as the serving store: rows and the Kafka positions they came from go in as one transaction.

The counterpart of `pipelines.io.delta.DeltaStore`, with the same methods, so that the same stream feeds both. A
position is a row of ``stream_offsets`` and moves by compare-and-set: of two writers with the same messages one commits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from pipelines import contracts
from pipelines.io.bulk_rows import RowsRefused, insert_rows, load_rows
from pipelines.io.delta import LostRace, Move
from pipelines.io.mariadb_positions import Positions
from pipelines.io.mariadb_tables import char_limits, clipped, ensure_table

log = logging.getLogger(__name__)

_WAITED_TOO_LONG = frozenset({1205, 1213})  # lock wait timeout, deadlock: somebody else moved first


def connect(url: str, *, load_data: bool = False, unchecked: bool = False, autocommit: bool = False) -> Engine:
    """An engine for the serving database; connects when first used, notices a server that went away.

    ``load_data`` lets the server ask for local files, which LOAD DATA LOCAL needs: only for a server you trust.
    ``unchecked`` uses connections as they were left, without a ping before and a rollback after: for who asks a hundred
    times a second, ends its transactions itself, and can stand an error when the server was away. ``autocommit`` is for
    who only reads: no statement opens a transaction.
    """
    # utf8mb4 and UTC on our side of every connection, whatever the server's own defaults are.
    session = "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    arguments = {"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60, "local_infile": load_data}
    return create_engine(
        url,
        pool_size=2,
        pool_pre_ping=not unchecked,
        pool_reset_on_return=None if unchecked else "rollback",
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
        hide_parameters=True,
        connect_args=arguments | {"init_command": session, "charset": "utf8mb4"},
    )


class MariaStore:
    """One table of MariaDB as its only kind of writer sees it.

    ``scratch`` is a private folder for the batch on its way when rows are loaded from a file; without one, or where the
    server forbids it, they are inserted.
    """

    def __init__(
        self,
        engine: Engine,
        table: contracts.Table,
        *,
        name: str,
        indexes: Sequence[Sequence[str]] = (),
        scratch: Path | None = None,
    ) -> None:
        self._engine, self._table, self._name = engine, table, name
        self._positions = Positions(engine, name)
        self._columns = [field.name for field in table.fields if field.name not in table.partition_by]
        self.schema = contracts.arrow_schema(table)
        self.version = 0
        self.clipped_values = 0
        with engine.begin() as connection:
            Positions.create(connection)
            ensure_table(connection, name, contracts.mariadb_ddl(table, name=name, indexes=indexes))
            self._limits = char_limits(connection, name)
            allowed = connection.exec_driver_sql("SELECT @@local_infile").scalar_one()
        self._scratch = scratch if allowed else None
        if scratch is not None and not allowed:
            log.warning("the server forbids LOAD DATA LOCAL (local_infile=OFF): rows are inserted, which takes longer")

    # ---- positions

    def refresh(self) -> None:
        """Nothing is remembered here: every question goes to the server."""

    def positions(self, applications: Sequence[str]) -> dict[str, int]:
        """Next offset of each application ID (``cluster/topic ID/partition``) that stands in ``stream_offsets``."""
        return self._positions.of(applications)

    def is_empty(self) -> bool:
        """True for a table without a row."""
        with self._engine.connect() as connection:
            return connection.execute(text(f"SELECT 1 FROM `{self._name}` LIMIT 1")).first() is None  # noqa: S608

    def set_position(self, application: str, next_offset: int) -> None:
        """A person's decision to go on elsewhere; the only way a position ever moves without its rows."""
        self._positions.set(application, next_offset)

    # ---- rows

    def append(self, rows: pa.Table, moves: Mapping[str, Move]) -> int:
        """Append rows and move positions in one transaction; gives the rows written.

        Raises:
            LostRace: a position isn't where `moves` saw it. Nothing was written.
            RowsRefused: the server did not take every row as it is, a duplicate key for instance. Nothing was written.
            sqlalchemy.exc.DBAPIError: anything else; whether it was written is what `positions` says next.
        """
        frame, cut = clipped(pl.from_arrow(rows.select(self._columns)), self._limits)
        try:
            with self._engine.begin() as connection:
                self._positions.move(connection, moves)
                if frame.height and self._scratch is not None:
                    load_rows(connection, self._name, frame, self._scratch)
                elif frame.height:
                    insert_rows(connection, self._name, frame)
        except OperationalError as error:
            if error.orig is not None and error.orig.args[0] in _WAITED_TOO_LONG:
                raise LostRace("another writer holds the positions") from error
            raise
        self.version += 1
        self.clipped_values += cut
        return frame.height

    def delete_received_before(self, limit_at: datetime, *, rows: int) -> int:
        """Delete up to ``rows`` of the oldest rows received before ``limit_at``; gives how many went."""
        statement = f"DELETE FROM `{self._name}` WHERE received_at < :limit ORDER BY received_at LIMIT :rows"  # noqa: S608
        with self._engine.begin() as connection:
            return connection.execute(text(statement), {"limit": limit_at.replace(tzinfo=None), "rows": rows}).rowcount


__all__ = ["MariaStore", "RowsRefused", "connect"]
