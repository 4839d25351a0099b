"""Replay: records out of payloads, their pace, and what is counted."""

import json

import pytest
import typer

from jobs.ops.replay import Player, as_it_happened, key, read_speed
from pipelines.channels.interaction import Interaction, Reject
from pipelines.io.paced_producer import Record
from pipelines.io.payload_files import Payload

TURN = {"message_id": "m1", "sender": "visitor", "session_id": "s1", "sent_at": "2026-01-09 08:00:00", "text": "在吗"}


def payload(fields, headers=None):
    value = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return Payload("chat.ndjson:1#00", value, headers or {})


def records(*payloads, **options):
    player = Player("web_chat", "www", options.get("received_at_field"))
    return player, list(player.records(payloads))


def test_record_says_where_it_comes_from():
    _, [(record, at_us)] = records(payload(TURN))
    assert record.topic == "raw.web_chat"
    assert dict(record.headers) == {"account": b"www", "source_ref": b"chat.ndjson:1#00"}
    assert (record.timestamp_ms, at_us) == (0, 1767916800_000_000)  # received when it is sent; happened when it says


def test_unreadable_messages_are_sent_and_announced():
    player, [(record, at_us)] = records(payload(b"oops"))
    assert (record.value, record.key, at_us) == (b"oops", None, None)
    assert player.unreadable == {"payload.not_json": 1}


def test_too_large_messages_are_counted_not_sent():
    player, sent = records(payload(TURN | {"text": "a" * 7_000_000}))
    assert (sent, player.too_large, player.read) == ([], 1, 1)


@pytest.mark.parametrize(
    ("field", "timestamp_ms", "notes"),
    [("sent_at", 1767916800_000, 0), ("nothing", 0, 1), ("text", 0, 1)],  # named and there; not there; no time
)
def test_time_of_receipt_from_a_field(field, timestamp_ms, notes):
    player, [(record, _)] = records(payload(TURN), received_at_field=field)
    assert record.timestamp_ms == timestamp_ms
    assert sum(player.notes.values()) == notes


def test_second_attempt_keeps_its_headers_and_account_and_is_noted():
    first = {"first_topic": "raw.web_chat", "first_partition": "1", "first_offset": "42"}
    player, [(record, _), (other, _)] = records(
        payload(TURN, {"attempt": "2", "account": "shop"} | first), payload(TURN | {"message_id": "m2"})
    )
    assert dict(record.headers)["attempt"] == b"2"
    assert dict(record.headers)["account"] == b"shop"
    assert "attempt" not in dict(other.headers)
    assert player.attempts == [("raw.web_chat", 1, 42, 2, None)]


def test_key_keeps_a_conversation_together_and_gives_nobody_away():
    one, other = Interaction(session_id="s1", phone="13800000001"), Interaction(phone="13800000001")
    assert key(one) == key(Interaction(session_id="s1", user_handle="v2"))
    assert key(one) != key(other)
    assert b"13800000001" not in key(other)
    assert key(Interaction()) is None
    assert key(Reject("payload.not_json", "")) is None


def test_ten_times_as_fast_waits_a_tenth_of_the_distance():
    now, slept = [100.0], []

    def sleep(seconds):
        slept.append(round(seconds, 6))
        now[0] += seconds

    times_s = [0, 20, None, 15, 60]  # unreadable, and one that lies back in time: both go at once
    record = Record("raw.web_chat", None, b"", [])
    timed = [(record, None if at is None else 1_000_000 * (5_000 + at)) for at in times_s]
    assert len(list(as_it_happened(timed, 10, clock=lambda: now[0], sleep=sleep))) == 5
    assert slept == [2.0, 4.0]  # 20 s / 10, then (60 - 20) s / 10


@pytest.mark.parametrize("text", ["fast", "0x", "0/s", "10", "-3x", ""])
def test_what_is_no_speed(text):
    with pytest.raises(typer.BadParameter, match="10x"):
        read_speed(text)
