"""The one way a Spark job of ours opens its session: local by default, small, UTC, Delta on the class path."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from infra.stack import jars, java
from infra.stack.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# For one machine of two cores; spark-submit gives its own.
_LOCAL = {
    "spark.master": "local[2]",
    # 1 GB holds the shuffles of some million rows; gold is aggregated, not collected.
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    # The Delta log of a local table is a few files: 50 partitions (the default) cost 3 s a snapshot.
    "spark.databricks.delta.snapshotPartitions": "2",
    # Filters that Spark infers from all that is known of sixty columns: a quarter of the time of a small build.
    "spark.sql.constraintPropagation.enabled": "false",
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Planned once, as small builds are: an increment is forty queries, and planning again after every stage took 3 s.
    "spark.sql.adaptive.enabled": "false",
    # A build is over in minutes. At the JVM's own thresholds compilers took two fifths of an increment's CPU, much of
    # it for the largest of Spark's generated methods, and the concurrent collector a tenth: 94 s instead of 78.
    "spark.driver.extraJavaOptions": (
        "-XX:+UseParallelGC -XX:CompileThresholdScaling=4 -XX:MaxNodeLimit=20000 -XX:NodeLimitFudgeFactor=400"
    ),
}
# Tells the parts of a job that its session is one for few rows.
SMALL = "spark.kefulake.small"
# A job over a small lake is over before the JVM's second compiler or Spark's generated classes pay: both would take
# more CPU than the work (figures in DECISIONS.md, "Gold builds"). The first compiler alone has 48 MB for its code by
# default: a session of many queries filled them, and the JVM compiled nothing from then on.
_SMALL = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    # Planning is most of what a small build costs. Planned once instead of after every stage, and without inferred
    # filters, customer_360 and customer_tags take 26 s instead of 36.
    "spark.sql.adaptive.enabled": "false",
    # And what Spark plans is the step at hand, not all that led there (jobs/spark/sources.py, settled).
    SMALL: "true",
}
SMALL_ROWS = 200_000
ZONE = "spark.sql.session.timeZone"
_ALWAYS = {
    ZONE: "UTC",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # INT96, Spark's default, carries no zone: DuckDB would read it as a local time.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.ansi.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
}


def spark_session(name: str, settings: Settings, *, rows: int | None = None) -> SparkSession:
    """A session for the job ``name``; ends with the process or by ``.stop()``. ``rows``: how many it will read.

    Raises:
        JavaMissing, JarsMissing: Java 17 or the Delta jars aren't there; the message names the cure.
    """
    from pyspark.sql import SparkSession

    os.environ.setdefault("JAVA_HOME", java_home(java.find()))
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.appName(f"kefulake {name}")
    # Settings made here would win over those of spark-submit, so a cluster's own stay untouched.
    small = rows is not None and rows < SMALL_ROWS
    local = _LOCAL | (_SMALL if small else {})
    for key, value in (_ALWAYS | {SMALL: str(small).lower()} if is_submitted() else local | _ALWAYS).items():
        builder = builder.config(key, value)
    class_path = jars.class_path(settings, "spark")
    builder = builder.config("spark.driver.extraClassPath", class_path)
    builder = builder.config("spark.executor.extraClassPath", class_path)
    scratch = settings.home / "spark"
    scratch.mkdir(parents=True, exist_ok=True)
    builder = builder.config("spark.local.dir", str(scratch)).config("spark.sql.warehouse.dir", str(scratch))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def is_submitted() -> bool:
    """Whether spark-submit started this process, with a JVM and settings of its own."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def is_small(session: SparkSession) -> bool:
    """Whether it is one for few rows: they stay in memory, and plans are cut short."""
    return session.conf.get(SMALL, "false") == "true"


def java_home(java_program: str) -> str:
    """JAVA_HOME of a ``java`` program, links followed (``/usr/bin/java`` is one on Debian)."""
    return os.path.dirname(os.path.dirname(os.path.realpath(java_program)))
