"""A file of a store, read: whatever its form, its records as our columns' names and text, each with its line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from pipelines.stores import layout
from pipelines.stores.dates import DateForms, written
from pipelines.stores.grids import Cell, Grid, GridRow, cell_text, is_blank
from pipelines.stores.text_table import read_text
from pipelines.stores.verdicts import FileIncomplete, FileRefused
from pipelines.stores.workbook import is_workbook, read_workbook


class Record(NamedTuple):
    """One record of a store. ``fields``: heading to text, empty cells left out; None where the row is ``misaligned``
    (its cells, more or fewer than the header names) or ``damaged`` (its bytes, not in the file's encoding).
    """

    line: int
    fields: dict[str, str] | None
    misaligned: list[str] | None = None
    damaged: bytes | None = None


class StoreFile(NamedTuple):
    """What a file holds. ``days``: how many records fall on each day. ``beside``: rows that are no records, by what."""

    form: str
    encoding: str | None
    delimiter: str | None
    header: list[str]
    records: list[Record]
    beside: Counter[str]
    titles: list[str]
    days: Counter[date]


def read(content: bytes, policy: Mapping[str, Any]) -> StoreFile:
    """A file by its content alone; ``policy`` is ``store_import``. Times are not brought into one form yet (`dated`).

    Raises FileRefused, FileIncomplete.
    """
    limits = policy["limits"]
    if not content.strip(b"\0\r\n\t "):
        raise FileIncomplete("incomplete.empty", "the file is empty")
    if is_workbook(content):
        bounds = {name: limits[name] for name in ("unpacked_bytes", "rows", "columns")}
        grid = read_workbook(content, **bounds)
    else:
        grid = read_text(
            content, **policy["text"], search_rows=policy["header"]["search_rows"], rows=limits["rows"],
            known=lambda rows: _known(rows, policy["header"]),
        )  # fmt: skip
    if grid.cut is not None:
        raise FileIncomplete("incomplete.open_quote", grid.cut)
    laid = layout.lay_out(grid, policy)
    _whole_last_line(grid, laid)
    if laid.stated_rows is not None and laid.stated_rows != len(laid.records):
        raise FileRefused(
            "footer.contradicts", f"its last row says {laid.stated_rows} records, {len(laid.records)} stand there"
        )
    width = _width(laid, grid.form)
    records = [_record(row, laid.header.names, width) for row in laid.records]
    return StoreFile(
        grid.form, grid.encoding, grid.delimiter, laid.header.names, records, laid.beside, laid.titles, Counter()
    )


def _known(rows: list[list[Cell]], header: Mapping[str, Any]) -> int:
    found = layout.find_header(rows, **header)
    return 0 if found is None else found.known


def _whole_last_line(grid: Grid, laid: layout.Laid) -> None:
    """Raises FileIncomplete where the last line has no end and fewer cells than the header: it was cut there."""
    last = next((row for row in reversed(grid.rows) if not is_blank(row)), None)
    if grid.ends or last is None or laid.beside["footer"]:
        return
    if last.damaged is not None or (last in laid.records and len(last.cells) < laid.header.width):
        raise FileIncomplete("incomplete.last_line", f"line {last.line}, the last one, is cut off")


def must_end(found: StoreFile, content: bytes, store: Mapping[str, Any]) -> None:
    """The signs of completeness that only the store's own declaration tells; ``store`` is its entry of the policy.

    Raises FileIncomplete where a declared footer is missing, or the last line has no line break though this store's
    have: a text cut within its last cell looks whole (满 of 满意, ten digits of a phone).
    """
    if found.beside["footer"]:
        return
    if store.get("footer") == "required":
        raise FileIncomplete(
            "incomplete.no_footer", "the row that counts the records, with which its files end, is missing"
        )
    if found.form == "csv" and store.get("final_newline") != "optional" and not _has_end(content, found.encoding):
        raise FileIncomplete(
            "incomplete.last_line", "the last line has no line break, so it may be cut within its last cell; a store "
            "whose files end so is declared with final_newline: optional",
        )  # fmt: skip


def _has_end(content: bytes, encoding: str | None) -> bool:
    if encoding == "utf_16":
        return content[-2:] in (b"\n\0", b"\0\n", b"\r\0", b"\0\r")
    return content.endswith((b"\n", b"\r"))


def _width(laid: layout.Laid, form: str) -> int | None:
    """Cells a row of a text must have; None for a workbook, whose cells know their columns.

    That of the header, or the one all records share where what they have more is blank: some tills end each record with
    a delimiter. One row alone with a cell more has a delimiter in a text, even where its last cell is blank.
    """
    if form != "csv":
        return None
    wide = {len(row.cells) for row in laid.records if row.damaged is None}
    surplus = [cell_text(cell) for row in laid.records for cell in row.cells[laid.header.width :]]
    return wide.pop() if len(wide) == 1 and not any(surplus) and max(wide) > laid.header.width else laid.header.width


def _record(row: GridRow, names: list[str], width: int | None) -> Record:
    if row.damaged is not None:
        return Record(row.line, None, damaged=row.damaged)
    cells = [cell_text(cell) for cell in row.cells]
    if (width is not None and len(cells) != width) or any(cells[len(names) :]):
        return Record(row.line, None, misaligned=cells)
    # Cells of dates stay what they are until the file's day is known.
    fields = {name: _kept(cell, name) for name, cell in zip(names, row.cells, strict=False) if cell_text(cell)}
    return Record(row.line, fields)


def _kept(cell: Cell, name: str) -> Any:
    return cell if layout.column_of(name) in ("visited_at", "served_at") else cell_text(cell)


def dated(found: StoreFile, forms: DateForms, day: date | None) -> StoreFile:
    """The file with every date in one form, and the days counted; what cannot be read stays as it is written."""
    records, days = [], Counter()
    for record in found.records:
        if record.fields is None:
            records.append(record)
            continue
        fields = {name: _dated(cell, name, forms, day) for name, cell in record.fields.items()}
        records.append(record._replace(fields=fields))
        if (visited := _visited_day(record, forms, day)) is not None:
            days[visited] += 1
    return found._replace(records=records, days=days)


def _dated(cell: Cell, name: str, forms: DateForms, day: date | None) -> str:
    if layout.column_of(name) not in ("visited_at", "served_at"):
        return cell
    return written(cell, forms, day) or cell_text(cell)


def _visited_day(record: Record, forms: DateForms, day: date | None) -> date | None:
    for name, cell in record.fields.items():
        if layout.column_of(name) == "visited_at" and (at := written(cell, forms, day)) is not None:
            return date.fromisoformat(at[:10])
    return None
