"""The peer: Spark Structured Streaming with the same rules into the same Delta tables, tuned as its users would.

One query writes bronze (encrypted by the same cipher), a second one cleans: mapInArrow in large batches, each
micro-batch parted into kept, rejected, in review and duplicates, its tables written side by side. Duplicates, by
event_id and as repeated feedback, are found by two windows over the keys of the batch and of earlier ones
(`spark_dedup`): only keys are shuffled. A state operator would shuffle every record; Spark's own ones drop a duplicate
unseen, and one written in Python pays a round trip a key. Each batch reads all keys of the retention, which is right
for a backlog in a few large batches, as here; a stream of many small ones would keep them in RocksDB.

Left out in the peer's favour: the identity map, the balance, headers of replayed messages and one transaction over all
outputs. A batch that is tried again after a crash writes once more what it had written: Delta's txnVersion would
prevent that for each table by itself, but doubled the time of a small batch (3 s to 6 s), so it is not set.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from infra.stack import jars, java
from infra.stack.settings import Settings
from jobs.spark.session import java_home
from pipelines import contracts
from tests.bench import spark_dedup, spark_rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ARROW_ROWS = 20_000
DUPLICATES = "quarantine.duplicates"
KEYS_FOLDER = "keys-seen"
ENGINE = {
    "spark.master": "local[2]",
    "spark.driver.memory": "3g",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.scheduler.mode": "FAIR",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(ARROW_ROWS),
    "spark.sql.streaming.minBatchesToRetain": "3",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.ui.showConsoleProgress": "false",
}


def session(settings: Settings, scratch: Path) -> SparkSession:
    """A local session with the peer's tuning; PYTHONPATH reaches the workers."""
    from pyspark.sql import SparkSession

    os.environ["JAVA_HOME"] = java_home(java.find())
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    class_path = jars.class_path(settings, "spark")
    builder = SparkSession.builder.appName("bench peer")
    scratch.mkdir(parents=True, exist_ok=True)
    places = {"spark.driver.extraClassPath": class_path, "spark.executor.extraClassPath": class_path}
    places |= {"spark.local.dir": str(scratch), "spark.sql.warehouse.dir": str(scratch)}
    for key, value in (ENGINE | places).items():
        builder = builder.config(key, value)
    found = builder.getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    return found


def kafka(spark: SparkSession, bootstrap: str, topics: list[str], rows_per_trigger: int) -> DataFrame:
    """The raw topics as a stream, two tasks a batch however many partitions there are."""
    reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", bootstrap)
    reader = reader.option("subscribe", ",".join(topics)).option("startingOffsets", "earliest")
    reader = reader.option("includeHeaders", "true").option("maxOffsetsPerTrigger", str(rows_per_trigger))
    return reader.load().coalesce(2)


def header(name: str) -> str:
    """SQL of one header as text."""
    return f"CAST(try_element_at(filter(headers, h -> h.key = '{name}'), 1).value AS STRING) AS {name}"


def wire_schema(topic: str):
    """Types of a JSON record: instants are whole microseconds."""
    from pyspark.sql import types as T

    kinds = {"int": T.IntegerType(), "long": T.LongType(), "timestamp": T.LongType(), "double": T.DoubleType()}
    kinds |= {"boolean": T.BooleanType()}
    fields = contracts.topic(topic).fields
    return T.StructType([T.StructField(f.name, kinds.get(f.type, T.StringType())) for f in fields])


def table_rows(records: DataFrame, topic: str, table: str) -> DataFrame:
    """JSON records as the columns of their table."""
    from pyspark.sql import functions as F

    row = F.from_json("record", wire_schema(topic))
    columns = []
    for field in contracts.table(table).fields:
        if field.name == "received_date":
            columns.append(F.to_date(F.timestamp_micros("row.received_at")).alias("received_date"))
        elif field.type == "timestamp":
            columns.append(F.timestamp_micros(f"row.{field.name}").alias(field.name))
        else:
            columns.append(F.col(f"row.{field.name}").alias(field.name))
    return records.select(row.alias("row")).select(*columns)


def append(rows: DataFrame, lake: Path, table: str) -> None:
    """Appends to a Delta table as its contract partitions it."""
    writer = rows.write.format("delta").mode("append")
    partition_by = contracts.table(table).partition_by
    writer = writer.partitionBy(*partition_by) if partition_by else writer
    writer.save(str(lake.joinpath(*table.split("."))))


def duplicate_rows(rows: DataFrame) -> DataFrame:
    """Rows seen before as the columns of quarantine.duplicates."""
    from pyspark.sql import functions as F

    added = {"channel": F.substring_index("raw_topic", "raw.", -1), "received_date": F.to_date("received_at")}
    return rows.withColumns(added).select(*(field.name for field in contracts.table(DUPLICATES).fields))


def write_outputs(batch: DataFrame, batch_id: int, *, lake: Path, tables: dict[str, str]) -> None:
    """One micro-batch into its tables, those that have rows, side by side."""
    from pyspark.sql import functions as F

    keys = lake / KEYS_FOLDER
    window_us = contracts.policy("cleaning")["duplicate_feedback"]["window_hours"] * 3_600_000_000
    retention_h = contracts.policy("deduplication")["retention_hours"]
    batch.persist()
    earlier = spark_dedup.earlier_keys(batch.sparkSession, keys, batch_id, retention_h)
    parted = spark_dedup.part(batch, earlier, window_us)
    # Kept once more with its verdict: the writes below then only filter, as a join in each would cost each its plan.
    topic = F.when(F.col("rule").isNotNull(), DUPLICATES).otherwise(F.col("topic"))
    parted = parted.withColumn("topic", topic).persist()
    try:
        topics = [row["topic"] for row in parted.groupBy("topic").count().collect()]
        batch.unpersist()
        of = {name: parted.where(F.col("topic") == name) for name in topics}
        work = [(table_rows(of[name], name, tables[name]), tables[name]) for name in topics if name != DUPLICATES]
        if DUPLICATES in of:
            work.append((duplicate_rows(of[DUPLICATES]), DUPLICATES))
        vault = parted.where("vault_entries IS NOT NULL").select(F.explode("vault_entries").alias("entry"))
        vault = vault.select(F.expr("substring(entry, instr(entry, '|') + 1)").alias("record"))
        work.append((table_rows(vault, "identity.vault", "identity.vault"), "identity.vault"))
        with ThreadPoolExecutor(3) as pool:
            remembered = pool.submit(spark_dedup.remember, parted, keys, batch_id)
            list(pool.map(lambda rows_and_table: append(rows_and_table[0], lake, rows_and_table[1]), work))
            remembered.result()
    finally:
        parted.unpersist()
        batch.unpersist()


def run(args: argparse.Namespace) -> None:
    """Works off everything in the raw topics and ends."""
    settings = Settings.load()
    spark = session(settings, args.lake / "spark-scratch")
    raw = sorted(name for name, topic in contracts.topics().items() if topic.format == "raw")
    keys_file = str(settings.keys_file)
    messages = kafka(spark, settings.bootstrap, raw, args.rows_per_trigger)
    place = ["topic AS raw_topic", "partition AS raw_partition", "offset AS raw_offset", "timestamp AS received_at"]
    bronze = messages.selectExpr(
        *place, "to_date(timestamp) AS received_date", "key AS key_bytes",
        "to_json(transform(headers, h -> named_struct('name', h.key, 'value', CAST(h.value AS STRING)))) AS headers",
        "CAST(length(value) AS BIGINT) AS payload_bytes", "value",
    )  # fmt: skip
    sealed = ", ".join(f"{f.name} {f.dataType.simpleString()}" for f in bronze.schema if f.name != "value")
    encrypt = partial(spark_rules.encrypt_batches, keys_file=keys_file, topic_ids=topic_ids(settings.bootstrap, raw))
    bronze = bronze.mapInArrow(encrypt, f"{sealed}, payload_ciphertext binary")
    queries = [
        bronze.writeStream.format("delta")
        .partitionBy("received_date")
        .option("checkpointLocation", str(args.lake / "checkpoints" / "bronze"))
        .trigger(availableNow=True)
        .start(str(args.lake / "bronze" / "raw_events"))
    ]
    columns = ["value", "topic", "partition", "offset", "timestamp", header("account"), header("source_ref")]
    judged = messages.selectExpr(*columns).mapInArrow(
        partial(spark_rules.clean_batches, keys_file=keys_file), spark_rules.CLEANED_SQL
    )
    (args.lake / KEYS_FOLDER).mkdir(parents=True)
    tables = {topic: table.name for table in contracts.tables().values() for topic in table.topics}
    queries.append(
        judged.writeStream.foreachBatch(partial(write_outputs, lake=args.lake, tables=tables))
        .option("checkpointLocation", str(args.lake / "checkpoints" / "outputs"))
        .trigger(availableNow=True)
        .start()
    )
    for query in queries:
        query.awaitTermination()
    sys.stdout.write(json.dumps({"batches": len(queries[1].recentProgress)}) + "\n")
    spark.stop()


def topic_ids(bootstrap: str, topics: list[str]) -> tuple[tuple[str, str], ...]:
    """Kafka's ID of each topic: the cipher's key depends on it."""
    from confluent_kafka import TopicCollection
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})  # kept: its answers end with it
    told = admin.describe_topics(TopicCollection(topics))
    return tuple((name, str(future.result(20).topic_id)) for name, future in sorted(told.items()))


def main(argv: list[str] | None = None) -> None:
    """KEFULAKE_HOME and KEFULAKE_PORT_BASE name the stack whose broker is read."""
    parser = argparse.ArgumentParser(prog="spark_peer", description=__doc__.splitlines()[0])
    parser.add_argument("--rows-per-trigger", type=int, required=True)
    parser.add_argument("--lake", type=Path, required=True, help="where its tables and checkpoints go")
    run(parser.parse_args(argv))


if __name__ == "__main__":
    main()
