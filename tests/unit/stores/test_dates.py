"""Dates as stores write them."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.simulation.store_file_forms import written_date
from pipelines.stores.dates import DateForms, written

_DATES = contracts.policy("store_import")["dates"]
FORMS = DateForms(_DATES["forms"], _DATES["forms_by_day"], _DATES["excel_days"])
DAY = date(2026, 1, 9)


@pytest.mark.parametrize(
    ("cell", "day", "read"),
    [
        ("2026-01-09 08:05:00", None, "2026-01-09 08:05:00"),
        ("2026/1/9 8:05", None, "2026-01-09 08:05:00"),
        ("2026年1月9日 8:05", None, "2026-01-09 08:05:00"),
        ("2026年1月9日 8时05分", None, "2026-01-09 08:05:00"),
        ("2026年1月9日 下午3:05", None, "2026-01-09 15:05:00"),
        ("2026年1月9日 中午12:30", None, "2026-01-09 12:30:00"),  # half past noon, not midnight
        ("20260109080500", None, "2026-01-09 08:05:00"),
        ("46031.33681", None, "2026-01-09 08:05:00"),  # a serial date of a spreadsheet, as text
        (46031.3368055556, None, "2026-01-09 08:05:00"),  # and as a number
        (46031, None, "2026-01-09 00:00:00"),
        (datetime(2026, 1, 9, 8, 5), None, "2026-01-09 08:05:00"),
        (date(2026, 1, 9), None, "2026-01-09 00:00:00"),
        ("2026-01-09T00:05:00Z", None, "2026-01-09 08:05:00"),  # with a zone: the store's own clock
        ("1767917100", None, "2026-01-09 08:05:00"),  # an epoch number
        (time(8, 5), DAY, "2026-01-09 08:05:00"),  # a column of times in a file of one day
        ("8:05", DAY, "2026-01-09 08:05:00"),
        ("8:05", None, None),  # of which day?
        ("1月9日 8:05", DAY, "2026-01-09 08:05:00"),  # no year
        ("01/09/2026 08:05", DAY, "2026-01-09 08:05:00"),  # January 9, for so the file's day is
        ("09/01/2026 08:05", DAY, "2026-01-09 08:05:00"),  # 9 January, for the same reason
        ("01/09/2026 08:05", None, None),  # nobody knows
        ("02/03/2026 08:05", DAY, None),  # neither reading is the file's day
        ("138", None, None),  # a number that is no date
        ("昨天下午", DAY, None),
        ("2026-02-30 08:05", None, None),  # no such day
        ("", DAY, None),
        (None, DAY, None),
    ],
)
def test_a_date_is_read_or_left_alone(cell, day, read):
    assert written(cell, FORMS, day) == read


@given(
    at=st.datetimes(datetime(2001, 1, 1), datetime(2098, 12, 31)).map(lambda at: at.replace(second=0, microsecond=0)),
    way=st.integers(0, 7),
)
def test_every_way_of_writing_gives_the_same_minute(at, way):
    assert written(written_date(at, way), FORMS, at.date()) == f"{at:%Y-%m-%d %H:%M}:00"
