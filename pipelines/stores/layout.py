"""What each row of a file is: title, header, record, total, footer. The header is found by its names, not its place."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pipelines.channels.store import ALIASES
from pipelines.stores.grids import Cell, Grid, GridRow, cell_text, is_blank
from pipelines.stores.verdicts import FileRefused

_SHORTEST_TIME = len("08:05")
_MARKS = re.compile(r"[\s*:：]+")


class Header(NamedTuple):
    """Where the header stands in the rows of a grid, how many rows it takes, and the name of each column.

    ``width``: its cells, with blank ones at the end that name nothing.
    """

    first: int
    height: int
    names: list[str]
    known: int
    width: int


class Laid(NamedTuple):
    """A file's records, and how many rows are none, by what they are: title, header, blank, total, footer."""

    header: Header
    records: list[GridRow]
    beside: Counter[str]
    titles: list[str]
    stated_rows: int | None


def heading(cell: Cell) -> str:
    """A column's name as we look for it: one line, half-width, without the marks that stand for "required".

    >>> heading("到店\\n时间 *"), heading("等待时长（分钟）"), heading(" 手机号：")
    ('到店时间', '等待时长(分钟)', '手机号')
    """
    return _heading(cell_text(cell))


@lru_cache(maxsize=4096)  # every cell of the first rows is looked at in several ways of reading the file
def _heading(text: str) -> str:
    return _MARKS.sub("", unicodedata.normalize("NFKC", text))


def column_of(name: str) -> str | None:
    """Our column for a heading; None for one we have no name for."""
    return ALIASES.get(name) or ALIASES.get(name.lower())


def find_header(
    rows: Sequence[Sequence[Cell]], *, search_rows: int, max_rows: int, min_known: int, needed: str
) -> Header | None:
    """The block of rows that names the most columns we know; None where none names enough, or the needed one not.

    A merged cell holds its text in one of its places and nothing in the others, so a column's name is the lowest text
    above its records: groups over names, and names over nothing, both give the name.

    >>> rows = [["日报"], ["客户", "", "到店时间", "咨询内容"], ["手机号", "会员号", "", ""], ["138", "M1", "t", "退"]]
    >>> find_header(rows, search_rows=9, max_rows=3, min_known=4, needed="visited_at")
    Header(first=1, height=2, names=['手机号', '会员号', '到店时间', '咨询内容'], known=4, width=4)
    """
    head, found = [[heading(cell) for cell in row] for row in rows[: search_rows + max_rows]], []
    for first in range(min(search_rows, len(head))):
        for height in range(1, max_rows + 1):
            block = head[first : first + height]
            if needed not in {column_of(name) for row in block for name in row}:
                continue
            names = _names(block)
            columns = {column_of(name) for name in names} - {None}
            if needed in columns and len(columns) >= min_known:
                found.append(Header(first, height, names, len(columns), max(map(len, block))))
    return max(found, key=lambda header: (header.known, -header.height, -header.first), default=None)


def _names(block: Sequence[Sequence[str]]) -> list[str]:
    width = max((len(row) for row in block), default=0)
    names = [""] * width
    for row in block:
        for column, name in enumerate(row):
            names[column] = name or names[column]
    while names and not names[-1]:
        names.pop()
    seen: Counter[str] = Counter()
    for column, name in enumerate(names):
        name = name or f"column_{column + 1}"
        seen[name] += 1
        names[column] = name if seen[name] == 1 else f"{name}_{seen[name]}"
    return names


def lay_out(grid: Grid, policy: Mapping[str, Any]) -> Laid:
    """Every row of the file, sorted by what it is; ``policy`` is ``store_import``.

    Raises FileRefused ``header.unknown``.
    """
    header = find_header([row.cells for row in grid.rows], **policy["header"])
    if header is None:
        raise FileRefused(
            "header.unknown",
            f"no header within the first {policy['header']['search_rows']} rows: it needs a visiting time (到店时间) "
            f"and {policy['header']['min_known'] - 1} more columns we know",
        )
    above, below = grid.rows[: header.first], grid.rows[header.first + header.height :]
    beside = Counter({"title": sum(not is_blank(row) for row in above), "header": header.height})
    beside["blank"] = sum(is_blank(row) for row in above)
    footer, records, stated = re.compile(policy["footer"], re.IGNORECASE), [], None
    for row, what in _sorted(below, header, footer, frozenset(word.lower() for word in policy["totals"])):
        if what == "record":
            records.append(row)
            continue
        beside[what] += 1
        if what == "footer":
            stated = int(footer.search(_joined(row))[1])
    return Laid(header, records, beside, [text for row in above if (text := _joined(row))], stated)


def _sorted(
    rows: Sequence[GridRow], header: Header, footer: re.Pattern, totals: frozenset[str]
) -> Iterator[tuple[GridRow, str]]:
    when = next(at for at, name in enumerate(header.names) if column_of(name) == "visited_at")
    for row in rows:
        yield row, _what(row, header, when, footer, totals)


def _what(row: GridRow, header: Header, when: int, footer: re.Pattern, totals: frozenset[str]) -> str:
    if row.damaged is not None:
        return "record"
    filled = [text for cell in row.cells if (text := cell_text(cell))]
    if not filled:
        return "blank"
    if footer.fullmatch(" ".join(filled).strip(" ,")):
        return "footer"
    # The sum of visits may stand in the column of times; no time is so short.
    timeless = len(row.cells) <= when or len(cell_text(row.cells[when])) < _SHORTEST_TIME
    if timeless and heading(filled[0]).lower() in totals:
        return "total"
    named = [heading(cell) for cell in row.cells]
    if sum(a == b for a, b in zip(named, header.names, strict=False)) >= min(len(header.names), header.known):
        return "header"  # printed again at the head of a page
    return "record"


def _joined(row: GridRow) -> str:
    return " ".join(text for cell in row.cells if (text := cell_text(cell)))
