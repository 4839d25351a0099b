"""What the bench's Spark peer calls a duplicate, over two batches; expected by hand from the rules of the Flink job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.bench import spark_dedup

pytestmark = pytest.mark.spark
HOUR_US = 3_600_000_000
WINDOW_US = 24 * HOUR_US
AT = datetime(2026, 1, 9, 8, tzinfo=UTC)
SCHEMA = (
    "event_id string, feedback_key string, occurred_us long, received_at timestamp, "
    "raw_topic string, raw_partition int, raw_offset long"
)


def batch_of(spark, *rows):
    """Rows of (event_id, feedback_key, hour it occurred, partition, offset), received one second an offset."""
    columns = [
        (event, key, hour * HOUR_US, AT + timedelta(seconds=offset), "raw.app", partition, offset)
        for event, key, hour, partition, offset in rows
    ]
    return spark.createDataFrame(columns, SCHEMA)


def seen(spark, batch, folder, batch_id):
    """{(partition, offset): (rule, partition and offset of what it repeats)}; remembers the batch as the peer does."""
    earlier = spark_dedup.earlier_keys(spark, folder, batch_id, retention_h=24)
    parted = spark_dedup.part(batch, earlier, WINDOW_US)
    spark_dedup.remember(parted, folder, batch_id)
    assert parted.count() == batch.count()
    rows = parted.where("rule IS NOT NULL").collect()
    assert {row.duplicate_of_topic for row in rows} <= {"raw.app"}
    return {
        (row.raw_partition, row.raw_offset): (row.rule, row.duplicate_of_partition, row.duplicate_of_offset)
        for row in rows
    }


def test_each_duplicate_names_what_it_repeats(spark, tmp_path):
    first = batch_of(
        spark,
        ("e1", None, 0, 0, 0),
        ("e2", None, 0, 0, 1),
        ("e1", None, 0, 0, 2),  # again, in the same batch
        ("e1", None, 0, 1, 3),  # and again: of the first, not of the second
        ("e3", "f1", 0, 0, 4),
        ("e4", "f1", 24, 0, 5),  # to the hour within the window
        ("e5", "f2", 0, 0, 6),
        ("e6", "f2", 25, 0, 7),  # an hour past it: honest
        ("e3", "f1", 0, 0, 8),  # a platform's retry is one of the event, not repeated feedback
        ("e7", "f1", 72, 0, 9),  # 48 hours after e4: honest, and what the next one is measured against
    )
    assert seen(spark, first, tmp_path, 0) == {
        (0, 2): ("event_id", 0, 0),
        (1, 3): ("event_id", 0, 0),
        (0, 5): ("feedback.repeated", 0, 4),
        (0, 8): ("event_id", 0, 4),
    }
    second = batch_of(
        spark,
        ("e2", None, 0, 0, 10),  # of the batch before
        ("e1", None, 0, 0, 11),
        ("e8", None, 0, 0, 12),
        ("e9", "f1", 70, 0, 13),  # two hours before e7 by source time: out of order, and repeated
        ("e10", "f1", 95, 0, 14),  # 25 hours after e9, the previous one, although 23 after e7
        ("e11", "f2", 49, 0, 15),  # 24 hours after e6
        ("e4", "f1", 95, 0, 16),  # the event of a repeated feedback is known, too
    )
    expected = {
        (0, 10): ("event_id", 0, 1),
        (0, 11): ("event_id", 0, 0),
        (0, 13): ("feedback.repeated", 0, 9),
        (0, 15): ("feedback.repeated", 0, 7),
        (0, 16): ("event_id", 0, 5),
    }
    assert seen(spark, second, tmp_path, 1) == expected
    assert seen(spark, second, tmp_path, 1) == expected  # a batch tried again doesn't meet its own keys


def test_within_a_batch_the_first_received_is_the_first(spark, tmp_path):
    batch = batch_of(spark, ("e1", None, 0, 0, 9), ("e1", None, 0, 1, 2))  # partition 1 was written before
    assert seen(spark, batch, tmp_path, 0) == {(0, 9): ("event_id", 1, 2)}


def test_an_earlier_batch_comes_first_whatever_the_timestamps(spark, tmp_path):
    seen(spark, batch_of(spark, ("e1", None, 0, 0, 9)), tmp_path, 0)
    assert seen(spark, batch_of(spark, ("e1", None, 0, 1, 2)), tmp_path, 1) == {(1, 2): ("event_id", 0, 9)}
