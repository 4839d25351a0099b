"""Reads the times that sources write: epoch numbers and text, with and without a zone, into microseconds UTC."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from pipelines import contracts
from pipelines.channels.interaction import Unreadable

# Epoch numbers tell their unit by their size: 1e11 s is the year 5138, 1e11 ms is 1973, before any source of ours.
_MS_FROM, _US_FROM, _TOO_BIG = 10**11, 10**14, 10**17
# What spreadsheets and people write: 2026-1-9 8:05, 2026/01/09 08:05:06, 2026年1月9日 8:05
_WRITTEN = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[ T]*(?:(\d{1,2})[:：时](\d{1,2})(?:[:：分](\d{1,2}))?[秒分]?)?",
    re.ASCII,
)
# Weibo: Fri Jan 09 08:05:00 +0800 2026. Not strptime, which takes ten times as long and asks the locale for months.
_WEIBO = re.compile(r"\w{3} (\w{3}) (\d\d) (\d\d:\d\d:\d\d) ([-+]\d{4}) (\d{4})", re.ASCII)
_MONTHS = {
    name: f"{number:02d}"
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)  # noqa: SIM905
}
_COMPACT_DIGITS = (8, 12, 14)  # yyyymmdd, with hhmm, with hhmmss


@lru_cache(maxsize=1)
def _limits() -> tuple[ZoneInfo, int, int]:
    """Zone of a time without one, earliest instant (µs), and how far ahead of its receipt a message may lie (µs)."""
    time = contracts.policy("channels")["time"]
    zone = ZoneInfo(time["default_zone"])
    not_before = datetime.fromisoformat(time["not_before"]).replace(tzinfo=zone)
    return zone, _micros(not_before), time["max_ahead_s"] * 1_000_000


def possible_since_us() -> int:
    """The earliest business time that can be (policy ``channels``), in microseconds: before it lies an unset clock."""
    return _limits()[1]


def _micros(at: datetime) -> int:
    # A double holds microseconds exactly until the year 2112; timestamp() costs half of a subtraction.
    return round(at.timestamp() * 1_000_000)


def occurred_at_us(value: object, name: str, received_at_us: int) -> int:
    """The business time of a message, which must exist and be possible: not before 2000, not a day past its receipt.

    Raises Unreadable ``field.missing``, ``field.wrong_type``, ``time.unreadable`` or ``time.out_of_range``.

    >>> occurred_at_us("2026-01-09 08:00:00", "sent_at", received_at_us=1767945600_000_000)  # 08:00 in Shanghai
    1767916800000000
    """
    at_us = instant_us(value, name)
    if at_us is None:
        raise Unreadable("field.missing", f"field {name} is missing: it says when it happened")
    _, not_before_us, max_ahead_us = _limits()
    if at_us < not_before_us:
        raise Unreadable(
            "time.out_of_range", f"field {name} lies before the earliest time of the policy: an unset clock"
        )
    if at_us > received_at_us + max_ahead_us:
        raise Unreadable("time.out_of_range", f"field {name} lies further ahead of its receipt than policy allows")
    return at_us


def instant_us(value: object, name: str) -> int | None:
    """An instant as written, in microseconds UTC; None for an absent or empty one.

    >>> instant_us(1767916800, "t") == instant_us(1767916800000, "t") == instant_us("2026-01-09T00:00:00Z", "t")
    True
    """
    kind = type(value)
    if kind is str:
        return _written_us(value, name)
    if kind is int:
        return _epoch_us(value, name)
    if value is None:
        return None
    if kind is float:
        return _epoch_us(round(value * 1_000_000) if -_MS_FROM < value < _MS_FROM else int(value), name)
    raise Unreadable("field.wrong_type", f"field {name} must be a time (epoch number or text), not {kind.__name__}")


def _epoch_us(number: int, name: str) -> int:
    if -_MS_FROM < number < _MS_FROM:
        return number * 1_000_000
    if -_US_FROM < number < _US_FROM:
        return number * 1_000
    if -_TOO_BIG < number < _TOO_BIG:
        return number
    raise Unreadable("time.out_of_range", f"field {name} is larger than any epoch number, even in microseconds")


def _written_us(written: str, name: str) -> int | None:
    # Digits first: fromisoformat would read some epoch numbers as basic-format dates.
    if written.isdecimal():
        return _digits_us(written, name)
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        if not written or written.isspace():
            return None
        at = _uncommon(written.strip(), name)
    if at.tzinfo is None:
        at = at.replace(tzinfo=_limits()[0])
    try:
        return _micros(at)
    except OverflowError:  # the year 1 or 9999 pushed over the edge by its zone
        raise Unreadable("time.out_of_range", f"field {name} lies outside the years 1 to 9999") from None


def _digits_us(digits: str, name: str) -> int:
    if len(digits) in _COMPACT_DIGITS:
        try:
            clock = [int(digits[at : at + 2]) for at in range(8, len(digits), 2)]
            at = datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), *clock, tzinfo=_limits()[0])
            return _micros(at)
        except (ValueError, OverflowError):
            pass  # 14 digits may as well be an epoch number
    if len(digits) > 20:
        raise Unreadable("time.out_of_range", f"field {name} has more digits than any time")
    return _epoch_us(int(digits), name)


def _uncommon(written: str, name: str) -> datetime:
    """Times as people, spreadsheets and Weibo write them."""
    try:
        if found := _WEIBO.fullmatch(written):
            month, day, clock, zone, year = found.groups()
            return datetime.fromisoformat(f"{year}-{_MONTHS.get(month)}-{day}T{clock}{zone}")
        if found := _WRITTEN.fullmatch(written):
            return datetime(*(int(part or 0) for part in found.groups()))
    except (ValueError, OverflowError):
        pass
    raise Unreadable("time.unreadable", f"field {name} is not a time in any form we know")
