"""Live-video comments."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
COMMENT = {"comment_id": "b1", "user_id": "dy1", "live_id": "L1", "ts": 1767916800000, "content": "有券吗"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"kind": "message", "text": "有券吗", "session_id": None, "attributes": '{"live_id":"L1"}'}),
        ({"type": "question"}, {"kind": "consultation"}),
        ({"type": "gift", "gift": "heart"}, {"kind": "record"}),
        ({"type": "reply", "sender": "staff", "agent_id": "host1"}, {"sender_role": "agent", "agent_id": "host1"}),
        ({"type": "revoke", "revision": 1}, {"kind": "record", "outcome": "revoked", "source_revision": 1}),
        ({"type": "review", "score": 5, "score_scale_max": 5}, {"kind": "feedback", "score": 5.0}),
    ],
)
def test_comment(parse, shows, change, expected):
    shows(parse("live_video", COMMENT | change), occurred_at_us=EIGHT_US, user_handle="dy1", **expected)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"user_id": ""}, "field.missing"),
        ({"content": 666}, "field.wrong_type"),  # 666 as a number: the platform sends text
        ({"type": "dance"}, "field.unknown_value"),
        ({"ts": "soon"}, "time.unreadable"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("live_video", COMMENT | change).rule == rule
