"""Ticket events."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
EVENT = {"event_id": "INC1-3", "ticket_id": "INC1", "state": "Resolved", "occurred_at": "2026-01-09 08:00"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"outcome": "Resolved", "ticket_id": "INC1", "source_message_id": "INC1-3", "sender_role": "system"}),
        ({"actor": "agent", "assigned_to": "r4"}, {"sender_role": "agent", "agent_id": "r4"}),
        ({"caller": "Caller 12"}, {"user_handle": "Caller 12"}),
        ({"opened_at": "2026-01-09 07:00"}, {"attributes": '{"opened_at":"2026-01-08T23:00:00Z"}'}),
        ({"opened_at": "2026-01-09 07:00"}, {"asked_at_us": EIGHT_US - 3_600_000_000}),
        ({"reopen_count": 1, "made_sla": False}, {"attributes": '{"reopen_count":1,"made_sla":false}'}),
        (
            {"priority": "3 - Moderate", "group": "Group 56"},
            {"attributes": '{"priority":"3 - Moderate","group":"Group 56"}'},
        ),
        ({"closed_at": None, "due_at": ""}, {"attributes": None}),  # open tickets have no such times
    ],
)
def test_event(parse, shows, change, expected):
    shows(parse("ticket_system", EVENT | change), kind="ticket_event", occurred_at_us=EIGHT_US, **expected)


def test_event_without_an_id_is_known_by_file_and_line(parse):
    event = EVENT | {"event_id": None}
    assert parse("ticket_system", event, source_ref="log.csv:9").source_message_id == "log.csv:9"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"ticket_id": None}, "field.missing"),
        ({"state": ""}, "field.missing"),
        ({"state": 6}, "field.wrong_type"),
        ({"opened_at": "?"}, "time.unreadable"),
        ({"occurred_at": None}, "field.missing"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("ticket_system", EVENT | change).rule == rule
