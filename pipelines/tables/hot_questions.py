"""gold.hot_questions: what customers ask most per period, near-equal phrasings as one question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines import contracts
from pipelines.insight.clusters import cluster_terms
from pipelines.insight.questions import Asking, question_of
from pipelines.tables.contacts import customer_rows

TABLE = "gold.hot_questions"
PERIOD = ("period_type", "period_start_date")


def asked(
    rows: DataFrame, *, period_type: str, time_zone: str, as_of_at: datetime, asking: Asking, starts_at: datetime | None
) -> DataFrame:
    """Questions in ``current_rows`` that occurred from ``starts_at`` to before ``as_of_at``: period, asker, channel,
    question and its terms.

    The asker of a question without a known customer is its session, else the message itself: two strangers are never
    taken for one person, and one chat is never taken for many.
    """
    meant = rows.where(F.col("occurred_at") < F.lit(as_of_at))
    if starts_at is not None:
        meant = meant.where(F.col("occurred_at") >= F.lit(starts_at))
    nobody = F.coalesce(F.concat(F.lit("s:"), "channel", F.lit(":"), "session_id"), F.concat(F.lit("e:"), "event_id"))
    # Who has no customer ID asks as well; customer_rows wants one, so the stand-in is put there.
    asker = meant.withColumn("customer_id", F.coalesce("customer_id", nobody))
    read = F.udf(_reader(asking), "struct<question: string, terms: string>", useArrow=False)
    return (
        customer_rows(asker)
        .where("kind <> 'feedback' AND (text IS NOT NULL OR subject IS NOT NULL)")
        .withColumn("q", read("text", "subject", "kind"))
        .where("q IS NOT NULL")
        .select(
            F.lit(period_type).alias("period_type"),
            period_start(period_type, time_zone).alias("period_start_date"),
            F.col("customer_id").alias("asker"),
            "channel",
            "q.question",
            "q.terms",
        )
    )


def period_start(period_type: str, time_zone: str) -> Column:
    """First day of the period in which ``occurred_at`` lies, in the business's days."""
    local = F.from_utc_timestamp("occurred_at", time_zone)
    return F.to_date(local) if period_type == "day" else F.to_date(F.trunc(local, period_type))


def build(questions: DataFrame, *, policy: Mapping[str, Any]) -> DataFrame:
    """The table from ``asked``; ``policy`` is ``gold.hot_questions``. Columns and order are those of the contract.

    The different phrasings of a period come to the driver (``max_phrasings`` at most, the most frequent first); the
    questions themselves stay where they are.
    """
    terms = questions.groupBy(*PERIOD, "terms").agg(F.count(F.lit(1)).alias("n"))
    clustered = questions.join(_clusters(terms, policy), on=[*PERIOD, "terms"], how="inner")
    totals = questions.groupBy(*PERIOD).agg(
        F.count_distinct("asker").alias("period_askers"), F.count(F.lit(1)).alias("period_questions")
    )
    cluster = [*PERIOD, "leader", "key_terms"]
    sizes = clustered.groupBy(*cluster).agg(
        F.count_distinct("asker").alias("askers"),
        F.count(F.lit(1)).alias("questions"),
        F.count_distinct("question").alias("phrasings"),
        F.count_distinct("channel").alias("question_channels"),
    )
    listed = (
        sizes.where(F.col("askers") >= policy["min_askers"])
        .join(_most_frequent(clustered, cluster, "question"), on=cluster, how="inner")
        .join(_most_frequent(clustered, cluster, "channel").withColumnRenamed("channel", "top_channel"), on=cluster)
    )
    return _ranked(listed, totals, policy["max_questions"]).select([f.name for f in contracts.table(TABLE).fields])


def _reader(asking: Asking) -> Callable[[str | None, str | None, str], tuple[str, str] | None]:
    def read(text: str | None, subject: str | None, kind: str) -> tuple[str, str] | None:
        return question_of(text, subject, kind, asking)

    return read


def _clusters(terms: DataFrame, policy: Mapping[str, Any]) -> DataFrame:
    hottest = Window.partitionBy(*PERIOD).orderBy(F.desc("n"), "terms")
    kept = terms.withColumn("_nth", F.row_number().over(hottest)).where(F.col("_nth") <= policy["max_phrasings"])
    counts: dict[tuple, dict[str, int]] = {}
    for period_type, start, found, n in kept.select(*PERIOD, "terms", "n").toLocalIterator():
        counts.setdefault((period_type, start), {})[found] = n
    rows = [
        (*period, found, cluster.leader, cluster.key_terms)
        for period, of_period in sorted(counts.items())
        for found, cluster in cluster_terms(of_period, min_similarity=policy["min_similarity"]).items()
    ]
    schema = "period_type string, period_start_date date, terms string, leader string, key_terms string"
    return terms.sparkSession.createDataFrame(rows, schema)


def _most_frequent(clustered: DataFrame, cluster: list[str], column: str) -> DataFrame:
    """The most frequent value of ``column`` in each cluster; ties to the shortest, then by text."""
    counted = clustered.groupBy(*cluster, column).agg(F.count(F.lit(1)).alias("n"))
    order = Window.partitionBy(*cluster).orderBy(F.desc("n"), F.length(column), column)
    return counted.withColumn("_nth", F.row_number().over(order)).where("_nth = 1").drop("_nth", "n")


def _ranked(listed: DataFrame, totals: DataFrame, max_questions: int) -> DataFrame:
    hottest = Window.partitionBy(*PERIOD).orderBy(F.desc("askers"), F.desc("questions"), "leader")
    ranked = listed.withColumn("question_rank", F.row_number().over(hottest).cast("long"))
    ranked = ranked.where(F.col("question_rank") <= max_questions)
    in_lists = ranked.groupBy(*PERIOD).agg(F.sum("questions").alias("_listed"))
    return (
        ranked.join(totals.join(in_lists, on=list(PERIOD), how="inner"), on=list(PERIOD), how="inner")
        .withColumn("period_outliers", F.col("period_questions") - F.col("_listed"))
        .withColumn("question_id", F.substring(F.sha2("leader", 256), 1, 16))
    )
