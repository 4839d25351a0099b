"""Dates as stores write them, in one form: serial numbers of spreadsheets, Chinese forms, clocks of half a day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipelines import contracts
from pipelines.channels.instants import instant_us
from pipelines.channels.interaction import Unreadable
from pipelines.stores.grids import Cell, cell_text
from pipelines.stores.workbook import excel_day

_NUMBER = re.compile(r"\d{5}(?:\.\d{1,15})?", re.ASCII)
_BLANKS = re.compile(r"\s+")
_HALVES = (("上午", "AM"), ("凌晨", "AM"), ("中午", "PM"), ("下午", "PM"), ("晚上", "PM"))
# 2026-01-09 and its like anywhere in a name or title: 20260109, 2026.1.9, 2026年1月9日.
_IN_TEXT = re.compile(r"(?<!\d)(20\d\d)(?:(\d\d)(\d\d)|[-_./年](\d{1,2})[-_./月](\d{1,2})日?)(?!\d)", re.ASCII)


class DateForms(NamedTuple):
    """Policy ``store_import.dates``: forms that say all, forms that need the file's day, bounds of serial numbers."""

    forms: Sequence[str]
    forms_by_day: Sequence[str]
    excel_days: tuple[int, int]


def written(cell: Cell, forms: DateForms, day: date | None) -> str | None:
    """A cell as ``YYYY-MM-DD HH:MM:SS`` of the store's own clock; None where it cannot be read without a guess.

    A form without a year, or one in which day and month may be meant either way, is read only if exactly one reading
    falls on ``day``, the file's.

    >>> forms = DateForms(["%Y年%m月%d日%p%I:%M"], ["%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"], (36526, 73050))
    >>> written("46031.3368055556", forms, None), written("2026年1月9日 下午3:05", forms, None)
    ('2026-01-09 08:05:00', '2026-01-09 15:05:00')
    >>> written("03/01/2026 08:05", forms, date(2026, 1, 3)), written("03/01/2026 08:05", forms, None)
    ('2026-01-03 08:05:00', None)
    """
    if isinstance(cell, datetime):
        return cell_text(cell)
    if isinstance(cell, date):
        return f"{cell} 00:00:00"
    if isinstance(cell, time):
        return None if day is None else cell_text(datetime.combine(day, cell))
    text = cell_text(cell)
    if not text:
        return None
    if _NUMBER.fullmatch(text) and forms.excel_days[0] <= float(text) <= forms.excel_days[1]:
        return cell_text(excel_day(float(text)))
    return _as_parsers_do(text) or _by_forms(text, forms, day)


def _as_parsers_do(text: str) -> str | None:
    """By the rules of the channel's parser; a bare number is an epoch only where it has as many digits as one."""
    if text.isdecimal() and len(text) not in (8, 10, 12, 13, 14):
        return None
    try:
        at_us = instant_us(text, "date")
    except Unreadable:
        return None
    return None if at_us is None else local_text(at_us)


def local_text(at_us: int) -> str:
    """An instant (µs UTC) as written by clocks of the zone of policy ``channels``.

    >>> local_text(1767917100000000)
    '2026-01-09 08:05:00'
    """
    seconds, micros = divmod(at_us, 1_000_000)
    at = datetime.fromtimestamp(seconds, _zone())
    return at.replace(microsecond=micros, tzinfo=None).isoformat(sep=" ")


@lru_cache(maxsize=1)
def _zone() -> ZoneInfo:
    return ZoneInfo(contracts.policy("channels")["time"]["default_zone"])


def _by_forms(text: str, forms: DateForms, day: date | None) -> str | None:
    tight = _BLANKS.sub(" ", text)
    for chinese, half in _HALVES:
        tight = re.sub(rf" ?{chinese} ?", half, tight)
    for form in forms.forms:
        if (at := _parsed(tight, form)) is not None:
            return cell_text(at)
    if day is None:
        return None
    on_day = {at for form in forms.forms_by_day if (at := _of_day(tight, form, day)) is not None}
    return cell_text(on_day.pop()) if on_day else None  # two readings of one day are the same instant


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


def _of_day(text: str, form: str, day: date) -> datetime | None:
    # The year is put in front: strptime takes 1900 else, which knows no 29 February.
    if "%Y" not in form:
        text, form = f"{day.year} {text}", f"%Y {form}"
    at = _parsed(text, form)
    if at is None:
        return None
    if "%d" not in form:
        at = datetime.combine(day, at.time())
    return at if at.date() == day else None


def days_in(text: str) -> set[date]:
    """Days that a name or a title states.

    >>> days_in("S01_20260109.csv") == days_in("S01 2026年1月9日.xlsx") == {date(2026, 1, 9)}
    True
    """
    return {day for found in _IN_TEXT.finditer(text) if (day := _date(found)) is not None}


def _date(found: re.Match) -> date | None:
    year, *parts = found.groups()
    month, day = (part for part in parts if part is not None)
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
