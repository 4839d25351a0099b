"""Build aside, check, publish in one commit: readers never see a version that failed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.stack.settings import Settings
from pipelines.io import spark_delta
from pipelines.io.lake_span import table_ids
from pipelines.lineage.hooks import told_as_build
from pipelines.quality.gate import GateFailed, Reconciliation, Report, judge
from pipelines.quality.lake_gate import judge_rows, require_sound

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from jobs.spark.restating import Restated

RESULTS, RESTATEMENTS = "gold.quality_results", "gold.restatements"
log = logging.getLogger(__name__)


@told_as_build
def publish_checked(
    build: DataFrame,
    table: str,
    settings: Settings,
    *,
    replace: str | None = None,
    expected_rows: int | None = None,
    reconciliations: Sequence[Reconciliation] = (),
    notes: Mapping[str, Any] | None = None,
    restate: Callable[[Path], Iterable[Restated]] = lambda staged: (),
) -> Report:
    """Publishes ``build`` as ``table``; ``replace`` is a condition for the rows it stands for (None: all).

    ``expected_rows``: how many it has by another count (None: not asked), so that no file of it is lost on the way.

    ``restate(folder of the build)`` says what it makes of the figures that stand; asked while the build is judged, and
    written just before it is published: a second try after a crash replaces them.
    The results go to gold.quality_results either way. A failed build stays in the staging folder to be looked at.

    Raises:
        GateFailed: a check of severity ``stop`` failed, on the build, on its restatements, or on what it read (notes
            ``sources``: tables with their versions); the table is as it was.
    """
    if sources := (notes or {}).get("sources"):
        require_sound(settings, sources)  # jobs ask before they build; no build gets by without
    checked_at = datetime.now(UTC)
    run_id = f"{table}@{checked_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    folder = settings.home / "staging" / table
    staged = spark_delta.stage(build, folder).cache()  # some twenty expectations read it
    if expected_rows is not None:
        reconciliations = [*reconciliations, Reconciliation("rows_equal_built", staged.count(), expected_rows)]
    with ThreadPoolExecutor(1) as beside:  # both are many small queries, and Spark plans each on one core
        restating = beside.submit(lambda: list(restate(folder)))
        report = judge(staged, table, run_id=run_id, checked_at=checked_at, reconciliations=reconciliations)
    if report.passed:
        sources = {name: settings.table_path(name) for name in (notes or {}).get("sources", {})}
        about = {"run_id": run_id, "table_ids": table_ids(sources), **(notes or {})}
        for found in restating.result():
            write_restated(found, settings)
        version = spark_delta.publish(folder, settings.table_path(table), replace=replace, notes=about)
        log.info("%s: published version %d, %d rows", table, version, report.checked_rows)
        spark_delta.drop_old_versions(settings.table_path(table))
        shutil.rmtree(folder, ignore_errors=True)
    spark_delta.append_rows(settings.table_path(RESULTS), RESULTS, report.rows(published=report.passed))
    staged.unpersist()
    if not report.passed and (error := restating.exception()) is not None:
        log.warning("%s: what it makes of earlier figures could not be told either", table, exc_info=error)
    if not report.passed:
        raise GateFailed(report)
    if report.failures:
        log.warning("%s", report.explain())
    return report


def write_restated(found: Restated, settings: Settings) -> None:
    """Into gold.restatements; what an earlier try said of the same figures is replaced, also by nothing.

    Raises:
        GateFailed: a row broke a check of gold.restatements; nothing was written.
    """
    report = judge_rows(settings, RESTATEMENTS, found.rows, checked_at=datetime.now(UTC))
    if not report.passed:
        raise GateFailed(report)
    mine = f"table_name = '{found.table}' AND restated_run_id = '{found.run_id}'"
    spark_delta.replace_rows(settings.table_path(RESTATEMENTS), found.rows, mine)
    if found.rows.num_rows:
        log.info("%s: %d figures of %s restated", found.table, found.rows.num_rows, found.run_id)
