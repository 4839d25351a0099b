"""How stores write their files: text and workbooks, with titles, merged headers, mixed dates, totals and footers."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from openpyxl import Workbook

COLUMNS = (
    "记录编号", "门店编号", "到店时间", "手机号", "会员号", "记录类型", "咨询内容", "等待时长(分钟)", "服务时长(分钟)",
    "满意度", "满分", "接待人员", "订单号",
)  # fmt: skip
_GROUPS = ("记录", "", "到店时间", "客户", "", "服务", "", "", "", "评价", "", "接待人员", "订单号")
_NAMES = (
    "记录编号",
    "门店编号",
    "",
    "手机号",
    "会员号",
    "记录类型",
    "咨询\n内容",
    "等待时长（分钟）",
    "服务时长(分钟)",
    "满意度",
    "满分",
    "",
    "",
)
_EPOCH = datetime(1899, 12, 30)


@dataclass
class Visit:
    """One record as it happened. ``raw_line`` stands in its place in a file where the row is torn or damaged."""

    number: str
    store: str
    at: datetime
    values: dict[str, str] = field(default_factory=dict)
    written_at: str | None = None
    raw_line: bytes | None = None


@dataclass(frozen=True)
class Form:
    """How one file is written. ``header``: plain, titled, merged; ``mixed_dates``: each row in a form of its own."""

    kind: str = "csv"
    encoding: str = "utf-8"
    delimiter: str = ","
    header: str = "plain"
    mixed_dates: bool = False
    totals: bool = False
    footer: bool = False
    blank_rows: int = 0
    repeated_header_at: int | None = None


@dataclass(frozen=True)
class Written:
    """A file's bytes, and the line each of its visits begins in."""

    content: bytes
    lines: list[int]


def serial(at: datetime) -> float:
    """Days since 1899-12-30, as spreadsheets count, to the five digits they show.

    >>> serial(datetime(2026, 1, 9, 8, 5))
    46031.33681
    """
    return round((at - _EPOCH).total_seconds() / 86_400, 5)


def written_date(at: datetime, way: int) -> str:
    """One of the ways in which people and tills write a time.

    >>> [written_date(datetime(2026, 1, 9, 15, 5), way) for way in range(4)]
    ['2026-01-09 15:05:00', '2026/1/9 15:05', '2026年1月9日 15:05', '2026年1月9日 下午3:05']
    """
    half = "上午" if at.hour < 12 else "下午"
    ways = (
        f"{at:%Y-%m-%d %H:%M:%S}",
        f"{at.year}/{at.month}/{at.day} {at.hour}:{at:%M}",
        f"{at.year}年{at.month}月{at.day}日 {at.hour}:{at:%M}",
        f"{at.year}年{at.month}月{at.day}日 {half}{at.hour % 12 or 12}:{at:%M}",
        f"{serial(at):.5f}",
        f"{at:%Y%m%d%H%M%S}",
        f"{at.year}年{at.month}月{at.day}日 {at.hour}时{at:%M}分",
        f"{at:%m/%d/%Y %H:%M}",
    )
    return ways[way % len(ways)]


def cells(visit: Visit, way: int) -> list[str]:
    """The visit under ``COLUMNS``, its time written in one of the ways."""
    when = visit.written_at if visit.written_at is not None else written_date(visit.at, way)
    known = {"记录编号": visit.number, "门店编号": visit.store, "到店时间": when} | visit.values
    return [known.get(name, "") for name in COLUMNS]


def write(visits: Sequence[Visit], form: Form, title: str, chance: random.Random) -> Written:
    """A whole file."""
    head = _head(form, title)
    ways = [chance.randrange(8) if form.mixed_dates else 0 for _ in visits]
    rows = [cells(visit, way) for visit, way in zip(visits, ways, strict=True)]
    tail = [["合计", "", "", "", "", "", f"{len(visits)}人次"]] * form.totals
    tail += [
        [f"#END,{len(visits)}"] if form.kind == "csv" and form.delimiter == "," else [f"共{len(visits)}条"]
    ] * form.footer
    tail += [[]] * form.blank_rows
    if form.kind == "xlsx":
        return _workbook(visits, head, rows, ways, tail, form)
    return _text(visits, head, rows, tail, form)


def _head(form: Form, title: str) -> list[list[str]]:
    if form.header == "titled":
        return [[title], [], list(COLUMNS)]
    if form.header == "merged":
        return [[title], list(_GROUPS), list(_NAMES)]
    return [list(COLUMNS)]


def _text(visits: Sequence[Visit], head: list, rows: list, tail: list, form: Form) -> Written:
    out, lines, line = io.BytesIO(), [], 1  # lines are counted in the text: 上 has a line feed's byte in UTF-16

    encoding = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(form.encoding, form.encoding)

    def put(row: Sequence[str]) -> int:
        written = io.StringIO()
        csv.writer(written, delimiter=form.delimiter, lineterminator="\r\n").writerow(row)
        text = written.getvalue() if not (len(row) == 1 and row[0].startswith("#END")) else f"{row[0]}\r\n"
        out.write(text.encode(encoding))
        return text.count("\n")

    out.write({"utf-8-sig": b"\xef\xbb\xbf", "utf-16": b"\xff\xfe"}.get(form.encoding, b""))
    for row in head:
        line += put(row)
    for nth, (visit, row) in enumerate(zip(visits, rows, strict=True)):
        if nth == form.repeated_header_at:
            line += put(head[-1] if form.header != "merged" else COLUMNS)
        lines.append(line)
        if visit.raw_line is None:
            line += put(row)
        else:
            out.write(visit.raw_line + b"\r\n")
            line += 1
    for row in tail:
        put(row if row else [""] * len(COLUMNS))
    return Written(out.getvalue(), lines)


def _workbook(visits: Sequence[Visit], head: list, rows: list, ways: list[int], tail: list, form: Form) -> Written:
    book = Workbook()
    sheet = book.active
    for row in head:
        sheet.append(row)
    if form.header == "merged":
        for area in ("A2:B2", "D2:E2", "F2:I2", "J2:K2", "C2:C3", "L2:L3", "M2:M3"):
            sheet.merge_cells(area)
    lines = []
    for visit, row, way in zip(visits, rows, ways, strict=True):
        lines.append(sheet.max_row + 1)
        typed: list = [_typed(name, text) for name, text in zip(COLUMNS, row, strict=True)]
        if visit.written_at is None and way % 8 in (0, 4):  # as a date of the sheet, or as its bare number
            typed[2] = visit.at if way % 8 == 0 else serial(visit.at)
        sheet.append(typed)
    for row in tail:
        sheet.append(row or [None])
    out = io.BytesIO()
    book.save(out)
    return Written(out.getvalue(), lines)


def _typed(name: str, text: str) -> object:
    """What Excel makes of a text that is typed in: phone numbers and minutes become numbers."""
    if not text:
        return None
    return (
        float(text)
        if name in ("手机号", "等待时长(分钟)", "服务时长(分钟)", "满分") and text.replace(".", "").isdigit()
        else text
    )
