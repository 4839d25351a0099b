"""What a file changes in a store's day, and what records are known by."""

from __future__ import annotations

from datetime import date

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.channels import store as store_channel
from pipelines.stores.corrections import CORRECTED, NEW, REPEATED, SentRow, plan
from pipelines.stores.rows import KeyedRecord, keyed, payload, withdrawal
from pipelines.stores.store_file import Record
from pipelines.stores.verdicts import FileRefused

LIMITS = {"max_withdrawn_share": 0.3, "min_withdrawn": 1}
DAY, NOW_US = date(2026, 1, 9), 1_768_000_000_000_000


def row(key: str, content: str) -> KeyedRecord:
    return KeyedRecord(key, content, None)


def was(content: str, revision: int = 0, **more) -> SentRow:
    return SentRow(content, revision, "f:2#0", "sha", more.pop("readable", True), **more)


@pytest.mark.parametrize(
    ("sent", "rows", "changes", "gone", "unchanged"),
    [
        ({}, ["1a"], [("1", 0, NEW)], [], 0),
        ({"1": was("a")}, ["1a"], [], [], 1),  # said before: not sent again
        ({"1": was("a", 3)}, ["1b"], [("1", 4, CORRECTED)], [], 0),  # the next revision, whichever came before
        ({"1": was("a", 1, withdrawn=True)}, ["1a"], [("1", 2, CORRECTED)], [], 0),  # it comes back as it was
        ({"1": was("a", 1, withdrawn=True)}, [], [], [], 0),  # taken back before: not once more
        ({"1": was("a"), "2": was("b")}, ["1a"], [], [("2", 1)], 1),
        ({"1": was("a"), "2": was("b", readable=False)}, ["1a"], [], [], 1),  # stands nowhere: nothing to take back
        ({}, ["1a", "1a"], [("1", 0, NEW), ("1", 0, REPEATED)], [], 0),  # the stream shall see the duplicate
        ({"1": was("a")}, ["1a", "1a"], [], [], 2),  # and not a second time
        ({"1": was("a")}, ["1b", "1b"], [("1", 1, CORRECTED), ("1", 1, REPEATED)], [], 0),
    ],
)
def test_the_difference(sent, rows, changes, gone, unchanged):
    made = plan(sent, [row(text[0], text[1]) for text in rows], max_withdrawn_share=1.0, min_withdrawn=0)
    assert [(one.row.key, one.revision, one.why) for one in made.changes] == changes
    assert [(one.key, one.revision) for one in made.withdrawn] == gone
    assert made.unchanged == unchanged


@pytest.mark.parametrize(
    ("left", "refused"),
    [
        (7, False),  # 3 of 10 are gone: as many as policy allows
        (6, True),  # 4 of 10
        (0, True),  # an empty file
    ],
)
def test_half_a_file_is_no_correction(left, refused):
    sent = {str(n): was("a") for n in range(10)}
    rows = [row(str(n), "a") for n in range(left)]
    if refused:
        with pytest.raises(FileRefused, match="allow-shrink") as refusal:
            plan(sent, rows, **LIMITS)
        assert refusal.value.code == "correction.shrinks"
    else:
        assert len(plan(sent, rows, **LIMITS).withdrawn) == 3


@pytest.mark.parametrize(("before", "refused"), [(1, False), (2, True), (5, True)])
def test_a_file_that_shares_no_record_with_the_days_first_is_no_correction(before, refused):
    """A store that delivers morning and evening apart: the evening's file must not take the morning back."""
    sent = {f"m{n}": was("a") for n in range(before)}
    limits = {"max_withdrawn_share": 0.3, "min_withdrawn": 5}
    if refused:
        with pytest.raises(FileRefused):
            plan(sent, [row("e1", "a")], **limits)
    else:
        assert len(plan(sent, [row("e1", "a")], **limits).withdrawn) == 1  # one record with its number corrected


contents = st.dictionaries(st.sampled_from("123456"), st.sampled_from("abc"), max_size=6)


@given(st.lists(contents, max_size=6))
def test_after_any_files_what_stands_is_what_the_last_one_says(files):
    """Follows the state as an import commits it: highest revision of each key = its last word; revisions only rise."""
    state: dict[str, SentRow] = {}
    stands: dict[str, tuple[int, str | None]] = {}
    for content in files:
        made = plan(state, [row(*pair) for pair in content.items()], max_withdrawn_share=1.0, min_withdrawn=0)
        assert len(made.changes) + made.unchanged == len(content)
        for one in made.changes:
            assert one.revision > stands.get(one.row.key, (-1, None))[0]
            stands[one.row.key] = (one.revision, one.row.content)
            state[one.row.key] = was(one.row.content, one.revision)
        for gone in made.withdrawn:
            assert gone.revision > stands[gone.key][0]
            stands[gone.key] = (gone.revision, None)
            state[gone.key] = gone.was._replace(revision=gone.revision, withdrawn=True)
        assert {key: said for key, (_, said) in stands.items() if said is not None} == content


def keys(*records: dict, key=("visited_at", "phone")) -> list[str]:
    rows = keyed([Record(n, fields) for n, fields in enumerate(records)], list(key), b"secret")
    return [one.key for one in rows]


def test_without_numbers_a_row_is_known_by_when_and_who():
    one = {"到店时间": "2026-01-09 08:05:00", "手机号": "13900000001", "咨询内容": "换屏"}
    said_otherwise, later = one | {"咨询内容": "换电池"}, one | {"到店时间": "2026-01-09 08:06:00"}
    first, second = keys(one), keys(said_otherwise)
    assert first == second  # so a corrected text is a correction, wherever its row stands now
    assert keys(later) != first
    assert keys(one, said_otherwise) == [*first, f"{first[0]}~2"]
    assert "139" not in first[0]


def test_a_hash_needs_the_key():
    record = [Record(2, {"到店时间": "2026-01-09 08:05:00", "手机号": "13900000001"})]
    assert (
        keyed(record, ["visited_at", "phone"], b"one")[0].key != keyed(record, ["visited_at", "phone"], b"two")[0].key
    )


FIELDS = {
    "记录编号": "7",
    "到店时间": "2026-01-09 08:05:00",
    "手机号": "13900000001",
    "咨询内容": "换屏",
    "满意度": "5",
}


def test_the_channels_parser_reads_what_is_sent():
    [one] = keyed([Record(2, FIELDS)], [], b"k")
    read = store_channel.parse(payload(one, "S01", DAY, 2, 5), "default", NOW_US, "f:2#0")
    assert (read.source_message_id, read.source_revision, read.text) == ("S01/2026-01-09/7", 2, "换屏")
    assert orjson.loads(read.attributes) == {"store_id": "S01", "other": {"store_record_no": "7"}}


@pytest.mark.parametrize(
    ("fields", "phone", "at_us"),
    [
        (FIELDS, "13900000001", 1767917100000000),  # 08:05 in Shanghai
        ({}, None, 1767888000000000),  # its file was erased: the day's first minute, and nobody's
    ],
)
def test_a_withdrawal_is_a_record_of_no_contact_under_the_same_id(fields, phone, at_us):
    read = store_channel.parse(withdrawal(fields, "S01", DAY, "7", 3), "default", NOW_US, None)
    assert (read.source_message_id, read.source_revision) == ("S01/2026-01-09/7", 3)
    assert (read.kind, read.outcome, read.text, read.score) == ("record", "revoked", None, None)
    assert (read.phone, read.occurred_at_us) == (phone, at_us)


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (Record(3, None, misaligned=["a", "b", "c"]), "row.misaligned"),
        (Record(3, None, damaged="换屏".encode("gbk")), "payload.bad_encoding"),
    ],
)
def test_what_is_no_record_is_sent_and_rejected_with_a_reason(record, rule):
    [one] = keyed([record], ["visited_at"], b"k")
    assert store_channel.parse(payload(one, "S01", DAY, 0, 2), "default", NOW_US, None).rule == rule
