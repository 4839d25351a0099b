"""Response times: what is far outside the normal, and what its own source confirms."""

import math

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.cleaning.outliers import Baseline, Baselines, judge_response_times

POLICY = contracts.policy("outliers")
THRESHOLDS = {name: value for name, value in POLICY.items() if name not in {"version", "channels"}}
# Median 60 s, MAD of ln 0.7: one robust deviation is 1.4826 * 0.7 = 1.038, the fences at 4.5 lie at 0.56 s and 6,410 s.
BASELINES = Baselines.from_policy({"version": "t1", "channels": {"*": {"*": {"median_s": 60, "mad_ln": 0.7}}}})


def judge(value, span_s=None, channel="app", kind="message", baselines=BASELINES):
    row = judge_response_times(
        pl.Series([channel]),
        pl.Series([kind]),
        pl.Series([value], dtype=pl.Float64),
        pl.Series([None if span_s is None else 1_000_000_000], dtype=pl.Int64),
        pl.Series([None if span_s is None else 1_000_000_000 + int(span_s * 1e6)], dtype=pl.Int64),
        baselines=baselines,
        **THRESHOLDS,
    ).row(0)
    return row[0], row[1]


@pytest.mark.parametrize(
    ("value", "span_s", "corrected", "verdict"),
    [
        (60, None, 60, "normal"),
        (0, None, 0, "normal"),  # at once: a bot, or the answer crossed the question
        (6000, None, 6000, "normal"),  # 100 minutes is long, and inside the fence of 6,410 s
        (6000, 30, 6000, "normal"),  # inside the normal the reported value is not doubted
        (7000, None, 7.0, "unit_ms"),  # beyond the fence; 7 s is well inside the normal
        (45_000, None, 45, "unit_ms"),
        (45_000, 45, 45, "unit_ms"),  # the two instants say so too
        (45_000, 45_000, 45_000, "extreme_confirmed"),  # 12.5 hours, and the instants agree: it happened
        (45_000, 44_200, 45_000, "extreme_confirmed"),  # within 2 %
        (45_000, 43_000, None, "outlier_high"),  # beyond 2 %: nothing confirms it, the span itself is far too long
        (45_000, 300, 300, "outlier_high"),  # the instants say 5 minutes
        (999_999_999, None, None, "outlier_high"),  # a filler value; 11 days even as milliseconds
        (86_400_000, None, None, "outlier_high"),  # a day in ms: a thousandth of it, 86,400 s, is far out itself
        (2_000, 2, 2, "unit_ms"),  # inside the fence, but the source's own instants say two seconds
        (500, 1, 0.5, "unit_ms"),  # a bot's half second, instants in whole seconds
        (90, 0, 90, "normal"),  # under 500 the instants are too coarse to speak of milliseconds
        (-5, None, None, "impossible"),
        (-5, 40, 40, "impossible"),  # corrected to what the instants say
        (math.nan, None, None, "impossible"),
        (math.inf, 100_000, None, "impossible"),  # the span is far out as well
        (None, 40, None, None),  # nothing reported, nothing judged
    ],
)
def test_verdicts(value, span_s, corrected, verdict):
    assert judge(value, span_s) == (corrected, verdict)


def test_a_slow_channel_has_a_low_fence_too():
    slow = Baselines.from_policy({"version": "t", "channels": {"*": {"*": {"median_s": 604800, "mad_ln": 0.7}}}})
    assert judge(2.0, None, baselines=slow) == (None, "outlier_low")  # two seconds for a letter: nobody read it
    assert judge(2.0, 2, baselines=slow) == (2.0, "extreme_confirmed")  # an automatic reply that did happen


def test_an_answer_before_the_question_confirms_nothing():
    assert judge(45_000, -45_000) == (45.0, "unit_ms")


def test_the_most_exact_baseline_counts_and_is_named():
    baselines = Baselines.from_policy(
        {
            "version": "d1",
            "channels": {
                "*": {"*": {"median_s": 60, "mad_ln": 0.7}},
                "email": {"*": {"median_s": 7200, "mad_ln": 0.7}, "complaint": {"median_s": 86400, "mad_ln": 0.7}},
            },
        }
    )
    assert judge(45_000, channel="email", baselines=baselines) == (45_000, "normal")
    assert baselines.of("email", "complaint").median_ln_s == pytest.approx(math.log(86400))
    baselines.update("app", "message", Baseline(math.log(40_000), 0.7, "2026-11-01"))
    frame = judge_response_times(
        pl.Series(["app", "email", None]),
        pl.Series(["message", "message", None]),
        pl.Series([45_000.0, 600.0, None]),
        pl.Series([None] * 3, dtype=pl.Int64),
        pl.Series([None] * 3, dtype=pl.Int64),
        baselines=baselines,
        **THRESHOLDS,
    )
    assert frame["baseline_version"].to_list() == ["2026-11-01", "d1", None]
    assert frame["response_time_verdict"].to_list() == ["normal", "normal", None]


def test_a_policy_without_a_general_default_is_refused():
    with pytest.raises(ValueError, match="every channel and kind"):
        Baselines.from_policy({"version": "x", "channels": {"app": {"*": {"median_s": 1, "mad_ln": 1}}}})


@settings(deadline=None)
@example([(117_189.0, None), (None, None)])  # polars' own division gave 117.18900000000001 for the first of two rows
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
            st.one_of(st.none(), st.integers(-(10**6), 10**9)),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_a_verdict_never_depends_on_the_batch(rows):
    spans = [span for _, span in rows]
    batch = judge_response_times(
        pl.Series(["app"] * len(rows)),
        pl.Series(["message"] * len(rows)),
        pl.Series([value for value, _ in rows], dtype=pl.Float64),
        pl.Series([None if s is None else 1_000_000_000 for s in spans], dtype=pl.Int64),
        pl.Series([None if s is None else 1_000_000_000 + s * 1_000_000 for s in spans], dtype=pl.Int64),
        baselines=BASELINES,
        **THRESHOLDS,
    )
    for at, (value, span) in enumerate(rows):
        assert batch.row(at)[:2] == judge(value, span)
        corrected, verdict = batch.row(at)[:2]
        assert (verdict is None) == (value is None)
        assert corrected is None or (math.isfinite(corrected) and corrected >= 0)


def test_the_shipped_policy_covers_every_channel():
    channels = set(contracts.field("channel").values)
    assert channels <= set(POLICY["channels"])
