"""Worked by hand: percentiles by rank, lags with and without a trend, CPU time between two moments."""

from __future__ import annotations

import pytest

from tests.bench import figures


@pytest.mark.parametrize(
    ("values", "wanted", "found"),
    [
        ([7.0], (50, 95, 99), {"p50": 7.0, "p95": 7.0, "p99": 7.0}),  # one value is every percentile
        (list(range(1, 101)), (50, 95, 99), {"p50": 50.0, "p95": 95.0, "p99": 99.0}),  # rank = percent
        ([10, 20], (50, 51), {"p50": 10.0, "p51": 20.0}),  # half of two is the first, a hair more the second
        ([], (50,), {}),  # nothing seen is no zero
    ],
)
def test_a_percentile_is_a_value_that_was_seen(values, wanted, found):
    assert figures.percentiles(values, wanted) == found


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([(1.0, 90), (5.0, 10)], {"p50": 1.0, "p95": 5.0}),  # 10 of 100 rows waited 5 s: p95 lies among them
        ([(5.0, 10), (1.0, 990)], {"p50": 1.0, "p95": 1.0}),  # 1 % does not reach p95; order does not matter
        ([(3.0, 0)], {}),  # no rows
    ],
)
def test_rows_weigh_in_percentiles(pairs, found):
    assert figures.weighted_percentiles(pairs) == found


def test_weighted_and_plain_percentiles_agree():
    values = [4, 8, 15, 16, 23, 42, 42, 42]
    weighted = figures.weighted_percentiles([(4, 1), (8, 1), (15, 1), (16, 1), (23, 1), (42, 3)], (50, 95, 99))
    assert weighted == figures.percentiles(values)


def test_a_window_without_length_has_no_rate():
    assert figures.rate(900, 100.0, 103.0) == 300.0
    with pytest.raises(ValueError, match="no length"):
        figures.rate(900, 100.0, 100.0)


@pytest.mark.parametrize(
    ("lags", "grows"),
    [
        ([5000, 5000, 5000, 5000], False),  # far behind, and staying so: it keeps up
        ([0, 10_000, 0, 10_000, 0], False),  # checkpoint teeth
        ([0, 1000, 2000, 3000, 4000], True),  # 500/s stay behind of 10,000/s: 5 %
        ([0, 200, 400, 600, 800], False),  # 100/s: 1 %, within what is read off two samples a checkpoint
        ([9000, 6000, 3000, 0], False),  # draining
    ],
)
def test_a_lag_grows_when_arrivals_stay_behind(lags, grows):
    samples = [(2.0 * number, lag) for number, lag in enumerate(lags)]
    assert figures.lag_grows(samples, 10_000, period_s=4.0) is grows


def test_teeth_whose_last_is_cut_off_are_no_trend_either():
    """Ten looks a tooth of 1,000/s; a straight line through three and a half teeth would rise by 8 % of the rate."""
    samples = [(float(second), 1000.0 * (second % 10)) for second in range(36)]
    assert figures.growth_per_s(samples, 10.0) == pytest.approx(0.0, abs=20.0)


def test_one_look_says_nothing():
    with pytest.raises(ValueError, match="two of them"):
        figures.lag_grows([(0.0, 7000.0)], 10_000, period_s=4.0)


def test_core_seconds_between_two_moments():
    series = [
        (100.0, {"broker": 1.0}),
        (110.0, {"broker": 3.0, "tiering": 4.0}),
        (120.0, {"broker": 3.0, "tiering": 8.0}),
    ]
    # From 105 (broker 2, tiering 2 of the 4 it had spent when first seen) to 115 (broker 3, tiering 6).
    assert figures.between(series, 105.0, 115.0) == {"broker": 1.0, "tiering": 4.0}
    # Outside the samples the nearest one stands.
    assert figures.between(series, 0.0, 999.0) == {"broker": 2.0, "tiering": 8.0}
    assert figures.between([], 0.0, 1.0) == {}


def test_per_million_adds_up_and_is_sorted():
    told = figures.per_million({"a": 1.0, "b": 2.5}, 250_000)
    assert told == {"total": 14.0, "b": 10.0, "a": 4.0}
    assert list(told) == ["total", "b", "a"]


def test_the_search_doubles_until_something_fails_then_halves():
    assert figures.next_step(4000, None) == 8000
    assert figures.next_step(8000, 16_000) == 12_000
    assert figures.next_step(8000, 12_000) == 10_000
