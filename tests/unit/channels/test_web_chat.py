"""Website chat."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
SECOND_US = 1_000_000


TURN = {
    "message_id": "m1",
    "session_id": "s1",
    "visitor_id": "v1",
    "sender": "visitor",
    "sent_at": "2026-01-09 08:00:00",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"text": "在吗"}, {"kind": "message", "sender_role": "customer", "text": "在吗", "user_handle": "v1"}),
        ({"text": None}, {"text": None, "kind": "message"}),  # whether it says anything is the cleaning rules' business
        ({"text": "  \u200b"}, {"text": "  \u200b"}),  # as written, not tidied
        ({"message_id": 42}, {"source_message_id": "42"}),  # numbers are IDs too
        ({"message_id": " m1 "}, {"source_message_id": "m1"}),  # a retry must not differ by a blank
        ({"sender": "客服", "agent_id": "a1"}, {"sender_role": "agent", "agent_id": "a1"}),
        ({"sender": "Robot"}, {"sender_role": "bot"}),
        ({"revision": 2}, {"source_revision": 2}),
        (
            {"event": "rating", "score": 4, "score_scale_max": 5},
            {"kind": "feedback", "score": 4.0, "score_scale_max": 5.0},
        ),
        ({"event": "leave_message", "text": "?"}, {"kind": "consultation"}),
        ({"event": "revoke", "revision": 1}, {"kind": "record", "outcome": "revoked"}),
        (
            {"response_time_s": 12.5, "asked_at": "2026-01-09 08:00:00", "replied_at": "2026-01-09 08:00:12.500"},
            {"response_time_s": 12.5, "asked_at_us": EIGHT_US, "replied_at_us": EIGHT_US + 12 * SECOND_US + 500_000},
        ),
        ({"response_time_s": -3}, {"response_time_s": -3.0}),  # impossible, and a matter of the outlier rules
        ({"phone": 13800000001, "unionid": "u"}, {"phone": "13800000001", "unionid": "u"}),  # a number from a form
        ({"phone": ""}, {"phone": None}),
        ({"is_transfer": True, "extra": {"shop": 3}}, {"attributes": '{"is_transfer":true,"shop":3}'}),
        (
            {"media": [{"url": "https://x.example.com/1", "type": "image/png", "size": 9, "sha256": "00"}]},
            {"media": '[{"uri":"https://x.example.com/1","type":"image/png","size":9,"sha256":"00"}]'},
        ),
    ],
)
def test_turn(parse, shows, change, expected):
    shows(parse("web_chat", TURN | change), occurred_at_us=EIGHT_US, **expected)


@pytest.mark.parametrize(
    ("change", "rule", "field"),
    [
        ({"message_id": None}, "field.missing", "message_id"),
        ({"message_id": "  "}, "field.missing", "message_id"),
        ({"message_id": True}, "field.wrong_type", "message_id"),
        ({"message_id": 1.5}, "field.wrong_type", "message_id"),  # also what a 70-bit number becomes: digits are lost
        ({"sender": None}, "field.missing", "sender"),
        ({"sender": "ghost"}, "field.unknown_value", "sender"),
        ({"sent_at": None}, "field.missing", "sent_at"),
        ({"sent_at": 4070908800}, "time.out_of_range", "sent_at"),
        ({"text": 5}, "field.wrong_type", "text"),
        ({"score": "5"}, "field.wrong_type", "score"),
        ({"revision": -1}, "field.wrong_type", "revision"),
        ({"event": "dance"}, "field.unknown_value", "event"),
        ({"media": {"uri": "x"}}, "field.wrong_type", "media"),
        ({"media": [{"type": "image/png"}]}, "field.missing", "media.uri"),
    ],
)
def test_reject_names_the_field(parse, change, rule, field):
    read = parse("web_chat", TURN | change)
    assert read.rule == rule
    assert field in read.reason


def test_reason_carries_no_value(parse):
    read = parse("web_chat", TURN | {"sender": "13800000001", "phone": "13800000001"})
    assert "13800000001" not in read.reason


def test_byte_order_mark_is_skipped(parse):
    assert parse("web_chat", b'\xef\xbb\xbf{"message_id":"m","sender":"bot","sent_at":1767916800}').sender_role == "bot"
    assert parse("web_chat", b"\xef\xbb\xbf\xef\xbb\xbf").rule == "payload.not_json"
