"""What a micro-batch of the Spark peer needs of the past: which events and which feedback were seen before.

The cleaning job's two windows (jobs/flink/cleaning_sql.py) over narrow keys alone; the records stay where they are and
take the few duplicates from a broadcast. Earlier keys lie in Parquet, a folder a batch, so that a batch that is tried
again finds what it found at first. Nothing deletes old folders: a run of the bench ends before they grow old.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PLACE = ["raw_topic", "raw_partition", "raw_offset"]
KEYS = ["event_id", "feedback_key", "occurred_us", "received_at", *PLACE]
_STORED_SQL = (
    "event_id string, feedback_key string, occurred_us long, received_at timestamp, "
    "raw_topic string, raw_partition int, raw_offset long, batch long"
)


def earlier_keys(spark: SparkSession, folder: Path, batch_id: int, retention_h: int) -> DataFrame:
    """Keys of the batches before this one that were seen within the retention; columns ``KEYS`` and batch."""
    oldest = time.time() - retention_h * 3600
    stored = {int(found.name.partition("=")[2]): found for found in folder.glob("batch=*")}
    recent = [str(found) for n, found in stored.items() if n < batch_id and found.stat().st_mtime >= oldest]
    if not recent:
        return spark.createDataFrame([], _STORED_SQL)
    return spark.read.schema(_STORED_SQL).option("basePath", str(folder)).parquet(*recent)


def remember(parted: DataFrame, folder: Path, batch_id: int) -> None:
    """Stores the keys of a batch. Repeated feedback is among them: the next one is measured against it."""
    firsts = parted.where("rule IS NULL OR rule <> 'event_id'").select(*KEYS)
    firsts.write.mode("overwrite").parquet(str(folder / f"batch={batch_id}"))


def part(batch: DataFrame, earlier: DataFrame, feedback_window_us: int) -> DataFrame:
    """The batch with rule and duplicate_of_topic, _partition and _offset of what was seen before, NULL for the rest.

    Rule ``event_id``: not the first with its event_id. Rule ``feedback.repeated``: a first whose feedback came within
    ``feedback_window_us`` of the previous one with the same key, in either direction of source time.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    # The batch itself has no number: with one, Spark would compile its windows anew for each batch. Within a batch the
    # order is that of Kafka's timestamps, because tasks read side by side.
    order = [F.col("batch").asc_nulls_last(), "received_at", *PLACE]
    place = F.struct(*PLACE)
    keys = batch.select(*KEYS, F.lit(None).cast("long").alias("batch")).unionByName(earlier)
    by_event = Window.partitionBy("event_id").orderBy(*order).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    keys = keys.withColumn("first", F.first(place).over(by_event))
    again = F.col("first") != place
    # Few rows are left for the second window. Events seen again share the NULL key, whose previous nobody looks at.
    by_feedback = Window.partitionBy(F.when(~again, F.col("feedback_key"))).orderBy(*order)
    few = keys.where(again | F.col("feedback_key").isNotNull())
    few = few.withColumn("previous", F.lag(F.struct("occurred_us", *PLACE)).over(by_feedback))
    repeated = F.abs(F.col("occurred_us") - F.col("previous.occurred_us")) <= feedback_window_us
    rule = F.when(again, "event_id").when(repeated, "feedback.repeated")
    found = few.where("batch IS NULL").withColumn("rule", rule).where("rule IS NOT NULL")
    origin = [F.when(again, F.col(f"first.{name}")).otherwise(F.col(f"previous.{name}")) for name in PLACE]
    named = [o.alias(name.replace("raw_", "duplicate_of_")) for o, name in zip(origin, PLACE, strict=True)]
    return batch.join(F.broadcast(found.select(*PLACE, "rule", *named)), PLACE, "left")
