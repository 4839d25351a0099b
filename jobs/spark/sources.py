"""What the gold jobs read: silver at pinned versions, as it stands today."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import spark_delta
from pipelines.tables.current_rows import current_rows, moved_customers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Rows reach silver partition by partition, so one judged before the newest may come after it: so far back from the
# newest row of a build the rows are compared one by one.
_OUT_OF_ORDER = timedelta(minutes=15)
SILVER = ("silver.interactions", "silver.feedback", "silver.identity_links")
RECORDS = ("silver.customers", "silver.orders", "silver.identity_links")


class CustomerRecords(NamedTuple):
    """What CRM and order system say before an instant: ``customer_base``; orders, paid, values of ``order_values``."""

    base: DataFrame
    orders: DataFrame
    paid: DataFrame
    values: DataFrame
    versions: dict[str, int | None]


def silver_rows(spark: SparkSession, settings: Settings) -> tuple[DataFrame, dict[str, int | None]]:
    """Current rows of interactions and feedback, and the table versions they were read at."""
    versions = {table: spark_delta.version_of(settings.table_path(table)) for table in SILVER}
    read = {t: spark_delta.read(spark, settings.table_path(t), t, v) for t, v in versions.items()}
    return current_rows(*read.values(), contracts.policy("identity")), versions


def moved_since(
    spark: SparkSession, settings: Settings, before: Mapping[str, int | None], now: Mapping[str, int | None]
) -> DataFrame:
    """Customers between whom links recorded since the versions ``before`` moved rows; at the versions ``now``."""
    table = "silver.identity_links"
    read = {t: spark_delta.read(spark, settings.table_path(t), t, v) for t, v in now.items()}
    links_before = spark_delta.read(spark, settings.table_path(table), table, before[table])
    links = read.pop(table)
    return moved_customers(list(read.values()), links_before, links, contracts.policy("identity"))


def judged_since(
    rows: DataFrame, settings: Settings, before: Mapping[str, int | None], seen_until: datetime
) -> DataFrame:
    """The rows that were not in silver at the versions ``before``, whose newest row was judged at ``seen_until``."""
    from pyspark.sql import functions as F

    since = F.col("processed_at") > F.lit(seen_until - _OUT_OF_ORDER)
    place = ["raw_topic", "raw_partition", "raw_offset"]
    found = rows.where(since)
    for table in ("silver.interactions", "silver.feedback"):
        there = spark_delta.read(rows.sparkSession, settings.table_path(table), table, before[table])
        found = found.join(there.where(since).select(place), on=place, how="left_anti")
    return found


def newest(rows: DataFrame) -> datetime | None:
    """When the newest of the rows was judged; None without rows."""
    from pyspark.sql import functions as F

    at = rows.agg(F.max("processed_at")).first()[0]
    return None if at is None else at.astimezone(UTC)


def customer_records(spark: SparkSession, settings: Settings, as_of_at: datetime) -> CustomerRecords:
    """Base attributes, orders and value of everybody known, and the table versions they were read at."""
    from pipelines.tables import customer_base, order_values

    versions = {table: spark_delta.version_of(settings.table_path(table)) for table in RECORDS}
    records, orders, links = (spark_delta.read(spark, settings.table_path(t), t, v) for t, v in versions.items())
    identity = contracts.policy("identity")
    base = customer_base.build(records, links, identity, as_of_at=as_of_at)
    current = order_values.current_orders(orders, links, identity, as_of_at=as_of_at)
    paid = order_values.paid(current)
    values = order_values.build(paid, as_of_at=as_of_at, policy=contracts.policy("value_tiers"))
    return CustomerRecords(base, current, paid, values, versions)


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
