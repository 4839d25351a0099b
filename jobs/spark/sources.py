"""What the gold jobs read: silver at pinned versions, as it stands today."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from infra.stack.settings import Settings
from jobs.spark.session import is_small
from pipelines import contracts
from pipelines.io import spark_delta
from pipelines.tables.current_rows import current_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SILVER = ("silver.interactions", "silver.feedback", "silver.identity_links")
RECORDS = ("silver.customers", "silver.orders", "silver.identity_links")


class CustomerRecords(NamedTuple):
    """What CRM and order system say before an instant: ``customer_base``; orders, paid, values of ``order_values``."""

    base: DataFrame
    orders: DataFrame
    paid: DataFrame
    values: DataFrame
    versions: dict[str, int | None]

    def of_concerned(self, concerned: DataFrame | None) -> CustomerRecords:
        """Of the customers in ``concerned`` (None: of all); a value stays the one among all, as fifths are."""
        some = {name: of_concerned(getattr(self, name), concerned) for name in ("base", "orders", "paid", "values")}
        return self._replace(**some)


def silver_rows(spark: SparkSession, settings: Settings) -> tuple[DataFrame, dict[str, int | None]]:
    """Current rows of interactions and feedback, and the table versions they were read at."""
    versions = {table: spark_delta.version_of(settings.table_path(table)) for table in SILVER}
    read = {t: spark_delta.read(spark, settings.table_path(t), t, v) for t, v in versions.items()}
    return current_rows(*read.values(), contracts.policy("identity")), versions


def customer_records(
    spark: SparkSession, settings: Settings, as_of_at: datetime, at: Mapping[str, int | None] | None = None
) -> CustomerRecords:
    """Base attributes, orders and value of everybody known, and the table versions they were read at.

    ``at`` says which versions; the newest where it is None.
    """
    versions = record_versions(settings) if at is None else {table: at[table] for table in RECORDS}
    read = {t: spark_delta.read(spark, settings.table_path(t), t, v) for t, v in versions.items()}
    return records_of(read, as_of_at)._replace(versions=versions)


def record_versions(settings: Settings) -> dict[str, int | None]:
    """The newest versions of RECORDS."""
    return {table: spark_delta.version_of(settings.table_path(table)) for table in RECORDS}


def records_of(
    read: Mapping[str, DataFrame],
    as_of_at: datetime,
    *,
    concerned: DataFrame | None = None,
    measured: DataFrame | None = None,
) -> CustomerRecords:
    """The same from tables at hand; ``read`` holds those of RECORDS.

    Of the customers in ``concerned`` only (None: of all), valued among those and the ``measured``, who are everybody
    else (see ``order_values.measures``).
    """
    from pipelines.tables import customer_base, order_values

    identity, tiers = contracts.policy("identity"), contracts.policy("value_tiers")
    links = read["silver.identity_links"]
    # Each is read by the build, by the second path and by what is restated, and is small beside the messages.
    base = customer_base.build(read["silver.customers"], links, identity, as_of_at=as_of_at)
    orders = order_values.current_orders(read["silver.orders"], links, identity, as_of_at=as_of_at)
    base, orders = (of_concerned(frame, concerned) for frame in (base, orders.select(*order_values.READ)))
    base, orders = settled(base, few=True).cache(), settled(orders, few=True).cache()
    paid = order_values.paid(orders)
    measures = order_values.measures(paid, as_of_at=as_of_at, policy=tiers)
    measures = measures if measured is None else measures.unionByName(measured)
    values = settled(order_values.scored(measures, as_of_at=as_of_at, policy=tiers), few=True).cache()
    return CustomerRecords(base, orders, paid, values, {})


def settled(frame: DataFrame, *, few: bool = False) -> DataFrame:
    """The frame; in a session of few rows without the way it came, whose plan would cost more than the rows.

    A view reads the current rows seven times, and Spark plans them anew each time although they are cached. ``few``:
    the frame has a row or two a customer, so it is settled in every session.
    """
    return frame.localCheckpoint() if few or is_small(frame.sparkSession) else frame


def kept(rows: DataFrame, folder: Path) -> DataFrame:
    """Current rows of known customers as customer_360 reads them, kept for its seven readings.

    Few rows stay in memory, more go to ``folder``: texts of 5 million did not fit into 1 GB.
    """
    from pipelines.tables import customer_360

    mine = rows.where("customer_id IS NOT NULL").select(*customer_360.COLUMNS)
    return settled(mine).cache() if is_small(rows.sparkSession) else spark_delta.stage(mine, folder)


def of_concerned(frame: DataFrame, concerned: DataFrame | None) -> DataFrame:
    """The rows of the customers in ``concerned``; all where it is None."""
    if concerned is None:
        return frame
    return frame.join(concerned.select("customer_id"), on="customer_id", how="left_semi")


def silver_row_count(settings: Settings) -> int:
    """Rows the gold jobs will read, out of the Delta logs; files without a count are taken for a million each."""
    total = 0
    for table in dict.fromkeys((*SILVER, *RECORDS)):
        path = settings.table_path(table)
        if spark_delta.version_of(path) is not None:
            total += spark_delta.row_count(path, unknown=1_000_000)
    return total


def instant(text: str) -> datetime:
    """An instant as a job takes it: a business day means up to its end, anything else is ISO 8601 (UTC by default).

    >>> instant("2026-01-20").isoformat(), instant("2026-01-20T08:00:00").isoformat()
    ('2026-01-20T16:00:00+00:00', '2026-01-20T08:00:00+00:00')
    """
    if len(text) == len("2026-01-20"):
        return day_start(date.fromisoformat(text) + timedelta(days=1))
    given = datetime.fromisoformat(text)
    return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)


def day_start(day: date) -> datetime:
    """Midnight of a day in the business time zone.

    >>> day_start(date(2026, 1, 20)).isoformat()
    '2026-01-19T16:00:00+00:00'
    """
    zone = ZoneInfo(contracts.policy("gold")["business_time_zone"])
    return datetime.combine(day, time(), zone).astimezone(UTC)


def business_day(at: datetime) -> date:
    """The day of an instant in the business time zone.

    >>> business_day(datetime(2026, 1, 19, 16, tzinfo=UTC)).isoformat()
    '2026-01-20'
    """
    return at.astimezone(ZoneInfo(contracts.policy("gold")["business_time_zone"])).date()
