"""Trino's catalogue kept in step with the lake, and questions to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trino
from trino.exceptions import TrinoConnectionError, TrinoQueryError

from infra.stack.settings import Settings
from infra.trino.server import CATALOGUE_USER
from pipelines.io.answer import Answer, QueryRefused
from pipelines.io.lake_tables import present

CATALOGUE = "delta"
ANALYST = "analyst"
_BATCH = 10_000
# A node that has just started takes queries, and 5 s pass before it is known to read the catalogue itself.
_NODE_LIMIT_S, _NODE_PAUSE_S = 30.0, 0.5
log = logging.getLogger(__name__)


def sync(settings: Settings) -> list[str]:
    """Registers tables that are new in the lake, forgets those that are gone; what was done, in plain words.

    Only names and places are kept there: Trino reads the Delta log itself, so new data needs no call.

    Raises:
        QueryRefused: Trino does not run, or refuses.
    """
    there = {tuple(name.split(".", 1)): path for name, path in present(settings.lake).items()}
    with _connect(settings, CATALOGUE_USER) as connection:
        known = _registered(settings, connection)
        done = []
        for schema in sorted({schema for schema, _ in there} - {schema for schema, _ in known}):
            _run(settings, connection, f"CREATE SCHEMA IF NOT EXISTS {CATALOGUE}.{_name(schema)}")
        for schema, table in sorted(there.keys() - known):
            named = f"schema_name => {_text(schema)}, table_name => {_text(table)}"
            location = _text(_location(settings, there[schema, table]))
            _run(settings, connection, f"CALL {CATALOGUE}.system.register_table({named}, table_location => {location})")
            done.append(f"registered {schema}.{table}")
        for schema, table in sorted(known - there.keys()):
            named = f"schema_name => {_text(schema)}, table_name => {_text(table)}"
            _run(settings, connection, f"CALL {CATALOGUE}.system.unregister_table({named})")
            done.append(f"forgot {schema}.{table}")
    for line in done:
        log.info("trino: %s", line)
    return done


def ask(settings: Settings, sql: str) -> Answer:
    """The answer to one statement, as a user who may only read. Waits for a Trino that has just started.

    Raises:
        QueryRefused: Trino's reason, or that it does not run.
    """
    connection, deadline = _connect(settings, ANALYST), time.monotonic() + _NODE_LIMIT_S
    while True:
        cursor = connection.cursor()
        try:
            cursor.execute(sql)
            return Answer([column[0] for column in cursor.description or ()], _rows(cursor))
        except (TrinoQueryError, TrinoConnectionError) as error:
            starting = getattr(error, "error_name", None) == "NO_NODES_AVAILABLE"
            if not starting or time.monotonic() >= deadline:
                raise _refused(settings, error) from error
        time.sleep(_NODE_PAUSE_S)


def _registered(settings: Settings, connection: Any) -> set[tuple[str, str]]:
    found = _run(
        settings,
        connection,
        "SELECT table_schema, table_name FROM delta.information_schema.tables "
        "WHERE table_schema <> 'information_schema'",
    )
    return {(schema, table) for schema, table in found}


def _connect(settings: Settings, user: str) -> trino.dbapi.Connection:
    return trino.dbapi.connect(
        host="127.0.0.1",
        port=settings.ports.trino,
        user=user,
        catalog=CATALOGUE,
        http_scheme="http",
        source="kefulake",
        timezone="UTC",
        request_timeout=60,
    )


def _run(settings: Settings, connection: Any, sql: str) -> list[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return cursor.fetchall()
    except (TrinoQueryError, TrinoConnectionError) as error:
        raise _refused(settings, error) from error


def _rows(cursor: Any) -> Iterator[tuple[Any, ...]]:
    while batch := cursor.fetchmany(_BATCH):
        for row in batch:
            yield tuple(row)


def _refused(settings: Settings, error: Exception) -> QueryRefused:
    if isinstance(error, TrinoConnectionError):
        return QueryRefused(
            f"Trino does not answer on 127.0.0.1:{settings.ports.trino}. Start it with: kefulake up --with trino"
        )
    missing = getattr(error, "error_name", None) in ("TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND")
    hint = "; kefulake tables lists the tables, also those that are not there yet" if missing else ""
    return QueryRefused(f"Trino: {getattr(error, 'message', None) or error}{hint}")


def _location(settings: Settings, path: Path) -> str:
    return f"local:///{path.relative_to(settings.home)}"


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    """A literal: CALL takes no parameters."""
    return "'" + value.replace("'", "''") + "'"
