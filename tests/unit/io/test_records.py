"""Kafka messages into Arrow: every message becomes a row or is told apart with a reason, none is passed over."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.io.records import JsonRecords, UnknownColumn, bronze_rows, unreadable_rows
from pipelines.privacy.bronze_cipher import BronzeCipher, open_bronze
from pipelines.privacy.keys import MasterKey

KEY = MasterKey({1: bytes(32)})
AT_MS = 1_767_571_200_123  # 2026-01-05T00:00:00.123Z
RECORD = {
    "raw_topic": "raw.app", "raw_partition": 1, "raw_offset": 7, "event_id": "e", "channel": "app", "kind": "message",
    "occurred_at": AT_MS * 1000, "received_at": AT_MS * 1000, "processed_at": AT_MS * 1000 + 1, "text": "你好",
}  # fmt: skip


class Message:
    """What the client hands out, as far as it is used here."""

    def __init__(
        self, value, *, offset=0, topic="interactions.clean", partition=0, key=b"k", headers=None, at_ms=AT_MS
    ):
        self._all = (value, offset, topic, partition, key, headers, at_ms)

    value = lambda self: self._all[0]  # noqa: E731
    offset = lambda self: self._all[1]  # noqa: E731
    topic = lambda self: self._all[2]  # noqa: E731
    partition = lambda self: self._all[3]  # noqa: E731
    key = lambda self: self._all[4]  # noqa: E731
    headers = lambda self: self._all[5]  # noqa: E731
    timestamp = lambda self: (1, self._all[6])  # noqa: E731


def records(table="silver.interactions", topic="interactions.clean") -> JsonRecords:
    return JsonRecords(contracts.topic(topic), contracts.table(table))


def encoded(**changes) -> bytes:
    return json.dumps(RECORD | changes, ensure_ascii=False).encode()


def test_a_record_becomes_a_row_with_instants_and_its_day():
    (row,) = records().rows([Message(encoded())]).table.to_pylist()
    assert row["received_at"] == datetime(2026, 1, 5, 0, 0, 0, 123000, tzinfo=UTC)
    assert row["processed_at"].microsecond == 123001
    assert row["received_date"] == date(2026, 1, 5)
    assert (row["text"], row["raw_offset"], row["score"]) == ("你好", 7, None)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "not a JSON object"),  # empty: Arrow would pass over the line
        (b"  ", "not a JSON object"),  # blank, likewise
        (b"null", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"{", "not JSON"),  # cut off
        (encoded() + encoded(), "not exactly one"),  # two records in one value would hide a lost one
        (encoded() + b"\n" + encoded(), "not exactly one"),
        (encoded(raw_offset="seven"), "not JSON of the contract's types"),
        (encoded(raw_offset=7.5), "not JSON of the contract's types"),
        (encoded(event_id=None), "required field event_id"),
        (encoded(text="X").replace(b"X", b"\xff"), "not UTF-8"),
        (encoded(text="X").replace(b"X", b"\\ud800"), "not JSON"),  # half a surrogate pair
        (None, "no value"),  # a tombstone on a topic that is not compacted
    ],
)
def test_what_is_no_record_is_told_apart_and_its_neighbours_stay(value, why):
    good = [Message(encoded(raw_offset=n), offset=n) for n in (0, 1, 3)]
    found = records().rows([*good[:2], Message(value, offset=2), good[2]])
    assert found.table["raw_offset"].to_pylist() == [0, 1, 3]
    (bad,) = found.unreadable
    assert bad.message.offset() == 2
    assert why in bad.reason


def test_an_empty_value_beside_a_double_one_is_not_taken_for_two_records():
    """Their rows add up to the number of values; only looking at each value finds it."""
    found = records().rows([Message(b"", offset=0), Message(encoded() + encoded(), offset=1)])
    assert [bad.message.offset() for bad in found.unreadable] == [0, 1]


def test_a_pretty_printed_record_over_many_lines_is_read():
    found = records().rows([Message(json.dumps(RECORD, indent=2).encode()), Message(encoded(raw_offset=8))])
    assert sorted(found.table["raw_offset"].to_pylist()) + [b.message.offset() for b in found.unreadable] == [8, 0] or (
        found.table["raw_offset"].to_pylist() == [7, 8]
    )


def test_a_field_the_contract_lacks_stops_the_stream_and_is_named():
    with pytest.raises(UnknownColumn, match="mood"):
        records().rows([Message(encoded()), Message(encoded(mood="good"))])


def test_a_value_of_megabytes_is_read():
    (row,) = records().rows([Message(encoded(text="长" * 1_500_000))]).table.to_pylist()
    assert len(row["text"]) == 1_500_000


def test_a_removed_key_of_a_compacted_topic_is_a_row_of_its_own():
    """The table must show that a key's value went away: an erased token has no ciphertext any more."""
    entry = {"token": "ph1_ab", "token_type": "phone", "wrapped_key": "k", "nonce": "n", "ciphertext": "c"}
    reader = records("identity.vault", "identity.vault")
    found = reader.rows([Message(json.dumps(entry).encode()), Message(None, key=b"ph1_ab", at_ms=AT_MS + 1)])
    assert found.unreadable == []
    assert found.table["ciphertext"].to_pylist() == ["c", None]
    assert found.table["token"].to_pylist() == ["ph1_ab"] * 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 9).map(lambda n: encoded(raw_offset=n))), max_size=12))
def test_any_bytes_end_as_row_or_unreadable(values):
    found = records().rows([Message(value, offset=n) for n, value in enumerate(values)])
    assert found.table.num_rows + len(found.unreadable) == len(values)


def test_bronze_keeps_coordinates_key_headers_and_sealed_bytes():
    schema = contracts.arrow_schema(contracts.table("bronze.raw_events"))
    ciphers = {"raw.app": BronzeCipher(KEY, bytes(16)), "raw.sms": BronzeCipher(KEY, bytes(15) + b"\x01")}
    messages = [
        Message(b"\xff\x00", topic="raw.app", partition=1, offset=7, headers=[("account", b"shop"), ("charset", None)]),
        Message("短信".encode("gbk"), topic="raw.sms", offset=0, key=None),
        Message(None, topic="raw.app", partition=0, offset=3),  # a tombstone: nothing to seal, still a row
    ]
    first, second, third = bronze_rows(messages, ciphers, schema).to_pylist()
    assert (first["raw_topic"], first["raw_partition"], first["raw_offset"]) == ("raw.app", 1, 7)
    assert first["headers"] == '{"account": "shop", "charset": null}'
    assert first["received_date"] == date(2026, 1, 5)
    assert open_bronze(first["payload_ciphertext"], KEY, 1, 7) == b"\xff\x00"
    assert open_bronze(second["payload_ciphertext"], KEY, 0, 0).decode("gbk") == "短信"
    assert (second["key_bytes"], second["headers"], second["payload_bytes"]) == (None, None, 4)
    assert (third["payload_ciphertext"], third["payload_bytes"]) == (None, None)


def test_an_unreadable_record_keeps_its_own_coordinates_and_bytes():
    schema = contracts.arrow_schema(contracts.table("quarantine.rejects"))
    (bad,) = records().rows([Message(b"{", partition=1, offset=9)]).unreadable
    (row,) = unreadable_rows([bad], schema, lambda m: m.value().decode(), 5_000_000).to_pylist()
    assert (row["raw_topic"], row["raw_partition"], row["raw_offset"]) == ("interactions.clean", 1, 9)
    assert (row["rule"], row["payload_encrypted"], row["payload_bytes"]) == ("tiering.unreadable", "{", 1)
    assert row["processed_at"] == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_rows_keep_their_order_when_several_cores_read_them():
    """7 MB are seven blocks of the reader; scores begin in the last, so whole blocks have none. 5,000 is torn."""
    many = [
        Message(encoded(raw_offset=n, text="字" * 350, **({"score": 4.5} if n >= 5_900 else {}))) for n in range(6_000)
    ]
    many[5_000] = Message(many[5_000].value()[:-2], offset=5_000)
    found = records().rows(many)
    assert found.table.column("raw_offset").to_pylist() == [n for n in range(6_000) if n != 5_000]
    assert found.table.column("score").to_pylist() == [None] * 5_899 + [4.5] * 100
    assert [bad.message.offset() for bad in found.unreadable] == [5_000]
