"""Social posts with revisions, and live-video comments."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
HOUR_US = 3600 * 1_000_000
POST = {"post_id": "p1", "author": {"id": "wb1"}, "created_at": "2026-01-09 08:00:00", "text": "快递没动"}
EDITED = {"edited_at": "2026-01-09 09:00:00"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"kind": "consultation", "source_revision": 0, "occurred_at_us": EIGHT_US, "user_handle": "wb1"}),
        ({"type": "comment", "conversation_id": "t1"}, {"kind": "message", "session_id": "t1"}),
        ({"type": "complaint"}, {"kind": "complaint"}),
        ({"type": "review", "score": 2, "score_scale_max": 5}, {"kind": "feedback", "score": 2.0}),
        ({"author": {"id": "brand", "role": "agent"}, "type": "comment"}, {"sender_role": "agent"}),
        ({"action": "edit", **EDITED}, {"source_revision": 1, "occurred_at_us": EIGHT_US + HOUR_US, "outcome": None}),
        ({"action": "edit", "revision": 3, **EDITED}, {"source_revision": 3}),
        ({"action": "delete", **EDITED}, {"kind": "record", "outcome": "revoked", "source_revision": 1}),
        ({"action": "delete"}, {"occurred_at_us": EIGHT_US}),  # the platform does not say when: the post's own time
    ],
)
def test_post(parse, shows, change, expected):
    shows(parse("social", POST | change), source_message_id="p1", **expected)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"author": None}, "field.missing"),
        ({"author": "wb1"}, "field.wrong_type"),
        ({"action": "boost"}, "field.unknown_value"),
        ({"created_at": None}, "field.missing"),
        ({"action": "edit", "edited_at": 0}, "time.out_of_range"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("social", POST | change).rule == rule
