"""The identity state of MariaDB, whole and as of one moment, into bytes and back: evidence and what people decided.

It is in no table of the lake: links are, but not what they rest on. The rest of MariaDB is built from the lake.
"""

from __future__ import annotations

import io
import json

import polars as pl
from sqlalchemy import Connection, Engine

from pipelines.io.identity_rows import TABLES, sql_name
from pipelines.io.identity_writes import insert

# What leaves by the outbox is told again from the state itself.
KEPT = tuple(name for name in TABLES if name != "identity.outbox")
_HEAD = 8


def changed_at(engine: Engine) -> str:
    """Something that differs whenever a table of the state was written to since the server's start."""
    names = [sql_name(name) for name in KEPT]
    marks = ", ".join(["%s"] * len(names))
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT table_name, update_time, table_rows FROM information_schema.tables"  # noqa: S608
            f" WHERE table_schema = DATABASE() AND table_name IN ({marks}) ORDER BY 1",
            tuple(names),
        )
        return json.dumps([[str(value) for value in row] for row in found])


def dump(engine: Engine) -> bytes:
    """All rows of all tables of the state, of one moment."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        parts = {name: _rows(connection, sql_name(name)) for name in KEPT if _exists(connection, sql_name(name))}
        connection.rollback()
    return pack(parts)


def pack(parts: dict[str, pl.DataFrame]) -> bytes:
    """Frames by name, as one piece of bytes."""
    bodies = {}
    for name, frame in parts.items():
        out = io.BytesIO()
        frame.write_ipc(out, compression="zstd")
        bodies[name] = out.getvalue()
    index = json.dumps({name: len(body) for name, body in bodies.items()}).encode()
    return len(index).to_bytes(_HEAD, "big") + index + b"".join(bodies.values())


def unpack(content: bytes) -> dict[str, pl.DataFrame]:
    """The reverse of `pack`.

    >>> unpack(pack({"identity.claims": pl.DataFrame({"token": ["ph1_0"]})}))["identity.claims"]["token"].to_list()
    ['ph1_0']
    """
    at = _HEAD + int.from_bytes(content[:_HEAD], "big")
    parts = {}
    for name, size in json.loads(content[_HEAD:at]).items():
        parts[name], at = pl.read_ipc(io.BytesIO(content[at : at + size])), at + size
    return parts


def load(connection: Connection, parts: dict[str, pl.DataFrame]) -> dict[str, int]:
    """Rows into empty tables; how many of each. Columns that the tables do not have any more are left out."""
    written = {}
    for name, frame in parts.items():
        if name not in KEPT or frame.is_empty():
            continue
        present = [row[0] for row in connection.exec_driver_sql(f"SHOW COLUMNS FROM {sql_name(name)}")]
        columns = [column for column in frame.columns if column in present]
        insert(connection, sql_name(name), columns, frame.select(columns).rows())
        written[name] = frame.height
    return written


def _exists(connection: Connection, name: str) -> bool:
    return connection.exec_driver_sql("SHOW TABLES LIKE %s", (name,)).first() is not None


def _rows(connection: Connection, name: str) -> pl.DataFrame:
    found = connection.exec_driver_sql(f"SELECT * FROM {name}")  # noqa: S608 - a name of ours
    columns = list(found.keys())
    rows = [tuple(row) for row in found]
    return pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)
