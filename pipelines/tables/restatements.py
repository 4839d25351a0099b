"""``gold.restatements``: what an earlier published figure is now, why, and what it was (design decision 6)."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

TABLE = "gold.restatements"
IDENTITY, LATE = "identity", "late_rows"


def differences(before: DataFrame, after: DataFrame, key: Sequence[str]) -> DataFrame:
    """Columns that differ: ``row_key`` (JSON), ``column_name``, ``old_value``, ``new_value`` (text; NULL is NULL).

    A row on one side only is one difference without ``column_name``, its value the whole row as JSON.
    """
    columns = [name for name in after.columns if name not in key]
    old = before.select(*key, F.struct(*columns).alias("_old"))
    new = after.select(*key, F.struct(*columns).alias("_new"))
    both = old.join(new, on=list(key), how="full")
    whole = F.struct(
        F.lit(None).cast("string").alias("column_name"),
        F.to_json("_old").alias("old_value"),
        F.to_json("_new").alias("new_value"),
    )
    each = F.filter(F.array(*[_cell(name) for name in columns]), lambda c: ~c["old_value"].eqNullSafe(c["new_value"]))
    found = F.when(F.col("_old").isNull() | F.col("_new").isNull(), F.array(whole)).otherwise(each)
    return both.select(F.to_json(F.struct(*key)).alias("row_key"), F.explode(found).alias("d")).select("row_key", "d.*")


def _cell(name: str) -> Column:
    old, new = (F.col(f"{side}.{name}").cast("string") for side in ("_old", "_new"))
    return F.struct(F.lit(name).alias("column_name"), old.alias("old_value"), new.alias("new_value"))


def causes(moved: DataFrame, late: DataFrame) -> DataFrame:
    """Customers whose figures may have changed since a build, as (customer_id, reason).

    ``identity`` for the ``moved`` customers (see ``current_rows.moved_customers``), ``late_rows`` for those of ``late``
    rows: judged since the build, about something that occurred before its ``as_of_at``.
    """
    found = moved.select("customer_id", F.lit(IDENTITY).alias("reason")).unionByName(
        late.where("customer_id IS NOT NULL").select("customer_id", F.lit(LATE).alias("reason"))
    )
    return found.groupBy("customer_id").agg(F.concat_ws(",", F.sort_array(F.collect_set("reason"))).alias("reason"))
