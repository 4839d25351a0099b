"""Tables in Excel workbooks (.xlsx), with bounds on what unpacking them may take."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from openpyxl import load_workbook
from openpyxl.utils.datetime import from_excel

from pipelines.stores.grids import Grid, GridRow, is_blank
from pipelines.stores.verdicts import FileIncomplete, FileRefused

ZIP = b"PK\x03\x04"
OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_CHUNK = 1 << 20
# What zipfile raises for a file that is cut or whose bytes were altered; a RuntimeError where the altered byte names a
# compression it does not know, or says that there is a password.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def is_workbook(content: bytes) -> bool:
    """True for what begins like a workbook, whatever it is named. Raises FileRefused for Excel's old form."""
    if content.startswith(OLD_EXCEL):
        raise FileRefused("form.unknown", "an .xls file, or a workbook with a password: save it as .xlsx without one")
    return content.startswith(ZIP[:2])


def read_workbook(content: bytes, *, unpacked_bytes: int, rows: int, columns: int) -> Grid:
    """The rows of the first sheet that has any; blank rows at its end are left away.

    Raises FileIncomplete ``incomplete.workbook`` where the zip is cut or its sums are wrong, as in a file that is still
    being copied; FileRefused ``form.too_large`` beyond a bound, ``form.unknown`` for a zip that is no workbook,
    ``form.damaged`` for one that openpyxl cannot read.
    """
    _unpack(content, unpacked_bytes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions that openpyxl doesn't know hold no records
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            found = _first_sheet(book, rows, columns)
    except FileRefused:
        raise
    except Exception as error:  # openpyxl fails in many ways on a workbook made badly; all mean the same here
        raise FileRefused(
            "form.damaged", f"the workbook cannot be read ({type(error).__name__}); save it anew"
        ) from error
    return Grid("xlsx", found)


def _first_sheet(book, rows: int, columns: int) -> list[GridRow]:
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what a sheet says of its size need not be so
        found = list(_rows(sheet, rows, columns))
        while found and is_blank(found[-1]):
            found.pop()
        if found:
            return found
    return []


def _rows(sheet, most: int, columns: int) -> Iterator[GridRow]:
    for number, values in enumerate(sheet.iter_rows(max_col=columns + 1, values_only=True), 1):
        if number > most:
            raise FileRefused("form.too_large", f"the sheet has more than {most:,} rows; no store has in a day")
        if len(values) > columns and values[columns] is not None:
            raise FileRefused("form.too_large", f"the sheet has more than {columns} columns")
        yield GridRow(number, list(values[:columns]))


def _unpack(content: bytes, most: int) -> None:
    """Reads every part to its end, so that sums are checked and nothing beyond the bound is ever held."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            parts = packed.infolist()
            if sum(part.file_size for part in parts) > most:
                raise FileRefused("form.too_large", f"the workbook unpacks to more than {most:,} bytes")
            if not any(part.filename == "xl/workbook.xml" for part in parts):
                raise FileRefused("form.unknown", "a zip file, but no workbook (.xlsx)")
            for part in parts:
                with packed.open(part) as opened:
                    while opened.read(_CHUNK):
                        pass
    except _BROKEN as error:
        raise FileIncomplete("incomplete.workbook", f"the workbook is cut off or damaged: {error}") from error


def excel_day(number: float) -> datetime:
    """The instant of a serial number of a spreadsheet (days since 1899-12-30), to the second.

    >>> excel_day(46031.3368055556)
    datetime.datetime(2026, 1, 9, 8, 5)
    """
    found = from_excel(number)
    return (found + timedelta(microseconds=500_000)).replace(microsecond=0)
