"""Finds the rows that break a check. Great Expectations gates a table but no longer names the rows on Spark."""

from __future__ import annotations

import json

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipelines.quality.checks import Check


def bad_rows(frame: DataFrame, check: Check) -> DataFrame:
    """The rows of ``frame`` that break ``check``; none for a check on the table as a whole."""
    if check.kind == "row_count_min":
        return frame.limit(0)
    if check.kind == "condition":
        return frame.where(f"NOT ({check.condition})")
    if check.kind == "unique":
        same = Window.partitionBy(*check.columns)
        return frame.withColumn("_same", F.count(F.lit(1)).over(same)).where("_same > 1").drop("_same")
    column = F.col(check.columns[0])
    if check.kind == "not_null":
        return frame.where(column.isNull())
    if check.kind == "in_set":
        return frame.where(column.isNotNull() & ~column.isin(*check.values))
    if check.kind == "between":
        low = column < check.min if check.min is not None else F.lit(False)
        high = column > check.max if check.max is not None else F.lit(False)
        return frame.where(low | high)
    raise ValueError(f"check {check.name}: kind {check.kind!r} has no predicate; add it here and to suites.py")


def sample_keys(rows: DataFrame, key: tuple[str, ...], limit: int = 5) -> str:
    """Keys of up to ``limit`` rows as JSON, in key order; coded IDs only, no content."""
    found = rows.select(*key).orderBy(*key).limit(limit).collect()
    return json.dumps([row.asDict() for row in found], ensure_ascii=False, default=str)
