"""What is unusual beside a day's own past: cases worked by hand, then seeded series with planted incidents."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from pipelines import contracts
from pipelines.quality import anomalies
from pipelines.quality.anomalies import Past
from tests.unit.quality.day_series import START, Incident, volumes

POLICY = contracts.policy("quality")["anomalies"]
MONDAY = date(2026, 3, 2)
WEEK = timedelta(weeks=1)


def weeks(*values: float, anomalous: tuple[int, ...] = ()) -> dict[date, Past]:
    """Figures of the Mondays before MONDAY, the latest first."""
    return {MONDAY - n * WEEK: Past(v, n in anomalous) for n, v in enumerate(values, start=1)}


def judge(value: float, past: dict[date, Past], *, tested: date = MONDAY, scale: str = "count", incidents=()):
    return anomalies.judge(value, tested, past, scale=scale, incidents=incidents, policy=POLICY)


@pytest.mark.parametrize(
    ("value", "past", "scale", "anomaly"),
    [
        (1000, weeks(1000, 1010, 990, 1000, 1005), "count", False),  # as always
        # least spread .15: 5 x .15 = .75 on the log, so up to e^.75 = 2.1 times either way is usual
        (2000, weeks(1000, 1000, 1000, 1000), "count", False),
        (2200, weeks(1000, 1000, 1000, 1000), "count", True),
        (0, weeks(1000, 1000, 1000, 1000), "count", True),  # nothing came
        (0, weeks(2, 1, 3, 2), "count", False),  # of two expected none may come by chance
        (2200, weeks(1000, 1000, 1000), "count", False),  # three Mondays say nothing yet
        (5000, weeks(1000, 5200, 900, 4800, 1100, 5000), "count", False),  # it always was that restless
        (0.80, weeks(0.95, 0.95, 0.96, 0.95), "share", True),  # .15 away; .02 is a deviation: 7.5
        (0.90, weeks(0.95, 0.95, 0.96, 0.95), "share", False),  # 2.5
        (40.0, weeks(20.0, 21.0, 20.0, 19.0), "mean", True),  # twice as long; .10 is a deviation: ln 2 / .1 = 6.9
    ],
)
def test_a_day_beside_its_weekdays(value, past, scale, anomaly):
    assert judge(value, past, scale=scale).anomaly is anomaly


def test_the_tested_day_is_no_part_of_its_own_baseline():
    """elementary#1560: with itself in the average a value pulls the expected one towards it."""
    past = weeks(1000, 1000, 1000, 1000)
    assert judge(3000, past | {MONDAY: Past(3000)}) == judge(3000, past)
    assert judge(3000, past | {MONDAY + WEEK: Past(3000)}) == judge(3000, past), "nor is a later one"


def test_a_past_incident_does_not_become_the_normal():
    """elementary#980: three Mondays of an outage, then one more. With them the median would be 10."""
    outage = weeks(10, 10, 10, 1000, 1000, 1000, 1000, anomalous=(1, 2, 3))
    assert judge(10, outage).anomaly
    forgotten = {day: one._replace(anomaly=False) for day, one in outage.items()}
    assert judge(10, weeks(10, 10, 10, 10, 1000, 1000, 1000)).anomaly is False, "what it would be without that"
    assert judge(1000, forgotten).expected == 1000


def test_a_declared_incident_is_no_measure_and_is_not_tested():
    sale = {MONDAY - WEEK, MONDAY - 2 * WEEK}
    past = weeks(9000, 9000, 1000, 1000, 1000, 1000)
    assert judge(9000, past, incidents=sale).anomaly
    assert judge(9000, past, incidents=sale | {MONDAY}) == (None, None, False, 0)


def test_what_comes_by_the_month_is_no_alarm_every_month():
    """elementary#2052: bills go out on the first; five firsts are known, and this one is like them."""
    past = {MONDAY.replace(day=1) - timedelta(days=n): Past(1000.0) for n in range(1, 100)}
    firsts = {date(2025, month, 1): Past(3000.0) for month in range(9, 13)} | {date(2026, 2, 1): Past(3000.0)}
    first = date(2026, 3, 1)
    assert judge(3000, past | firsts, tested=first).anomaly is False
    assert judge(3000, past, tested=first).anomaly, "while no first is known it is one"
    assert judge(300, past | firsts, tested=first).anomaly, "an outage on the first is one all the same"


def test_a_new_level_is_taken_after_so_many_days():
    days = {MONDAY - timedelta(days=n): Past(1000.0) for n in range(20, 90)}
    days |= {MONDAY - timedelta(days=n): Past(4000.0, anomaly=True) for n in range(1, 20)}  # 19 days in a row
    assert judge(4000, days).anomaly, "two Mondays of the new level beside ten of the old one"
    later = {day + timedelta(days=70): one for day, one in days.items() if one.anomaly}
    grown = days | {MONDAY + timedelta(days=n): Past(4000.0, anomaly=True) for n in range(51)} | later
    assert judge(4000, grown, tested=MONDAY + 10 * WEEK).anomaly is False


def run(series, scale="count") -> tuple[int, int, int, int]:
    """Incident days, found ones, days tested without one, false alarms; each day knows its past only."""
    past: dict[date, Past] = {}
    planted = found = quiet = false = 0
    for day, value, hit in series:
        told = judge(value, past, tested=day, scale=scale)
        past[day] = Past(value, told.anomaly)
        if told.expected is None:
            continue
        planted, found = planted + hit, found + (hit and told.anomaly)
        quiet, false = quiet + (not hit), false + (not hit and told.anomaly)
    return planted, found, quiet, false


INCIDENTS = [
    Incident(100, 1, 0.0),  # an outage
    Incident(150, 3, 0.3),  # a collector of three is left
    Incident(200, 1, 2.5),  # a load delivered twice and more
    Incident(240, 7, 0.0),  # a week of nothing
    Incident(330, 1, 4.0),  # a surge
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [400, 20_000])
def test_planted_incidents_are_found_and_quiet_days_are_quiet(seed, level):
    planted, found, quiet, false = run(volumes(400, level, INCIDENTS, seed=seed, growth=0.2))
    assert (planted, found) == (13, 13)
    assert quiet == 400 - 13 - 28, "the first four weeks say nothing yet"
    assert false == 0


def test_a_year_of_monthly_peaks_is_an_alarm_only_until_it_is_known():
    _, _, _, false = run(volumes(400, 5000, [], seed=1, monthly=3.0))
    assert false <= 4, "four firsts have to be seen before one is expected"
    assert START.day != 1
