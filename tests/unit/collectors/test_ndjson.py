"""Batches: which line is which record, and that no byte of a record changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.collectors import ndjson
from pipelines.collectors.refusals import Refusal


def split(body, *, max_line_bytes=10, max_lines=5):
    return ndjson.split(body, max_line_bytes=max_line_bytes, max_lines=max_lines)


@pytest.mark.parametrize(
    ("body", "records", "too_large", "empty"),
    [
        (b"a\nb\n", [(1, b"a"), (2, b"b")], [], 0),
        (b"a\nb", [(1, b"a"), (2, b"b")], [], 0),  # no line feed at the end
        (b"a\r\nb\r\n", [(1, b"a"), (2, b"b")], [], 0),  # Windows line ends
        (b"a\r\r\n", [(1, b"a\r")], [], 0),  # only one carriage return belongs to the line end
        (b"\n\na\n \t\n", [(3, b"a")], [], 3),  # empty and blank lines count, but are no records
        (b"a\n12345678901\nb", [(1, b"a"), (3, b"b")], [2], 0),  # one line too large, the others stay
        (b"1234567890\r\n", [(1, b"1234567890")], [], 0),  # exactly at the limit: the line end does not count
        (b'{"a": \nbroken\n', [(1, b'{"a": '), (2, b"broken")], [], 0),  # broken JSON goes on: its parser keeps it
        (b"\xff\xfe\n\x00\n", [(1, b"\xff\xfe"), (2, b"\x00")], [], 0),  # bytes are bytes
        (b"1\n2\n3\n4\n5\n", [(n, b"%d" % n) for n in range(1, 6)], [], 0),  # as many lines as allowed
        ("a\u2028b".encode(), [(1, "a\u2028b".encode())], [], 0),  # Unicode's line separators separate nothing here
    ],
)
def test_lines(body, records, too_large, empty):
    assert split(body) == ([ndjson.Line(*record) for record in records], too_large, empty)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"\n\r\n  \n", "batch.empty"),
        (b"1\n2\n3\n4\n5\n6", "batch.too_many_lines"),
        (b"\n" * 6, "batch.too_many_lines"),  # empty lines are work as well
    ],
)
def test_refusals(body, error):
    with pytest.raises(Refusal) as refused:
        split(body)
    assert refused.value.error == error


@given(
    st.lists(st.binary(max_size=8).filter(lambda b: b.strip() and b"\n" not in b and not b.endswith(b"\r")), min_size=1)
)
def test_records_come_out_as_they_went_in(values):
    batch = split(b"\n".join(values), max_lines=1000)
    assert [line.value for line in batch.records] == values


def test_report_names_lines_as_ranges():
    report = ndjson.report(accepted=[1, 2, 3, 9], duplicate=[5], refused={4: "body.too_large"}, empty=1)
    assert report["accepted_lines"] == [[1, 3], [9, 9]]
    assert report["duplicate_lines"] == [[5, 5]]
    assert report["refused_lines"] == [{"line": 4, "error": "body.too_large"}]
    assert (report["accepted"], report["duplicate"], report["refused"], report["empty"]) == (4, 1, 1, 1)
