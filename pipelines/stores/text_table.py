"""Tables in text files: encoding and delimiter by content, each row with its line, damaged rows as their bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from charset_normalizer import from_bytes

from pipelines.stores.grids import Cell, Grid, GridRow
from pipelines.stores.verdicts import FileRefused

# Bytes that an encoding cannot read stand in the text as these, so that a row gives its very bytes back.
_ESCAPED = frozenset(map(chr, range(0xDC80, 0xDD00)))
_PROBE_BYTES = 65_536
Known = Callable[[Sequence[Sequence[Cell]]], int]


class _Reading(NamedTuple):
    """One way to read the file. Fewer damaged characters are better, then more known columns."""

    known: int
    damaged: int
    encoding: str
    delimiter: str
    text: str


def read_text(
    content: bytes, *, encodings: Sequence[str], delimiters: Sequence[str], search_rows: int, rows: int, known: Known
) -> Grid:
    """The table in a text file; ``known`` says how many columns of a header are known among its first rows.

    What is valid UTF-8 is UTF-8: other encodings hardly ever are by chance. Else charset-normalizer proposes, and of
    all ways the one under which the header is known and the fewest characters are broken is taken. Raises FileRefused
    ``form.unknown`` where the file is no text, ``form.too_large`` beyond ``rows``.

    >>> grid = read_text("到店时间,手机号\\n2026-01-09,138\\n".encode("gbk"), encodings=["utf_8", "gb18030"],
    ...                  delimiters=[",", ";"], search_rows=20, rows=9, known=lambda head: len(head[0]))
    >>> grid.encoding, grid.delimiter, grid.rows[1].cells
    ('gb18030', ',', ['2026-01-09', '138'])
    """
    texts = _texts(content, encodings)
    if not texts:
        raise FileRefused("form.unknown", "the file is neither a workbook (.xlsx) nor text in an encoding we know")
    ways = [_way(text, encoding, d, search_rows, known) for encoding, text in texts for d in delimiters]
    best = max(ways, key=lambda way: (way.known > 0, -way.damaged, way.known))
    found = list(_records(best.text, best.encoding, best.delimiter, rows))
    ends = best.text.endswith(("\n", "\r"))
    return Grid("csv", found, best.encoding, best.delimiter, ends, _open_quote(best.text, best.delimiter, found))


def _texts(content: bytes, encodings: Sequence[str]) -> list[tuple[str, str]]:
    """Each encoding that comes into question, with the text it gives."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) and "utf_16" in encodings:
        try:
            return [("utf_16", content[: len(content) // 2 * 2].decode("utf_16"))]
        except UnicodeDecodeError:
            return []
    if b"\0" in content:
        return []
    try:
        return [("utf_8", content.decode("utf-8-sig"))]
    except UnicodeDecodeError:
        proposed = from_bytes(content[:_PROBE_BYTES], cp_isolation=list(encodings)).best()
    first = [proposed.encoding] if proposed is not None and proposed.encoding in encodings else []
    others = [name for name in encodings if name not in (*first, "utf_16")]
    return [(name, _decoded(content, name)) for name in [*(n for n in first if n != "utf_16"), *others]]


def _decoded(content: bytes, encoding: str) -> str:
    return content.decode("utf-8-sig" if encoding == "utf_8" else encoding, "surrogateescape")


def _way(text: str, encoding: str, delimiter: str, search_rows: int, known: Known) -> _Reading:
    head: list[GridRow] = []
    for row in _records(text, encoding, delimiter, search_rows + 1):
        head.append(row)
        if len(head) == search_rows:
            break
    damaged = sum(text.count(sign) for sign in _ESCAPED & set(text))
    return _Reading(known([row.cells for row in head]), damaged, encoding, delimiter, text)


def _records(text: str, encoding: str, delimiter: str, most: int) -> Iterator[GridRow]:
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    csv.field_size_limit(max(len(text), 131_072))
    reader, count = csv.reader(lines(), delimiter=delimiter), 0
    try:
        for cells in reader:
            count += 1
            if count > most:
                raise FileRefused("form.too_large", f"the file has more than {most:,} rows; no store has in a day")
            raw, first = "".join(taken), reader.line_num - len(taken) + 1
            taken.clear()
            damaged = None if _ESCAPED.isdisjoint(raw) else raw.rstrip("\r\n").encode(encoding, "surrogateescape")
            yield GridRow(first, list(cells), damaged)
    except csv.Error as error:
        raise FileRefused("form.damaged", f"the text is no table from line {reader.line_num} on: {error}") from error


def _open_quote(text: str, delimiter: str, rows: Sequence[GridRow]) -> str | None:
    """Why the last row seems cut within a quoted cell: the quote that opened it is never closed."""
    if not rows or '"' not in text:
        return None
    last = list(io.StringIO(text, newline=""))[rows[-1].line - 1 :]
    try:
        list(csv.reader(last, delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            return f"a quoted cell opened in line {rows[-1].line} is never closed"
    return None
