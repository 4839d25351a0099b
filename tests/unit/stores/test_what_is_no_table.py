"""Cut, damaged, huge and wrong files: each is waited for or refused by its own rule, and never read."""

from __future__ import annotations

import io
import zipfile

import pytest
from openpyxl import Workbook

from pipelines import contracts
from pipelines.stores import store_file
from pipelines.stores.verdicts import FileIncomplete, FileRefused

POLICY = contracts.policy("store_import")
HEAD = "记录编号,到店时间,手机号,咨询内容\r\n"
ONE = "R1,2026-01-09 08:05:00,13900000001,换屏\r\n"


def workbook(*rows: list) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def packed(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return out.getvalue()


GOOD = workbook(HEAD.strip().split(","), ONE.strip().split(","))


def altered() -> bytes:
    """One byte of a packed part is another; the zip's own sum says so."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as read:
        part = read.getinfo("xl/worksheets/sheet1.xml")
    at = part.header_offset + 120
    return GOOD[:at] + bytes([GOOD[at] ^ 0xFF]) + GOOD[at + 1 :]


def sparse() -> bytes:
    """A sheet of two cells, the second in the last place a sheet has: 17 thousand million cells, were it laid out."""
    cell = '<c r="{}" t="inlineStr"><is><t>x</t></is></c>'
    rows = f'<row r="1">{cell.format("A1")}</row><row r="1048576">{cell.format("XFD1048576")}</row>'
    with zipfile.ZipFile(io.BytesIO(GOOD)) as read:
        parts = {name: read.read(name) for name in read.namelist()}
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts["xl/worksheets/sheet1.xml"] = f'<worksheet xmlns="{space}"><sheetData>{rows}</sheetData></worksheet>'.encode()
    return packed(parts)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "incomplete.empty"),  # an upload that has only begun
        (b"\0" * 4096, "incomplete.empty"),  # blocks the disk has promised and nobody has written
        (GOOD[: len(GOOD) // 2], "incomplete.workbook"),  # the directory of a zip stands at its end
        (GOOD[:4], "incomplete.workbook"),  # the shortest beginning that can be told
        (altered(), "incomplete.workbook"),  # whole, but its sum is wrong
        ((HEAD + ONE + "R2,2026-01-09 09:00").encode(), "incomplete.last_line"),  # fewer cells and no line break
        ((HEAD + ONE).encode() + "R2,2026-01-09 09:00:00,139,换".encode()[:-1], "incomplete.last_line"),  # in a letter
        ((HEAD + ONE + 'R2,2026-01-09 09:00:00,139,"换屏').encode(), "incomplete.open_quote"),
        ((HEAD + 'R2,2026-01-09 09:00:00,139,"换屏\r\n' + ONE).encode(), "incomplete.open_quote"),  # swallows the rest
    ],
)
def test_waited_for(content, code):
    with pytest.raises(FileIncomplete) as verdict:
        store_file.read(content, POLICY)
    assert verdict.value.code == code


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"%PDF-1.7\n\0\0", "form.unknown"),  # a NUL is in no text
        (b"\xd0\xcf\x11\xe0" + bytes(600), "form.unknown"),  # Excel 97, or a workbook with a password
        (packed({"readme.txt": b"x"}), "form.unknown"),  # a zip, but no workbook
        (packed({"xl/workbook.xml": b"<no"}), "form.damaged"),  # sums are right, the content is not
        (packed({"xl/workbook.xml": b"x", "bomb": b"0" * 300_000_000}), "form.too_large"),  # 290 kB packed
        (sparse(), "form.too_large"),
        (b"date,amount\r\n2026-01-09,3\r\n", "header.unknown"),  # another table altogether
        ("门店日报\r\n".encode(), "header.unknown"),
        ((HEAD + ONE + "#END,2\r\n").encode(), "footer.contradicts"),  # says two, holds one
        ((HEAD + ONE * 100_001).encode(), "form.too_large"),
    ],
)
def test_refused(content, code):
    with pytest.raises(FileRefused) as verdict:
        store_file.read(content, POLICY)
    assert verdict.value.code == code


@pytest.mark.parametrize(
    ("tail", "store", "code"),
    [
        (ONE, {}, None),
        (ONE.rstrip(), {}, "incomplete.last_line"),  # 换 of 换屏 looks whole: only the line break tells
        (ONE.rstrip(), {"final_newline": "optional"}, None),  # its till writes none
        (ONE, {"footer": "required"}, "incomplete.no_footer"),  # cut exactly between two lines
        (ONE + "#END,1\r\n", {"footer": "required"}, None),
        (ONE + "共1条", {"footer": "required"}, None),  # the footer itself says that all is there
    ],
)
def test_what_the_store_declares_tells_the_rest(tail, store, code):
    content = (HEAD + tail).encode()
    read = store_file.read(content, POLICY)
    if code is None:
        store_file.must_end(read, content, store)
    else:
        with pytest.raises(FileIncomplete) as verdict:
            store_file.must_end(read, content, store)
        assert verdict.value.code == code


def test_rows_that_are_no_records_are_counted():
    text = "门店日报\r\n\r\n" + HEAD + ONE + HEAD + ",,,\r\n" + "合计,,,1人次\r\n" + "#END,1\r\n" + ",,,\r\n,,,\r\n"
    read = store_file.read(text.encode("gbk"), POLICY)
    assert len(read.records) == 1
    assert {what: n for what, n in read.beside.items() if n} == {
        "title": 1, "header": 2, "blank": 4, "total": 1, "footer": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "misaligned"),
    [
        ("R1,2026-01-09,139,换屏,要多少钱", True),  # a comma that nobody quoted
        ("R1,2026-01-09,139,换屏,", True),  # the same, its last cell blank
        ("R1,2026-01-09,139", True),  # a torn row: which cell is missing cannot be told
        ('R1,2026-01-09,139,"换屏,要多少钱"', False),
    ],
)
def test_a_row_with_other_cells_than_the_header_is_not_guessed(row, misaligned):
    [_, record] = store_file.read((HEAD + ONE + row + "\r\n").encode(), POLICY).records
    assert (record.misaligned is not None, record.fields is None) == (misaligned, misaligned)


def test_a_till_that_ends_each_record_with_a_delimiter_writes_no_misaligned_rows():
    read = store_file.read((HEAD + (ONE.rstrip() + ",\r\n") * 2).encode(), POLICY)
    assert [record.misaligned for record in read.records] == [None, None]
