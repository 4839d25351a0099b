"""Renders checks as a Great Expectations suite and runs it on a Spark DataFrame; suites are never committed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.quality.checks import Check

if TYPE_CHECKING:
    import great_expectations as gx


def render(checks: Sequence[Check], name: str) -> gx.ExpectationSuite:
    """The suite ``name``; each expectation carries its check's name in ``meta``."""
    quiet()
    import great_expectations as gx

    return gx.ExpectationSuite(name=name, expectations=[_expectation(check) for check in checks])


def verdicts(frame: DataFrame, checks: Sequence[Check], name: str) -> dict[str, bool]:
    """Whether each check holds on ``frame``, by name. A check that can't be evaluated does not hold."""
    suite = render(checks, name)
    for check in checks:
        if check.kind == "condition":
            frame = frame.withColumn(column(check), F.expr(f"coalesce({check.condition}, true)"))
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    source = context.data_sources.add_spark("build", persist=False)
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    # Only yes or no: bad rows are found by predicates.py, and each sample here would be a Spark job of its own.
    outcome = batch.validate(suite, result_format="BOOLEAN_ONLY")
    return {r.expectation_config.meta["check"]: bool(r.success) for r in outcome.results}


def _expectation(check: Check) -> Any:
    import great_expectations.expectations as gxe

    meta = {"check": check.name, "severity": check.severity}
    if check.kind == "not_null":
        return gxe.ExpectColumnValuesToNotBeNull(column=check.columns[0], meta=meta)
    if check.kind == "unique" and len(check.columns) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=check.columns[0], meta=meta)
    if check.kind == "unique":
        return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(check.columns), meta=meta)
    if check.kind == "in_set":
        return gxe.ExpectColumnValuesToBeInSet(column=check.columns[0], value_set=list(check.values), meta=meta)
    if check.kind == "between":
        return gxe.ExpectColumnValuesToBeBetween(
            column=check.columns[0], min_value=check.min, max_value=check.max, meta=meta
        )
    if check.kind == "row_count_min":
        return gxe.ExpectTableRowCountToBeBetween(min_value=int(check.min or 0), meta=meta)
    if check.kind == "condition":
        # A column of its own: counted in one pass with all others. A query each took a Spark job each.
        return gxe.ExpectColumnValuesToBeInSet(column=column(check), value_set=[True], meta=meta)
    raise ValueError(f"check {check.name}: kind {check.kind!r} has no expectation; add it here and to predicates.py")


def column(check: Check) -> str:
    return f"_holds_{check.name}"


def quiet() -> None:
    """No telemetry: a lake of customer data reports to nobody. Read when the package is imported."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
