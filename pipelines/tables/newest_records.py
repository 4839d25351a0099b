"""Records of source systems as they stood at an instant: the newest revision, under the customer known today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.tables.current_rows import identifier_columns, under_current_customer


def newest_records(records: DataFrame, key: Sequence[str], *, as_of_at: datetime) -> DataFrame:
    """One row per ``key``: the record changed last before ``as_of_at``, then by revision, attempt and receipt.

    A change at or after ``as_of_at`` has not happened yet, so the record before it stands.
    """
    order = [F.col(c).desc_nulls_last() for c in ("updated_at", "source_revision", "attempt", "received_at")]
    tie = [F.col(c) for c in ("raw_topic", "raw_partition", "raw_offset")]
    newest = Window.partitionBy(*key).orderBy(*order, *tie)
    known = records.where(F.col("occurred_at") < F.lit(as_of_at))
    return known.withColumn("_nth", F.row_number().over(newest)).where("_nth = 1").drop("_nth")


def of_known_customers(records: DataFrame, links: DataFrame, identity: Mapping[str, Any]) -> DataFrame:
    """The records under the customer known today; those of nobody known are left out.

    A source without a kind of identifier says NULL of it.
    """
    absent = [F.lit(None).cast("string").alias(c) for c in identifier_columns(identity) if c not in records.columns]
    joined = under_current_customer(records.select("*", *absent), links, identity)
    return joined.where(F.col("customer_id").isNotNull())
