"""What a build of gold.customer_360 starts from: everything, or the last build and whoever has changed since."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.stack.settings import Settings
from jobs.spark.restating import Earlier
from jobs.spark.sources import RECORDS, SILVER, CustomerRecords, customer_records, kept, records_of
from pipelines import contracts
from pipelines.io import lake_changes, lake_slices, spark_delta
from pipelines.io.duckdb_lake import spilling
from pipelines.io.lake_span import VersionGone, require_same_tables
from pipelines.tables.current_rows import current_rows, identifier_columns, token_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)
TABLE = "gold.customer_360"
# A build that another version of one of these made says nothing about this one's rows. The rules have no file of their
# own: their number goes up when a row would be another. 2: last_channel by end and name.
RULES = 2
POLICIES = ("identity", "gold", "value_tiers")
INCREMENT, ROWS = f"{TABLE}.increment", f"{TABLE}.rows"
TABLES = tuple(dict.fromkeys((*SILVER, *RECORDS)))


class Prepared(NamedTuple):
    """The ``slices`` at ``versions`` (None: nothing came, nobody's window moved).

    ``touched_then``: what of it may change a figure of the build before (None: nothing).
    """

    versions: dict[str, int | None]
    slices: lake_slices.Slices | None
    touched_then: lake_changes.Touched | None


class Basis(NamedTuple):
    """Current ``rows`` and ``records_at(instant)`` of the customers to build; ``others`` stay as published.

    ``concerned`` names the customers to build (None: all, and no others). Values are among everybody. ``others_rows``:
    how many the others are by the log of the published table.
    """

    rows: DataFrame
    records_at: Callable[[datetime], CustomerRecords]
    concerned: DataFrame | None = None
    others: DataFrame | None = None
    others_rows: int = 0


def made_by() -> dict[str, Any]:
    """What of this version of Kefulake decides on the rows of the view, for the notes of a build."""
    columns = [f.name for f in contracts.table(TABLE).fields]
    return {"policies": {name: contracts.policy(name)["version"] for name in POLICIES}, "columns": columns,
            "rules": RULES}  # fmt: skip


def everything(
    spark: SparkSession, settings: Settings, rows: DataFrame, versions: Mapping[str, int | None]
) -> Basis:  # fmt: skip
    """The basis of a full build; ``versions`` of all tables of SILVER and RECORDS."""
    if not rows.is_cached:
        rows = kept(rows, settings.home / "staging" / ROWS)
    return Basis(rows, lambda as_of_at: customer_records(spark, settings, as_of_at, versions))


def prepare(settings: Settings, as_of_at: datetime) -> Prepared | None:
    """What came since the last build, copied aside; None where a full build is due, and the log says why.

    Needs no Spark: how much it finds decides which engine builds.
    """
    told = next(spark_delta.notes(settings.table_path(TABLE)), None)
    if told is None:
        log.info("full build: nothing is published yet")
        return None
    if {name: told.get(name) for name in made_by()} != made_by():
        log.info("full build: %s was made by other policies or has other columns", told["run_id"])
        return None
    build = Earlier.of(told)
    if as_of_at < build.as_of_at:
        log.info("full build: %s already counts up to %s", build.run_id, build.as_of_at)
        return None
    versions = {table: spark_delta.version_of(settings.table_path(table)) for table in TABLES}
    try:
        return _slices(settings, build, versions, as_of_at)
    except VersionGone as gone:
        log.info("full build: what came since %s can't be told: %s", build.run_id, gone)
        return None


def since_last(spark: SparkSession, settings: Settings, prepared: Prepared) -> Basis:
    """The basis of an incremental build."""
    from pipelines.tables import customer_360

    tables = {table: _read(spark, prepared.slices, table) for table in TABLES}
    if prepared.slices is None:
        concerned = spark.createDataFrame([], "customer_id string")
    else:
        concerned = spark.read.schema("customer_id string").parquet(str(prepared.slices.customers))
    path = settings.table_path(TABLE)
    published = spark_delta.read(spark, path, TABLE, spark_delta.version_of(path))
    others = published.join(concerned, on="customer_id", how="left_anti")
    replaced = published.join(concerned, on="customer_id", how="left_semi").count()
    rows = current_rows(*[tables[t] for t in SILVER], contracts.policy("identity"))
    rows = rows.join(concerned, on="customer_id", how="left_semi")
    rows = kept(rows, settings.home / "staging" / ROWS)
    measured = customer_360.measures_of(others)

    def records_at(as_of_at: datetime) -> CustomerRecords:
        return records_of(tables, as_of_at, concerned=concerned, measured=measured)

    return Basis(rows, records_at, concerned, others, published_rows(settings) - replaced)


def published_rows(settings: Settings) -> int:
    """Rows of the last build, by the table's log."""
    return spark_delta.row_count(settings.table_path(TABLE), unknown=0)


def tidy(settings: Settings) -> None:
    """Removes what a build that was published has staged; one that was refused leaves it to be looked at."""
    for name in (INCREMENT, ROWS):
        shutil.rmtree(settings.home / "staging" / name, ignore_errors=True)


def windows(earlier_at: datetime, as_of_at: datetime) -> list[lake_changes.Between]:
    """Rows that count, or count in a window, at only one of the two instants.

    >>> day = datetime(2026, 1, 20), datetime(2026, 1, 21)
    >>> [(b.table, b.column, f"{b.begin_at:%d.%m.%Y}") for b in windows(*day)][:2]
    [('silver.interactions', 'occurred_at', '20.01.2026'), ('silver.interactions', 'occurred_at', '24.07.2025')]
    """
    contact_days = timedelta(days=contracts.policy("gold")["contacts"]["window_days"])
    order_days = timedelta(days=contracts.policy("value_tiers")["window_days"])
    none = timedelta()
    spans = [(table, "occurred_at", back) for table in SILVER[:2] for back in (none, contact_days)]
    spans += [("silver.customers", "occurred_at", none), ("silver.orders", "occurred_at", none)]
    spans += [("silver.orders", "paid_at", back) for back in (none, order_days)]
    return [lake_changes.Between(t, column, earlier_at - back, as_of_at - back) for t, column, back in spans]


def _slices(
    settings: Settings, build: Earlier, versions: dict[str, int | None], as_of_at: datetime
) -> Prepared:  # fmt: skip
    # A name of its own each time: a session keeps what it has read of a file, and builds of one share a session.
    staging = settings.home / "staging" / INCREMENT
    shutil.rmtree(staging, ignore_errors=True)
    folder: Path = staging / uuid.uuid4().hex
    folder.mkdir(parents=True)
    identity = contracts.policy("identity")
    tokens, paths = identifier_columns(identity), {t: settings.table_path(t) for t in TABLES}
    require_same_tables(paths, build.table_ids)
    with spilling(folder / "spilled") as connection:
        found = lake_changes.touched(
            connection, paths, build.sources, versions, tokens=tokens, until=as_of_at, folder=folder,
            also=windows(build.as_of_at, as_of_at),
        )  # fmt: skip
        if found is None:
            log.info("incremental build: nobody has changed")
            return Prepared(versions, None, None)
        then = lake_changes.touched_then(connection, tokens=tokens, until=build.as_of_at, folder=folder / "then")
        slices = lake_slices.write_slices(
            connection, paths, versions, tokens=tokens, provisional=token_columns(identity["provisional"]),
            folder=folder,
        )  # fmt: skip
        changed = connection.read_parquet(str(slices.customers)).shape[0]
    log.info("incremental build: at most %d customers have changed", changed)
    return Prepared(versions, slices, then)


def _read(spark: SparkSession, slices: lake_slices.Slices | None, table: str) -> DataFrame:
    """The rows of a table in the contract's columns, a text that was left out NULL; none without slices."""
    schema = spark_delta.ddl(contracts.spark_schema(contracts.table(table)))
    if slices is None:
        return spark.createDataFrame([], schema)
    return spark.read.schema(schema).parquet(str(slices.tables[table]))  # told, not asked for by a job a file
