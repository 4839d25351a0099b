"""The lake through DuckDB: views over the files the Delta logs name, read-only, nothing else within reach.

DuckDB's own delta extension is a download; the logs are read by delta-rs instead, and DuckDB gets the list of files.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from pipelines import contracts
from pipelines.io import lake_tables
from pipelines.io.answer import Answer, QueryRefused

_DUCKDB = {
    "string": "VARCHAR", "json": "VARCHAR", "int": "INTEGER", "integer": "INTEGER", "long": "BIGINT",
    "double": "DOUBLE", "float": "FLOAT", "boolean": "BOOLEAN", "timestamp": "TIMESTAMPTZ", "date": "DATE",
    "binary": "BLOB",
}  # fmt: skip
# Parts of a query that only read. DuckDB counts WITH x AS (COPY ... TO 'file') SELECT ... as a SELECT, so the kind of
# statement alone says nothing: each node of the parsed query must be one of these.
_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_BATCH = 10_000


@contextmanager
def spilling(folder: Path, memory_mb: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for many rows beside an engine: 512 MB a core, the rest in ``folder``; instants are UTC.

    By default it takes four fifths of the machine. Each of its threads holds blocks that can't be spilled. The folder
    is made here: where two levels of it lack, DuckDB fails at its first spill, ten million rows into the work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        threads = connection.execute("SELECT current_setting('threads')").fetchone()[0]
        connection.execute(f"SET memory_limit = '{int(memory_mb or 512 * int(threads))}MB'")
        connection.execute("SET temp_directory = ?", [str(folder)])
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@contextmanager
def spilling_aside() -> Iterator[duckdb.DuckDBPyConnection]:
    """The same with a private folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kefulake-") as folder, spilling(Path(folder)) as connection:
        yield connection


def ask(lake: Path, sql: str) -> Answer:
    """The answer to one reading statement over all tables of the lake, at their newest versions.

    Raises:
        QueryRefused: not one statement that only reads, or DuckDB's own complaint.
    """
    connection = duckdb.connect()
    try:
        named = referenced_tables(connection, sql)
        _attach(connection, lake, named)
        cursor = connection.execute(sql)
    except duckdb.Error as error:
        hint = "; kefulake tables lists the tables" if isinstance(error, duckdb.CatalogException) else ""
        raise QueryRefused(f"DuckDB: {error}{hint}") from error
    return Answer([column[0] for column in cursor.description], _rows(cursor))


def referenced_tables(connection: duckdb.DuckDBPyConnection, sql: str) -> set[str] | None:
    """``schema.table`` of all tables a reading statement names; None where it asks for the catalogue (all are needed).

    >>> sorted(referenced_tables(duckdb.connect(), "select * from silver.feedback join gold.customer_360 using (a)"))
    ['gold.customer_360', 'silver.feedback']
    >>> referenced_tables(duckdb.connect(), "with x as (copy (select 1) to '/tmp/y') select * from x")
    Traceback (most recent call last):
    pipelines.io.answer.QueryRefused: only reading is allowed here; the statement holds COPY_QUERY_NODE

    Raises:
        QueryRefused: it can't be parsed, is more than one statement, or does anything but read.
    """
    parsed = json.loads(connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()[0])
    if parsed["error"]:
        raise QueryRefused(f"not a query that can be read: {parsed['error_message']}")
    if len(parsed["statements"]) != 1:
        raise QueryRefused(f"one statement at a time, this is {len(parsed['statements'])}")
    names: set[str] = set()
    catalogue = False
    for node in _nodes(parsed):
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _READING_NODES:
            raise QueryRefused(f"only reading is allowed here; the statement holds {kind}")
        if kind == "SHOW_REF" or node.get("schema_name") in {"information_schema", "pg_catalog"}:
            catalogue = True
        if kind == "BASE_TABLE" and node.get("schema_name"):
            names.add(f"{node['schema_name']}.{node['table_name']}".lower())
    return None if catalogue else names


def view_sql(name: str, path: Path | None) -> tuple[str, list[str]]:
    """The query behind the view of a table, and the files it reads; without a Delta log an empty table of its contract.

    The typed empty part makes every column of the log appear, also one that no file has yet, and keeps types when files
    of different age disagree.
    """
    table = None if path is None else DeltaTable(str(path))
    files = [] if table is None else lake_tables.files(table, path)
    return rows_sql(name, table, files), files


def rows_sql(name: str, table: DeltaTable | None, files: Sequence[str], *, declared: bool = False) -> str:
    """The query over some files of a table (None: an empty table of its contract), typed as its log types them.

    ``declared``: also the contract's columns that the log does not know yet; they are NULL.
    """
    columns, partitions = contract_columns(name), []
    if table is not None:
        lake_tables.require_plain_files(name, table)
        known = {f.name: _type(name, f.name, f.type) for f in table.schema().fields}
        columns = columns | known if declared else known
        partitions = list(table.metadata().partition_columns)
    typed = ", ".join(f"NULL::{kind} AS {quoted(column)}" for column, kind in columns.items())
    listed = ", ".join(map(quoted, columns))
    parts = [f"SELECT {typed} WHERE false"]
    if files:
        hive = f", hive_types={{{', '.join(f'{_text(p)}: {columns[p]}' for p in partitions)}}}" if partitions else ""
        parts.append(
            f"SELECT * FROM read_parquet([{', '.join(map(_text, files))}], union_by_name=true, "  # noqa: S608
            f"hive_partitioning={'true' if partitions else 'false'}{hive})"
        )
    return f"SELECT {listed} FROM ({' UNION ALL BY NAME '.join(parts)})"  # noqa: S608


def _attach(connection: duckdb.DuckDBPyConnection, lake: Path, named: set[str] | None) -> None:
    """Views of the named tables (None: all), then the doors are shut: no other file, no setting, can be touched."""
    there = lake_tables.present(lake)
    known = there.keys() | contracts.tables().keys()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    # The catalogue has the name it has in Trino, so a query may be written with it or without.
    connection.execute("ATTACH ':memory:' AS delta")
    connection.execute("USE delta")
    allowed: list[str] = []
    views: list[str] = []
    for name in sorted(known if named is None else known & named):
        schema, _, table = name.partition(".")
        query, files = view_sql(name, there.get(name))
        views.append(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        views.append(f"CREATE VIEW {quoted(schema)}.{quoted(table)} AS {query}")
        allowed += files
    # Views are made behind closed doors as well: what they cannot read now, no query can read later.
    connection.execute(f"SET allowed_paths = [{', '.join(map(_text, allowed))}]")
    connection.execute("SET enable_external_access = false")
    for statement in views:
        connection.execute(statement)
    connection.execute("SET lock_configuration = true")


def contract_columns(name: str) -> dict[str, str]:
    declared = contracts.tables().get(name)
    return {f.name: _DUCKDB[f.type] for f in declared.fields} if declared else {}


def _type(table: str, column: str, delta_type: Any) -> str:
    kind = getattr(delta_type, "type", None)
    if kind not in _DUCKDB:
        raise ValueError(f"{table}.{column} is {delta_type}, which no contract can declare")
    return _DUCKDB[kind]


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a parsed query, without recursion: a query may nest deeper than Python's stack."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := cursor.fetchmany(_BATCH):
        yield from batch


def quoted(identifier: str) -> str:
    """A name of a table or column as SQL takes it."""
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
