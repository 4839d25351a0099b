"""Whose a file is and of which day: by its content first, then by its name. Where the two disagree it is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from pipelines.stores.dates import days_in
from pipelines.stores.layout import column_of
from pipelines.stores.store_file import Record
from pipelines.stores.verdicts import FileRefused

# A title states the day of business, and often when somebody exported or printed it, which is another.
_DAY_TITLE = re.compile(
    r"(?<!导出)(?<!打印)(?<!制表)(?<!生成)(?:营业日期|业务日期|营业日|日期)[^0-9]{0,3}([^\s,，;；]+)"
)
Stores = Mapping[str, Mapping[str, Any]]


def store_of(records: Iterable[Record], titles: Iterable[str], name: str, stores: Stores) -> str:
    """The store whose records these are; ``name`` is the file's, with its folder in the inbox.

    A file is one store's. Refused are files whose rows name several, or another than title or name do, or one that is
    not declared: a wrong store's rows among the right one's would be counted for the wrong one.
    Raises FileRefused ``store.foreign_rows``, ``store.undeclared``, ``store.unknown``.

    >>> stores = {"S01": {"name": "南京路店"}, "S02": {"name": "人民广场店"}}
    >>> store_of([Record(2, {"门店编号": "s01"})], [], "daily.csv", stores)
    'S01'
    >>> store_of([Record(2, {"门店编号": "S02"})], [], "S01_20260109.csv", stores)
    Traceback (most recent call last):
    ...
    pipelines.stores.verdicts.FileRefused: its rows belong to S02, its name says S01
    """
    by_name = {spec["name"]: store for store, spec in stores.items()}
    named = Counter(filter(None, (_stated(record, by_name) for record in records)))
    if strangers := sorted(set(named) - set(stores)):
        raise FileRefused("store.undeclared", f"store {', '.join(strangers)} is not declared (policy store_import)")
    if len(named) > 1:
        each = ", ".join(f"{count} of {store}" for store, count in named.most_common())
        raise FileRefused("store.foreign_rows", f"its rows belong to several stores: {each}")
    claims = {"its title": _mentioned(" ".join(titles), stores), "its name": _mentioned(name, stores)}
    said = ("its rows belong to", next(iter(named))) if named else None
    for where, mentioned in claims.items():
        if len(mentioned) > 1:
            raise FileRefused("store.foreign_rows", f"{where} names several stores: {', '.join(sorted(mentioned))}")
        if mentioned and said is not None and mentioned != {said[1]}:
            raise FileRefused("store.foreign_rows", f"{said[0]} {said[1]}, {where} says {min(mentioned)}")
        if mentioned and said is None:
            said = (f"{where} says", min(mentioned))
    if said is None:
        raise FileRefused("store.unknown", "no row, title or file name says whose it is")
    return said[1]


def _stated(record: Record, by_name: Mapping[str, str]) -> str | None:
    """The store a record names, by its number, else by its name; what we don't know stands for itself."""
    fields = {column_of(name): text for name, text in (record.fields or {}).items()}
    said = fields.get("store_id") or fields.get("store_name")
    return None if said is None else by_name.get(said, said.upper())


def _mentioned(text: str, stores: Stores) -> set[str]:
    return {
        store
        for store, spec in stores.items()
        if re.search(rf"(?<![A-Za-z0-9]){re.escape(store)}(?![A-Za-z0-9])", text, re.IGNORECASE) or spec["name"] in text
    }


def claimed_day(titles: Iterable[str], name: str) -> date | None:
    """The day that the title states, else the file's name; None where neither does, or a name states several.

    >>> claimed_day(["导出日期：2026-01-10 营业日期：2026-01-09"], "S01.csv")
    datetime.date(2026, 1, 9)
    >>> claimed_day([], "2026-01-01_2026-01-09.csv")
    """
    titled = {day for title in titles for said in _DAY_TITLE.findall(title) for day in days_in(said)}
    for days in (titled, days_in(name)):
        if len(days) == 1:
            return min(days)
    return None


def day_of(days: Counter[date], claimed: date | None) -> date:
    """The day most records fall on; the claimed one where no record has a readable time.

    Raises FileRefused ``day.contradicts`` where the two differ: yesterday's file under today's name would take the
    place of today's. ``day.unknown`` where there is neither.

    >>> day_of(Counter({date(2026, 1, 9): 40, date(2026, 1, 8): 2}), None)
    datetime.date(2026, 1, 9)
    """
    if not days:
        if claimed is None:
            raise FileRefused("day.unknown", "no record has a time that can be read, and no title or name states a day")
        return claimed
    most = min(days, key=lambda day: (-days[day], day))
    if claimed is not None and claimed != most:
        raise FileRefused("day.contradicts", f"most records are of {most}, title or name says {claimed}")
    return most
