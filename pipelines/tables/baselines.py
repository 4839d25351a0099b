"""Response-time baselines for topic policy.baselines: median and MAD of ln(seconds) per channel and kind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F


def build(rows: DataFrame, *, as_of_at: datetime, policy: Mapping[str, Any], floor_s: float) -> DataFrame:
    """channel, baseline_kind, median_ln_s, mad_ln_s, sample_count of the days before ``as_of_at``.

    Taken from the times as reported, not as corrected: a baseline computed from what the last baseline let through
    would narrow itself with each round. Median and MAD stand up to less than half the values being wrong.
    ``policy`` is ``gold.baselines``; ``floor_s`` the outlier policy's (below it all is "at once").
    """
    until = F.lit(as_of_at)
    since = until - F.expr(f"INTERVAL {int(policy['window_days'])} DAYS")
    reported = rows.where(
        (F.col("occurred_at") >= since) & (F.col("occurred_at") < until)
        & (F.col("response_time_s") >= 0) & (F.col("response_time_s") < F.lit(float("inf")))
    ).select(
        "channel", F.col("kind").alias("baseline_kind"),
        F.ln(F.greatest("response_time_s", F.lit(float(floor_s)))).alias("ln_s"),
    )  # fmt: skip
    key = ["channel", "baseline_kind"]
    medians = reported.groupBy(*key).agg(F.percentile("ln_s", F.lit(0.5)).alias("median_ln_s"))
    spread = reported.join(medians, on=key, how="inner").withColumn("away", F.abs(F.col("ln_s") - F.col("median_ln_s")))
    return (
        spread.groupBy(*key, "median_ln_s")
        .agg(F.percentile("away", F.lit(0.5)).alias("mad_ln_s"), F.count(F.lit(1)).alias("sample_count"))
        .where(F.col("sample_count") >= policy["min_samples"])
        .select(*key, "median_ln_s", "mad_ln_s", "sample_count")
    )


def version(baselines: Sequence[Row], as_of_at: datetime) -> str:
    """Name of a set of baselines: its day and a hash of its content, so that equal data gives an equal version."""
    told = [[r[0], r[1], round(r[2], 9), round(r[3], 9), r[4]] for r in sorted(baselines)]
    return f"b{as_of_at:%Y%m%d}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]}"
