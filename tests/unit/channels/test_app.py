"""The company's own app."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
SECOND_US = 1_000_000


EVENT = {"event_id": "e1", "event": "message", "ts": 1767916800000, "user": {"id": "u1", "member_no": "M1"}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"kind": "message", "sender_role": "customer", "member_number": "M1", "user_handle": "u1", "text": None}),
        ({"content": {"text": "发票", "title": "问"}}, {"text": "发票", "subject": "问"}),
        (
            {"event": "review", "rating": {"score": 9, "max": 10}},
            {"kind": "feedback", "score": 9.0, "score_scale_max": 10.0},
        ),
        ({"event": "complaint"}, {"kind": "complaint"}),
        (
            {"sender": "agent", "service": {"agent_id": "a1", "response_time_s": 8}},
            {"sender_role": "agent", "agent_id": "a1"},
        ),
        (
            {"service": {"response_time_s": 8000, "asked_at": 1767916792000, "replied_at": 1767916800000}},
            {"response_time_s": 8000.0, "asked_at_us": EIGHT_US - 8 * SECOND_US, "replied_at_us": EIGHT_US},
        ),
        ({"device": {"os": "ios", "app_version": "8.1"}}, {"attributes": '{"os":"ios","app_version":"8.1"}'}),
        ({"event": "revoke", "revision": 1}, {"kind": "record", "outcome": "revoked", "source_revision": 1}),
    ],
)
def test_event(parse, shows, change, expected):
    shows(parse("app", EVENT | change), occurred_at_us=EIGHT_US, **expected)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"event": None}, "field.missing"),
        ({"event": ["message"]}, "field.wrong_type"),
        ({"user": [1]}, "field.wrong_type"),
        ({"content": "发票"}, "field.wrong_type"),
        ({"rating": {"score": True}}, "field.wrong_type"),  # a tick is no score
        ({"content": {"images": [3]}}, "field.wrong_type"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("app", EVENT | change).rule == rule
