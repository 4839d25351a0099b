"""Response times far outside the normal of their channel and kind; the original is kept beside the correction."""

import math
from dataclasses import dataclass

import polars as pl

MAD_TO_SIGMA = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
ANY = "*"
JUDGED_COLUMNS = {
    "response_time_corrected_s": pl.Float64,
    "response_time_verdict": pl.String,
    "baseline_version": pl.String,
}


@dataclass(frozen=True)
class Baseline:
    """The normal of one channel and kind: median and MAD of ln(seconds), and the version it comes from."""

    median_ln_s: float
    mad_ln_s: float
    version: str


class Baselines:
    """Baselines by channel and kind: the policy's defaults, replaced by what topic policy.baselines says.

    The most exact entry wins: (channel, kind), then (channel, any), then (any, any).

    >>> baselines = Baselines.from_policy({"version": "d1", "channels": {"*": {"*": {"median_s": 60, "mad_ln": 0.7}}}})
    >>> baselines.of("phone", "message").version
    'd1'
    >>> baselines.update("phone", "message", Baseline(3.0, 0.5, "2026-11-01"))
    >>> baselines.of("phone", "message").median_ln_s
    3.0
    """

    def __init__(self, entries: dict[tuple[str, str], Baseline]):
        if (ANY, ANY) not in entries:
            raise ValueError("Response-time baselines need a default for every channel and kind: channels: '*': '*'.")
        self._entries = dict(entries)
        self._resolved: dict[tuple[str, str], Baseline] = {}

    @classmethod
    def from_policy(cls, policy: dict) -> "Baselines":
        """From schemas/policies/outliers.yaml (median in seconds, MAD in ln)."""
        version = str(policy["version"])
        return cls(
            {
                (channel, kind): Baseline(math.log(entry["median_s"]), float(entry["mad_ln"]), version)
                for channel, kinds in policy["channels"].items()
                for kind, entry in kinds.items()
            }
        )

    def update(self, channel: str, kind: str, baseline: Baseline) -> None:
        """Take a newer baseline; rows judged before keep the version they were judged against."""
        self._entries[channel, kind] = baseline
        self._resolved.clear()

    def of(self, channel: str | None, kind: str | None) -> Baseline:
        """The most exact baseline of a channel and kind."""
        wanted = (channel or ANY, kind or ANY)
        if wanted not in self._resolved:
            candidates = [wanted, (wanted[0], ANY), (ANY, wanted[1]), (ANY, ANY)]
            self._resolved[wanted] = next(self._entries[c] for c in candidates if c in self._entries)
        return self._resolved[wanted]

    def columns(self, channel: pl.Series, kind: pl.Series) -> pl.DataFrame:
        """Median, spread and version of each row, looked up once per distinct channel and kind."""
        keys = pl.DataFrame({"channel": channel, "kind": kind})
        distinct = keys.unique()
        found = [self.of(*key) for key in distinct.rows()]
        table = distinct.with_columns(
            pl.Series("median_ln", [b.median_ln_s for b in found], dtype=pl.Float64),
            pl.Series("mad_ln", [b.mad_ln_s for b in found], dtype=pl.Float64),
            pl.Series("version", [b.version for b in found], dtype=pl.String),
        )
        joined = keys.join(table, on=["channel", "kind"], how="left", nulls_equal=True, maintain_order="left")
        return joined.select("median_ln", "mad_ln", "version")


def judge_response_times(
    channel: pl.Series,
    kind: pl.Series,
    response_time_s: pl.Series,
    asked_at_us: pl.Series,
    replied_at_us: pl.Series,
    *,
    baselines: Baselines,
    max_sigmas: float,
    unit_max_sigmas: float,
    min_mad_ln: float,
    floor_s: float,
    tolerance_s: float,
    tolerance_share: float,
) -> pl.DataFrame:
    """Verdict and corrected value of each reported response time.

    Columns: response_time_corrected_s, response_time_verdict, baseline_version (all NULL where nothing was reported).
    A value more than `max_sigmas` robust deviations of ln(seconds) from its baseline is far outside the normal:

    - extreme_confirmed: the source's own two instants agree with it: a true extreme, kept as it is;
    - unit_ms: milliseconds taken for seconds: a thousandth of it is what the instants say, or, without instants,
      lies within `unit_max_sigmas` of the normal; corrected to the thousandth;
    - outlier_high, outlier_low: corrected to what the instants say if that is normal, else to NULL, never to an
      invented value;
    - impossible: negative or not a number; corrected likewise.

    >>> baselines = Baselines.from_policy({"version": "d1", "channels": {"*": {"*": {"median_s": 60, "mad_ln": 0.7}}}})
    >>> judge_response_times(
    ...     pl.Series(["app"] * 5), pl.Series(["message"] * 5), pl.Series([45.0, 45000.0, 86400.0, 999999.0, -3.0]),
    ...     pl.Series([None, None, 0, None, None]), pl.Series([None, None, 86400_000_000, None, None]),
    ...     baselines=baselines, max_sigmas=4.5, unit_max_sigmas=2.5, min_mad_ln=0.3, floor_s=1.0,
    ...     tolerance_s=5.0, tolerance_share=0.02).rows()  # doctest: +NORMALIZE_WHITESPACE
    [(45.0, 'normal', 'd1'), (45.0, 'unit_ms', 'd1'), (86400.0, 'extreme_confirmed', 'd1'),
     (None, 'outlier_high', 'd1'), (None, 'impossible', 'd1')]
    """
    value, measured, thousandth = pl.col("value"), pl.col("measured"), pl.col("thousandth")
    sigma = pl.max_horizontal(pl.col("mad_ln"), pl.lit(min_mad_ln)) * MAD_TO_SIGMA

    def sigmas(seconds: pl.Expr) -> pl.Expr:
        return (seconds.clip(lower_bound=floor_s).log() - pl.col("median_ln")) / sigma

    def agree(one: pl.Expr, other: pl.Expr) -> pl.Expr:
        tolerance = pl.max_horizontal(pl.lit(tolerance_s), other.abs() * tolerance_share)
        return ((one - other).abs() <= tolerance).fill_null(False)

    possible = value.is_finite() & (value >= 0)
    far = sigmas(value).abs() > max_sigmas
    measured_thousandth = agree(measured, thousandth) & ~agree(measured, value) & (value >= 100 * tolerance_s)
    guessed_thousandth = measured.is_null() & (sigmas(value) > 0) & (sigmas(thousandth).abs() <= unit_max_sigmas)
    verdict = (
        pl.when(value.is_null())
        .then(None)
        .when(~possible)
        .then(pl.lit("impossible"))
        .when(measured_thousandth)
        .then(pl.lit("unit_ms"))
        .when(~far)
        .then(pl.lit("normal"))
        .when(agree(measured, value))
        .then(pl.lit("extreme_confirmed"))
        .when(guessed_thousandth)
        .then(pl.lit("unit_ms"))
        .when(sigmas(value) > 0)
        .then(pl.lit("outlier_high"))
        .otherwise(pl.lit("outlier_low"))
    )
    measured_if_normal = pl.when(sigmas(measured).abs() <= max_sigmas).then(measured)
    corrected = (
        pl.when(pl.col("verdict").is_in(["normal", "extreme_confirmed"]))
        .then(value)
        .when(pl.col("verdict") == "unit_ms")
        .then(thousandth)
        .when(pl.col("verdict").is_not_null())
        .then(measured_if_normal)
    )
    if response_time_s.null_count() == len(response_time_s):
        return pl.DataFrame({n: pl.Series([None] * len(response_time_s), dtype=t) for n, t in JUDGED_COLUMNS.items()})
    reported = response_time_s.cast(pl.Float64)
    span_s = _divided((replied_at_us - asked_at_us).cast(pl.Float64), 1e6)
    frame = baselines.columns(channel, kind).with_columns(
        reported.alias("value"),
        _divided(reported, 1e3).alias("thousandth"),
        span_s.set(span_s < 0, None).alias("measured"),
    )
    return frame.with_columns(verdict.alias("verdict")).select(
        corrected.alias("response_time_corrected_s"),
        pl.col("verdict").alias("response_time_verdict"),
        pl.when(value.is_not_null()).then(pl.col("version")).alias("baseline_version"),
    )


def _divided(dividend: pl.Series, divisor: float) -> pl.Series:
    """The quotient to the last bit. polars multiplies a column of two rows and more by the reciprocal: 117189 ms become
    117.189 s alone and 117.18900000000001 s in company, and a verdict would depend on the batch.
    """
    quotient = dividend.to_numpy() / divisor
    return pl.Series(quotient).set(dividend.is_null(), None)
