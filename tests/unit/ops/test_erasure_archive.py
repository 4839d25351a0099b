"""Files of stores that hold an erased person go, and only those; what is known of their rows stays."""

from __future__ import annotations

import io
import zipfile

import pytest
from openpyxl import Workbook

from jobs.ops import erasure_archive
from jobs.ops.store_deliveries import Deliveries
from jobs.ops.store_resend import resend
from jobs.ops.store_roots import Roots
from pipelines import contracts
from pipelines.io.store_archive import StoreArchive
from pipelines.privacy.erasure import person
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from tests.unit.ops.test_store_import import DAY, NOW, S, messages, put, run, sent, text  # noqa: F401

HEAD = "记录编号,门店编号,到店时间,手机号,会员号,咨询内容\r\n"
LINE = "{n},{store},{at},{phone},{member},{said}\r\n"


def file(store: str, phone="", member="", said="换屏", at="2026-01-09 08:05:00") -> bytes:
    return (HEAD + LINE.format(n=1, store=store, phone=phone, member=member, said=said, at=at)).encode()


@pytest.fixture
def who(settings):
    tokeniser = Tokeniser(MasterKey.load(settings))
    return person([tokeniser.token("13900000001", "phone"), tokeniser.token("M0007", "member")])


@pytest.mark.parametrize(
    ("content", "gone"),
    [
        (file("S01", phone="139 0000 0001"), True),  # another spelling of the number
        (file("S01", member="M0007"), True),  # the member number alone
        (file("S01", member="M0007", at="不详"), True),  # in a row that is a reject: nobody knows when it was
        (file("S01", member="M0007,多一格"), True),  # in a row with a cell too many
        (file("S01", member="M0007").replace("换屏".encode(), b"\xff\xfe"), True),  # in a row of damaged bytes
        (file("S01", said="请打１３９00000001找我"), True),  # the number in a text
        (file("S02", phone="13900000001"), True),  # a refused file: its name says S01
        (file("S01", phone="13900000002", member="M0008"), False),  # somebody else
    ],
)
def test_a_file_with_the_person_goes(settings, tmp_path, sent, who, content, gone):  # noqa: F811
    inbox = settings.home / "inbox"
    put(inbox, "S01.csv", content)
    run(settings, inbox)
    found = erasure_archive.files_of(settings, who)
    assert len(found) == gone
    erasure_archive.erase(settings, found)
    assert erasure_archive.files_of(settings, who) == []
    assert len(list(StoreArchive(settings.home, MasterKey.load(settings)).everything())) == (not gone)


def test_afterwards_nothing_comes_back_and_a_withdrawal_names_nobody(settings, sent, who, monkeypatch):  # noqa: F811
    inbox = settings.home / "inbox"
    put(inbox, "S01.csv", text("1换屏", "2退货"))
    run(settings, inbox)
    erasure_archive.erase(settings, erasure_archive.files_of(settings, who))
    put(inbox, "S01.csv", text("1换屏", "2退货"))
    assert [report.file_verdict for _, report in run(settings, inbox).reports] == ["redelivered"]
    put(inbox, "S01.csv", text("1换屏"))
    run(settings, inbox)
    assert messages(sent[2:]) == [("2", 1, "-")]
    assert b"13900000001" not in sent[2][1].value
    monkeypatch.setattr("jobs.ops.store_resend.refs_in_bronze", lambda settings, since_us: set())
    later_us = (NOW + 3600 * S) // 1000
    with Roots(settings) as roots:
        deliveries = Deliveries(roots, contracts.policy("store_import"), later_us)
        assert resend(deliveries, roots.own, "S01", DAY, later_us).lost == 0  # the new file holds the row that stands


def workbook(*rows, compression=zipfile.ZIP_DEFLATED) -> bytes:
    book, made = Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(made)
    packed = io.BytesIO()
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(packed, "w", compression) as target:
        for name in sorted(source.namelist(), key=lambda name: "sheet1" not in name):  # a cut file keeps what is first
            target.writestr(name, source.read(name))
    return packed.getvalue()


TABLE = workbook(HEAD.strip().split(","), [1, "S01", "2026-01-09 08:05", 13900000001, None, "换屏"])


@pytest.mark.parametrize(
    ("content", "theirs"),
    [
        (TABLE, True),
        (TABLE[: len(TABLE) // 2], True),  # half of it came: no list of members, the sheet is there
        (workbook(["no table", "call 13900000001"]), True),
        (workbook(["no table", 13900000001], compression=zipfile.ZIP_STORED), True),
        (workbook(["no table", "13900000002"]), False),
        ("没有表头,M0007\r\n".encode("utf-16"), True),
        ("没有表头 13900000001".encode("utf-16"), True),
        ("没有表头,M0008\r\n".encode("utf-16"), False),
    ],
)
def test_what_is_no_table_is_looked_into_as_far_as_it_goes(settings, who, content, theirs):
    assert erasure_archive.search(who, MasterKey.load(settings))(content) == theirs


def test_what_nobody_can_look_into_is_counted(settings):
    archive = StoreArchive(settings.home, MasterKey.load(settings))
    for content in (b"\xd0\xcf\x11\xe0 old Excel", TABLE, b"\xd0\xcf\x11\xe0 a password"):
        archive.refuse(content, {"reason": "form.unknown"})
    assert erasure_archive.sealed(settings) == 2
