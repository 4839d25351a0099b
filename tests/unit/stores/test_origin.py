"""Whose a file is and of which day."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from pipelines.stores.origin import claimed_day, day_of, store_of
from pipelines.stores.store_file import Record
from pipelines.stores.verdicts import FileRefused

STORES = {"S01": {"name": "南京路店"}, "S02": {"name": "人民广场店"}, "S1": {"name": "总店"}}
D8, D9 = date(2026, 1, 8), date(2026, 1, 9)


def of(*stores: str, column: str = "门店编号") -> list[Record]:
    return [Record(n + 2, {column: store} if store else {}) for n, store in enumerate(stores)]


@pytest.mark.parametrize(
    ("records", "titles", "name", "store"),
    [
        (of("S01", "s01"), [], "x.csv", "S01"),
        (of("人民广场店", column="门店名称"), [], "x.csv", "S02"),  # by its name
        (of("S02", column="门店"), [], "x.csv", "S02"),  # its number in the column of names
        (of("", ""), ["南京路店 日报"], "x.csv", "S01"),  # the title, where no row says it
        (of(""), [], "s02/2026-01-09.csv", "S02"),  # the folder
        (of("S01", ""), [], "S01_20260109.csv", "S01"),  # a row without a store is the file's
        ([], [], "S01_20260109.csv", "S01"),  # a day without a visit
        ([Record(2, None, misaligned=["a"]), *of("S01")], [], "x.csv", "S01"),
        (of(""), [], "总店/S12.csv", "S1"),  # S12 names neither S1 nor S01
    ],
)
def test_the_store_is_told(records, titles, name, store):
    assert store_of(records, titles, name, STORES) == store


@pytest.mark.parametrize(
    ("records", "titles", "name", "code"),
    [
        (of("S02"), [], "S01_20260109.csv", "store.foreign_rows"),  # the whole file is another's
        (of("S02"), ["南京路店 日报"], "x.csv", "store.foreign_rows"),  # by its title
        (of("S01", "S02"), [], "S01.csv", "store.foreign_rows"),  # one row is enough
        (of("S99"), [], "S01.csv", "store.undeclared"),
        (of("西湖店", column="门店名称"), [], "S01.csv", "store.undeclared"),
        (of(""), ["人民广场店"], "S01.csv", "store.foreign_rows"),  # title and name disagree
        (of(""), [], "S01和S02.csv", "store.foreign_rows"),
        (of(""), [], "x.csv", "store.unknown"),
    ],
)
def test_the_file_is_refused(records, titles, name, code):
    with pytest.raises(FileRefused) as refusal:
        store_of(records, titles, name, STORES)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("titles", "name", "day"),
    [
        ([], "S01_20260109.csv", D9),
        ([], "南京路店2026年1月9日.xlsx", D9),
        (["营业日期：2026-01-09"], "S01_20260108.csv", D9),  # content first
        (["导出日期：2026-01-10"], "S01_20260109.csv", D9),  # the day of export is not the day of business
        ([], "2026-01-01至2026-01-09.csv", None),  # a span states no day
        ([], "S01_20261399.csv", None),  # no such day
        ([], "13900000001.csv", None),  # digits of something else
    ],
)
def test_the_claimed_day(titles, name, day):
    assert claimed_day(titles, name) == day


@pytest.mark.parametrize(
    ("days", "claimed", "found"),
    [
        ({D9: 3}, None, D9),
        ({D9: 3, D8: 1}, D9, D9),  # one noted late
        ({}, D9, D9),  # a day without a visit, or without a readable time
        ({D8: 3}, D9, "day.contradicts"),  # yesterday's file under today's name
        ({}, None, "day.unknown"),
    ],
)
def test_the_day(days, claimed, found):
    if isinstance(found, date):
        assert day_of(Counter(days), claimed) == found
    else:
        with pytest.raises(FileRefused) as refusal:
            day_of(Counter(days), claimed)
        assert refusal.value.code == found
