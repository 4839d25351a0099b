"""Build aside, check, publish in one commit: readers never see a version that failed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.stack.settings import Settings
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
) -> Report:
    """Publishes ``build`` as ``table``; ``replace`` is a condition for the rows it stands for (None: all).

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
