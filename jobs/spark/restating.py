"""What a build makes of the figures of the build before it: rows of gold.restatements."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.stack.settings import Settings
from jobs.spark.sources import RECORDS, SILVER
from pipelines import contracts
from pipelines.io import lake_changes, spark_delta
from pipelines.io.duckdb_lake import spilling, view_sql
from pipelines.io.lake_span import VersionGone, require_same_tables
from pipelines.tables import restatements
from pipelines.tables.current_rows import identifier_columns

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection, DuckDBPyRelation
    from pyspark.sql import Column, DataFrame, SparkSession

log = logging.getLogger(__name__)


class Earlier(NamedTuple):
    """A build that stands published: its run, the instant it counted up to, versions and IDs of the tables it read."""

    run_id: str
    as_of_at: datetime
    sources: Mapping[str, int | None]
    table_ids: Mapping[str, str] = {}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Earlier:
        return cls(told["run_id"], datetime.fromisoformat(told["as_of_at"]), told["sources"], told.get("table_ids", {}))


class Restated(NamedTuple):
    """Rows of gold.restatements about the figures of one run; none: they stand."""

    table: str
    run_id: str
    rows: pa.Table


class Rebuilt(NamedTuple):
    """A table as of an earlier instant: its rows of the customers concerned, and some columns of everybody's rows.

    ``of_everybody`` (key and columns) holds what hangs on all customers at once: fifths.
    """

    of_concerned: DataFrame
    of_everybody: DataFrame


Rebuild = Callable[["DataFrame | None", datetime], Rebuilt]


class Known(NamedTuple):
    """What came since the last build that may change its figures (None: nothing), found by who asked before."""

    touched: lake_changes.Touched | None


def restate_customers(
    table: str,
    settings: Settings,
    spark: SparkSession,
    versions: Mapping[str, int | None],
    rebuild: Rebuild,
    known: Known | None = None,
) -> list[Restated]:
    """The last build's figures of ``table``, one that has customer_id, by what is known at ``versions``.

    ``rebuild(concerned, as_of_at)`` makes the table of the customers in the frame ``concerned`` (None: of all). It is
    not called where nothing came that could change a figure.
    """
    told = next(spark_delta.notes(settings.table_path(table)), None)
    if told is None:
        return []
    build = Earlier.of(told)
    with _workplace(table, settings) as (connection, folder):
        try:
            tables = [*SILVER, *RECORDS]
            found = known.touched if known else _touched(connection, build, settings, versions, tables, folder)
        except VersionGone as gone:
            log.warning("%s: what came since %s can't be told, so everybody is compared: %s", table, build.run_id, gone)
            found, concerned = None, None
        else:
            if found is None:
                return [_restated(None, (), table, build)]
            owned = _owned(spark, found)
            concerned = spark_delta.stage(restatements.concerned(owned), folder / "concerned")
        made = rebuild(concerned, build.as_of_at)
        spark_delta.stage(made.of_concerned, folder / "rebuilt")
        if found is None or _has_orders(connection, found):  # else nobody's fifth can have moved
            spark_delta.stage(made.of_everybody, folder / "everybody")
        return [_restated(_compared(connection, table, settings, folder), _key(table), table, build)]


def _compared(connection: DuckDBPyConnection, table: str, settings: Settings, folder: Path) -> DuckDBPyRelation:
    """Differences with their reason, of the customers in ``concerned`` (none there: all) and of everybody else."""
    key = _key(table)
    connection.execute(f"CREATE VIEW published AS {view_sql(table, settings.table_path(table))[0]}")
    after = connection.read_parquet(f"{folder}/rebuilt/*.parquet")
    after.create_view("rebuilt")
    if (folder / "concerned").exists():
        connection.read_parquet(f"{folder}/concerned/*.parquet").create_view("concerned")
    else:
        everybody = "SELECT customer_id FROM published UNION SELECT customer_id FROM rebuilt"
        connection.execute(
            f"CREATE VIEW concerned AS SELECT *, '{restatements.REBUILT}' AS restatement_reason FROM ({everybody})"  # noqa: S608
        )
    before = connection.sql("FROM published SEMI JOIN concerned USING (customer_id)")
    found = restatements.differences(before, after, key).join(connection.table("concerned"), "customer_id")
    found = found.to_arrow_table()  # the next comparison takes the same names
    if not (folder / "everybody").exists():
        return connection.from_arrow(found)
    connection.read_parquet(f"{folder}/everybody/*.parquet").create_view("everybody")
    listed = ", ".join(key)
    before = connection.sql(
        f"FROM published ANTI JOIN concerned USING (customer_id) SEMI JOIN everybody USING ({listed})"
    )
    after = connection.sql("FROM everybody ANTI JOIN concerned USING (customer_id)")
    others = restatements.differences(before, after, key)
    return connection.from_arrow(found).union(
        others.project(f"*, '{restatements.FIFTHS}' AS restatement_reason").project(", ".join(found.column_names))
    )


def restate_periods(
    table: str,
    settings: Settings,
    spark: SparkSession,
    versions: Mapping[str, int | None],
    builds: Iterable[tuple[Earlier, str]],
    staged: Path,
    period_start: Column,
) -> list[Restated]:
    """Figures of periods that were over when they were published, by the build in ``staged``; nothing is built again.

    ``builds`` are those whose figures stand, each with the condition for its periods that were over. ``period_start``
    is a column over ``occurred_at``. A period that still ran has no figure to restate.
    """
    done = []
    for build, condition in builds:
        with _workplace(table, settings) as (connection, folder):
            why = _why(connection, build, settings, spark, versions, period_start, folder)
            before = connection.sql(view_sql(table, settings.table_path(table))[0]).filter(condition)
            after = connection.read_parquet(f"{staged}/*.parquet").filter(condition)
            differ = restatements.differences(before, after, _key(table)).join(why, "period_start_date", how="left")
            reason = f"coalesce(restatement_reason, '{restatements.REBUILT}') AS restatement_reason"
            differ = differ.project(f"* EXCLUDE (restatement_reason), {reason}")
            done.append(_restated(differ, _key(table), table, build))
    return done


def _why(
    connection: DuckDBPyConnection,
    build: Earlier,
    settings: Settings,
    spark: SparkSession,
    versions: Mapping[str, int | None],
    period_start: Column,
    folder: Path,
) -> DuckDBPyRelation:
    """Periods with the reasons why their figures may have changed: (period_start_date, restatement_reason)."""
    try:
        found = _touched(connection, build, settings, versions, SILVER, folder)
    except VersionGone as gone:
        log.warning("why figures of %s changed can't be told: %s", build.run_id, gone)
        found = None
    if found is None:
        return connection.sql("SELECT NULL::DATE AS period_start_date, NULL::VARCHAR AS restatement_reason WHERE false")
    concerned = restatements.periods_concerned(_owned(spark, found), period_start)
    spark_delta.stage(concerned, folder / "periods")
    return connection.read_parquet(f"{folder}/periods/*.parquet")


def _touched(
    connection: DuckDBPyConnection,
    build: Earlier,
    settings: Settings,
    versions: Mapping[str, int | None],
    tables: Iterable[str],
    folder: Path,
) -> lake_changes.Touched | None:
    paths = {name: settings.table_path(name) for name in tables}
    tokens = identifier_columns(contracts.policy("identity"))
    require_same_tables(paths, build.table_ids)
    return lake_changes.touched(
        connection, paths, build.sources, versions, tokens=tokens, until=build.as_of_at, folder=folder
    )


def _owned(spark: SparkSession, found: lake_changes.Touched) -> DataFrame:
    rows, before, now = (spark.read.parquet(str(path)) for path in found)
    return restatements.owners(rows, before, now, contracts.policy("identity"))


def _has_orders(connection: DuckDBPyConnection, found: lake_changes.Touched) -> bool:
    orders = connection.read_parquet(str(found.rows)).filter("source_table = 'silver.orders'")
    return bool(orders.limit(1).fetchall())


def _restated(found: DuckDBPyRelation | None, key: Sequence[str], table: str, build: Earlier) -> Restated:
    now = datetime.now(UTC)
    rows = restatements.as_rows(
        found, key, table=table, run_id=build.run_id, as_of_at=build.as_of_at, restated_at=now
    )  # fmt: skip
    return Restated(table, build.run_id, rows)


def _key(table: str) -> list[str]:
    return list(contracts.table(table).primary_key)


@contextmanager
def _workplace(table: str, settings: Settings) -> Iterator[tuple[DuckDBPyConnection, Path]]:
    """A connection that spills into a folder of the table's, and the folder, gone afterwards."""
    folder = settings.home / "staging" / f"{table}.restated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with spilling(folder / "spilled") as connection:
            yield connection, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
