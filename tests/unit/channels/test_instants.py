"""Times as sources write them, into microseconds UTC."""

import pytest

from pipelines.channels.instants import instant_us, occurred_at_us
from pipelines.channels.interaction import Unreadable

EIGHT_IN_SHANGHAI_US = 1767916800_000_000  # 2026-01-09 00:00:00 UTC


@pytest.mark.parametrize(
    ("written", "at_us"),
    [
        (1767916800, EIGHT_IN_SHANGHAI_US),  # epoch seconds, WeChat
        (1767916800123, EIGHT_IN_SHANGHAI_US + 123_000),  # epoch milliseconds, apps
        (1767916800123456, EIGHT_IN_SHANGHAI_US + 123_456),  # epoch microseconds, our own topics
        (1767916800.25, EIGHT_IN_SHANGHAI_US + 250_000),  # seconds with a fraction
        ("1767916800", EIGHT_IN_SHANGHAI_US),  # the same inside XML or CSV
        ("1767916800123", EIGHT_IN_SHANGHAI_US + 123_000),
        ("2026-01-09T00:00:00Z", EIGHT_IN_SHANGHAI_US),
        ("2026-01-09T08:00:00+08:00", EIGHT_IN_SHANGHAI_US),
        ("2026-01-08T19:00:00.5-05:00", EIGHT_IN_SHANGHAI_US + 500_000),
        ("2026-01-09 08:00:00", EIGHT_IN_SHANGHAI_US),  # no zone: Shanghai by policy
        ("2026-01-09 08:00", EIGHT_IN_SHANGHAI_US),
        ("2026/1/9 8:00", EIGHT_IN_SHANGHAI_US),  # a spreadsheet
        ("2026年1月9日 8:00", EIGHT_IN_SHANGHAI_US),  # a person
        ("2026-01-09", EIGHT_IN_SHANGHAI_US - 8 * 3600 * 1_000_000),  # a date is its first instant in Shanghai
        ("20260109080000", EIGHT_IN_SHANGHAI_US),  # SMS gateways
        ("20260109", EIGHT_IN_SHANGHAI_US - 8 * 3600 * 1_000_000),
        ("Fri Jan 09 08:00:00 +0800 2026", EIGHT_IN_SHANGHAI_US),  # Weibo
        ("", None),  # an empty cell is an absent time
        ("  ", None),
        (None, None),
    ],
)
def test_written_time(written, at_us):
    assert instant_us(written, "t") == at_us


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("昨天", "time.unreadable"),
        ("2026-13-01 08:00", "time.unreadable"),  # month 13
        ("2026-02-30", "time.unreadable"),  # a day that never was
        ("2026/2/30 8:00", "time.unreadable"),
        (True, "field.wrong_type"),  # JSON true is no epoch number, though Python calls it 1
        (["2026-01-09"], "field.wrong_type"),
        ({}, "field.wrong_type"),
        (10**18, "time.out_of_range"),  # nanoseconds: no source of ours
        (1e300, "time.out_of_range"),
        ("9" * 30, "time.out_of_range"),
    ],
)
def test_what_is_no_time(written, rule):
    with pytest.raises(Unreadable) as refused:
        instant_us(written, "t")
    assert refused.value.reject.rule == rule


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (None, "field.missing"),
        ("", "field.missing"),
        (0, "time.out_of_range"),  # 1970: an unset clock
        ("1999-12-31 23:59:59", "time.out_of_range"),  # the last second before policy begins, in Shanghai
        ("2000-01-01 00:00:00", None),
        (4070908800, "time.out_of_range"),  # 2099
        ("2026-01-10 08:00:00", None),  # one day ahead of the receipt: still a clock that runs fast
        ("2026-01-10 08:00:01", "time.out_of_range"),
    ],
)
def test_business_time_must_be_possible_at_its_receipt(written, rule):
    if rule is None:
        assert occurred_at_us(written, "t", EIGHT_IN_SHANGHAI_US) > 0
        return
    with pytest.raises(Unreadable) as refused:
        occurred_at_us(written, "t", EIGHT_IN_SHANGHAI_US)
    assert refused.value.reject.rule == rule
