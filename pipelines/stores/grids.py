"""The rows of a file as they stand in it, whatever its form: what text and workbooks have in common."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import NamedTuple

Cell = str | int | float | bool | datetime | date | time | timedelta | None


class GridRow(NamedTuple):
    """One row: the line (text) or row (workbook) it begins in, counted from 1, and its cells.

    ``damaged`` holds the bytes of a text row that its file's encoding cannot read; then ``cells`` mean nothing.
    """

    line: int
    cells: list[Cell]
    damaged: bytes | None = None


class Grid(NamedTuple):
    """All rows of a file. ``encoding`` and ``delimiter`` are None for a workbook; ``cut`` says why it seems cut off.

    ``ends`` is True where the last line of a text ends with a line break (always in a workbook).
    """

    form: str
    rows: list[GridRow]
    encoding: str | None = None
    delimiter: str | None = None
    ends: bool = True
    cut: str | None = None


def cell_text(cell: Cell) -> str:
    """A cell as text, the same whether it came from a text or a workbook; '' for an empty one.

    >>> cell_text(13800000001.0), cell_text(" 换货 "), cell_text(True), cell_text(2.5), cell_text(None)
    ('13800000001', '换货', 'TRUE', '2.5', '')
    >>> cell_text(datetime(2026, 1, 9, 8, 5)), cell_text(date(2026, 1, 9))
    ('2026-01-09 08:05:00', '2026-01-09')
    """
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e16 else repr(cell)
    if isinstance(cell, datetime):
        return cell.replace(microsecond=0, tzinfo=None).isoformat(sep=" ")
    return str(cell)


def is_blank(row: GridRow) -> bool:
    """True for a row in which nothing stands."""
    return row.damaged is None and not any(cell_text(cell) for cell in row.cells)
