"""Recorded messages out of files."""

import base64
import gzip
import json

import pytest

from pipelines.io.payload_files import PayloadFileError, payloads


def values(path, **options):
    return [payload.value for payload in payloads(path, **options)]


def test_lines_are_payloads_as_they_are(tmp_path):
    path = tmp_path / "chat.ndjson"
    path.write_bytes(b'{"a":1}\r\n\n  \nnot json\n{"b":2}')
    found = list(payloads(path))
    assert [payload.value for payload in found] == [b'{"a":1}', b"not json", b'{"b":2}']  # broken ones are sent too
    assert [payload.source_ref.split("#")[0] for payload in found] == [
        "chat.ndjson:1",
        "chat.ndjson:4",
        "chat.ndjson:5",
    ]


def test_gzip_reads_the_same(tmp_path):
    (tmp_path / "chat.ndjson.gz").write_bytes(gzip.compress(b'{"a":1}\n'))
    assert values(tmp_path / "chat.ndjson.gz") == [b'{"a":1}']


def test_rows_of_a_table_become_objects_by_its_header(tmp_path):
    path = tmp_path / "stores.csv"
    path.write_bytes('\ufeff到店时间, 咨询内容\n2026/1/9 8:00,"换货,\n尽快"\n2026/1/9 9:00\n1,2,3\n'.encode())
    assert [json.loads(value) for value in values(path)] == [
        {"到店时间": "2026/1/9 8:00", "咨询内容": "换货,\n尽快"},  # a line break inside quotes is part of the cell
        {"到店时间": "2026/1/9 9:00"},  # a short row has fewer fields
        {"到店时间": "1", "咨询内容": "2", "more_columns": ["3"]},  # a long one loses nothing
    ]


@pytest.mark.parametrize("name", ["stores.csv", "stores.ndjson"])
def test_gbk_becomes_utf_8(tmp_path, name):
    text = "咨询内容\n换货\n" if name.endswith("csv") else '{"咨询内容":"换货"}\n'
    (tmp_path / name).write_bytes(text.encode("gbk"))
    assert json.loads(values(tmp_path / name, encoding="gbk")[0]) == {"咨询内容": "换货"}


def test_a_line_that_is_not_in_the_stated_encoding_goes_as_it_is(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(b'{"a":"\xff\xff"}\n')
    assert values(tmp_path / "a.ndjson", encoding="gbk") == [b'{"a":"\xff\xff"}']


def test_folder_is_played_file_by_file_in_order(tmp_path):
    for name in ("b.eml", "a.eml", "sub/c.xml", "readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert values(tmp_path) == [b"a.eml", b"b.eml", b"sub/c.xml"]


def test_source_ref_tells_tomorrows_file_of_the_same_name_from_todays(tmp_path):
    path = tmp_path / "stores.csv"
    path.write_text("到店时间\n2026/1/9 8:00\n", encoding="utf-8")
    today = [payload.source_ref for payload in payloads(path)]
    path.write_text("到店时间\n2026/1/9 8:00\n2026/1/9 9:00\n", encoding="utf-8")  # sent again, one row longer
    longer = [payload.source_ref for payload in payloads(path)]
    path.write_text("到店时间\n2026/1/10 8:00\n", encoding="utf-8")  # the next day's
    tomorrow = [payload.source_ref for payload in payloads(path)]
    assert longer[0] == today[0]
    assert tomorrow[0] != today[0]


def test_second_attempts_carry_their_first_coordinates(tmp_path):
    path = tmp_path / "rejects.ndjson"
    entry = {"topic": "raw.app", "partition": 1, "offset": 42, "payload_base64": base64.b64encode(b"\xff{").decode()}
    path.write_text(json.dumps(entry | {"account": "shop"}) + "\n", encoding="utf-8")
    [payload] = payloads(path, attempt=2)
    assert payload.value == b"\xff{"
    assert payload.headers == {
        "attempt": "2", "first_topic": "raw.app", "first_partition": "1", "first_offset": "42", "account": "shop",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "options", "why"),
    [
        ("a.pdf", b"x", {}, "no form known"),
        ("a", b"x", {}, "without an ending"),
        ("a.csv", b"", {}, "no header"),
        ("a.csv", b"a\nb\n", {"encoding": "klingon"}, "no encoding klingon"),
        ("a.ndjson", b'{"a":1}\n', {"attempt": 1}, "line 1"),
        ("a.ndjson", b'{"topic":"t","partition":0,"offset":0,"payload_base64":"%%"}\n', {"attempt": 1}, "line 1"),
    ],
)
def test_what_cannot_be_played_is_said_in_words(tmp_path, name, content, options, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PayloadFileError, match=why):
        list(payloads(path, **options))


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(PayloadFileError, match="holds no"):
        list(payloads(tmp_path))
