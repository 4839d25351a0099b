"""Build aside, check, publish in one commit: readers never see a version that failed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.stack.settings import Settings
from jobs.spark.sources import judged_since, moved_since
from pipelines import contracts
from pipelines.io import spark_delta
from pipelines.quality.gate import GateFailed, Reconciliation, Report, judge

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RESULTS = "gold.quality_results"
log = logging.getLogger(__name__)


def publish_checked(
    build: DataFrame,
    table: str,
    settings: Settings,
    *,
    replace: str | None = None,
    reconciliations: Sequence[Reconciliation] = (),
    notes: Mapping[str, Any] | None = None,
    restatements: DataFrame | None = None,
) -> Report:
    """Publishes ``build`` as ``table``; ``replace`` is a condition for the rows it stands for (None: all).

    ``restatements`` says what the build makes of an earlier one's figures; they are written just before, once: a second
    try after a crash replaces them.
    The results go to gold.quality_results either way. A failed build stays in the staging folder to be looked at.

    Raises:
        GateFailed: a check of severity ``stop`` failed; the table is as it was.
    """
    checked_at = datetime.now(UTC)
    run_id = f"{table}@{checked_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    folder = settings.home / "staging" / table
    staged = spark_delta.stage(build, folder).cache()  # some twenty expectations read it
    report = judge(staged, table, run_id=run_id, checked_at=checked_at, reconciliations=reconciliations)
    if report.passed:
        about = {"run_id": run_id, **(notes or {})}
        if restatements is not None:
            write_restatements(restatements, settings)
        version = spark_delta.publish(staged, settings.table_path(table), replace=replace, notes=about)
        log.info("%s: published version %d, %d rows", table, version, report.checked_rows)
        spark_delta.drop_old_versions(settings.table_path(table))
        shutil.rmtree(folder, ignore_errors=True)
    spark_delta.append_rows(settings.table_path(RESULTS), RESULTS, report.rows(published=report.passed))
    staged.unpersist()
    if not report.passed:
        raise GateFailed(report)
    if report.failures:
        log.warning("%s", report.explain())
    return report


def restated(
    table: str,
    settings: Settings,
    rows: DataFrame,
    versions: Mapping[str, int | None],
    key: Sequence[str],
    rebuild: Callable[[DataFrame, datetime], DataFrame],
) -> DataFrame | None:
    """gold.restatements of the table's published figures by what is known now; None where nothing can have changed.

    ``rebuild(rows, as_of_at)`` makes the table from current rows; it is asked for the customers concerned only.
    """
    from pyspark.sql import functions as F

    from pipelines.tables import restatements

    path = settings.table_path(table)
    told = spark_delta.notes(path)
    if told is None or "seen_until" not in told:
        return None
    as_of_at, seen_until = (datetime.fromisoformat(told[name]) for name in ("as_of_at", "seen_until"))
    moved = moved_since(rows.sparkSession, settings, told["sources"], versions)
    late = judged_since(rows.where(F.col("occurred_at") < F.lit(as_of_at)), settings, told["sources"], seen_until)
    # Checkpoints, because what follows reads each several times: planned as one, the builds outgrew the driver.
    concerned = restatements.causes(moved, late).localCheckpoint()
    if concerned.isEmpty():
        return None
    published = spark_delta.read(rows.sparkSession, path, table, spark_delta.version_of(path))
    before = published.join(concerned, on="customer_id", how="left_semi").localCheckpoint()
    after = rebuild(rows.join(concerned, on="customer_id", how="left_semi").localCheckpoint(), as_of_at)
    after = after.select(before.columns).join(concerned, on="customer_id", how="left_semi").localCheckpoint()
    found = restatements.differences(before, after, key)
    reason = concerned.withColumnRenamed("reason", "restatement_reason")
    return (
        found.withColumn("customer_id", F.get_json_object("row_key", "$.customer_id"))
        .join(reason, on="customer_id", how="inner")
        .withColumns(
            {
                "table_name": F.lit(table),
                "restated_run_id": F.lit(told["run_id"]),
                "as_of_at": F.lit(as_of_at),
                "restated_at": F.lit(datetime.now(UTC)),
            }
        )
        .select([f.name for f in contracts.table(restatements.TABLE).fields])
    )


def write_restatements(found: DataFrame, settings: Settings) -> None:
    """Into gold.restatements; what an earlier try wrote of the same build is replaced."""
    from pipelines.tables.restatements import TABLE

    found = found.cache()
    first = found.select("table_name", "restated_run_id").first()
    if first is not None:
        condition = "table_name = '{}' AND restated_run_id = '{}'".format(*first)
        spark_delta.publish(found, settings.table_path(TABLE), replace=condition, notes={"restated": first[1]})
        log.info("%s: %d figures of %s restated", first[0], found.count(), first[1])
    found.unpersist()
