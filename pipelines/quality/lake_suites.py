"""Great Expectations on DuckDB: the suite of a table, run on views over the files of its days.

A day of a million rows takes it a second, without a JVM, and what does not fit into memory goes to disk.
"""

from __future__ import annotations

import atexit
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import duckdb

from pipelines.quality.suites import quiet

quiet()

from great_expectations.datasource.fluent import SQLDatasource  # noqa: E402
from great_expectations.execution_engine import SqlAlchemyExecutionEngine  # noqa: E402

from pipelines.quality import lake_rules, suites  # noqa: E402
from pipelines.quality.checks import Check  # noqa: E402


def _end_quietly() -> None:
    """With Great Expectations in the process too, DuckDB lists, when all is over, what Python still holds.

    Forty lines that say nothing about the run: whatever had to be said was said before this.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if "pytest" not in sys.modules:
    atexit.register(_end_quietly)

_ROWS, _HELD = "checked", "checked_held"
_MEMORY_MB_A_CORE = 512


class OneConnection(SqlAlchemyExecutionEngine):
    """Keeps its connection: Great Expectations reads an answer after closing it, and DuckDB has none then."""

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        if self._connection is None:
            self._connection = self.engine.connect()
        self._connection.rollback()  # what could not be evaluated before aborts nothing of what comes now
        yield self._connection

    def close(self) -> None:
        """Gives the connection back, which the class it comes from does for other databases only."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        _let_go(self.engine)


class DuckDBDatasource(SQLDatasource):
    """A source of Great Expectations that is a DuckDB in this process."""

    type: Literal["duckdb"] = "duckdb"  # type: ignore[assignment]

    @property
    def execution_engine_type(self) -> type[OneConnection]:
        return OneConnection


class LakeSuites:
    """One DuckDB in memory for the suites of many tables; ``connection`` makes the views they look at."""

    def __init__(self, source: Any, connection: Any):
        self.connection = connection
        self._source = source
        self._asset: Any = None

    def look_at(self, rows: str, checks: Sequence[Check]) -> None:
        """Makes ``checked`` of a query, and of it what the suite reads: its columns, and one for each condition.

        That is a table, so each condition is worked out once and not by every metric. Where one can't be evaluated it
        is a view: the others are judged, and that one fails.
        """
        self.connection.execute(f"CREATE OR REPLACE VIEW {_ROWS} AS {rows}")
        columns = {row[0] for row in self.connection.execute(f"DESCRIBE {_ROWS}").fetchall()}
        named = {name for c in checks if not _is_condition(c) for name in lake_rules.unique_columns(c, True)}
        made = [f'coalesce({lake_rules.holds(c)}, true) AS "{suites.column(c)}"' for c in checks if _is_condition(c)]
        listed = ", ".join([*(f'"{name}"' for name in sorted(named & columns)), *made]) or "*"
        for old in ("VIEW", "TABLE"):
            with suppress(duckdb.Error):
                self.connection.execute(f"DROP {old} IF EXISTS {_HELD}")
        try:
            self.connection.execute(f"CREATE TABLE {_HELD} AS SELECT {listed} FROM {_ROWS}")  # noqa: S608
        except duckdb.Error:
            self.connection.execute(f"CREATE VIEW {_HELD} AS SELECT {listed} FROM {_ROWS}")  # noqa: S608

    def verdicts(self, checks: Sequence[Check], name: str, *, days: bool) -> dict[str, bool]:
        """Whether each check holds of ``checked``, by name. A check that can't be evaluated does not hold."""
        asset = self._source.add_table_asset(f"{name} {uuid.uuid4().hex}", table_name=_HELD)
        batch = asset.add_batch_definition_whole_table("all").get_batch()
        suite = suites.render([_as_expected(c, days) for c in checks], name)
        outcome = batch.validate(suite, result_format="BOOLEAN_ONLY")
        return {r.expectation_config.meta["check"]: bool(r.success) for r in outcome.results}


@contextmanager
def opened(folder: Path) -> Iterator[LakeSuites]:
    """Suites on a DuckDB that takes 512 MB a core and puts the rest into ``folder``; instants are UTC."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    # A name of its own: two of one name would share their views.
    source = context.data_sources.add_duckdb("lake", connection_string=f"duckdb:///:memory:{uuid.uuid4().hex}")
    engine, runner = source.get_engine(), source.get_execution_engine()
    held = engine.raw_connection()
    connection = held.dbapi_connection
    try:
        connection.execute(f"SET GLOBAL memory_limit = '{_MEMORY_MB_A_CORE * (os.cpu_count() or 1)}MB'")
        connection.execute(f"SET GLOBAL temp_directory = '{str(folder).replace(chr(39), chr(39) * 2)}'")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE MACRO regexp_like(said, pattern) AS regexp_matches(said, pattern)")  # Spark's name
        connection.create_function(lake_rules.FINDER, lake_rules.has_personal_number, ["VARCHAR"], "BOOLEAN")
        yield LakeSuites(source, connection)
    finally:
        held.close()
        runner.close()
        _let_go(engine)


def _let_go(engine: Any) -> None:
    """Closes it and forgets its queries: they hold types of DuckDB, which complains about them at the process's end."""
    engine.dispose()
    engine.clear_compiled_cache()


def _is_condition(check: Check) -> bool:
    return check.kind in {"condition", "refers_to", "no_personal_number"}


def _as_expected(check: Check, days: bool) -> Check:
    """As the expectation takes it: a condition is a column of its own, and a day's rows are unique within the day."""
    if _is_condition(check):
        return replace(check, kind="condition")
    if check.kind == "unique":
        return replace(check, columns=tuple(lake_rules.unique_columns(check, days)))
    return check
