"""Website chat: flat JSON, one turn, leave-a-message form or rating a message."""

from __future__ import annotations

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, role
from pipelines.channels.json_payload import (
    attributes,
    contact,
    extras,
    ident,
    measured,
    media_list,
    nested,
    objects,
    one_of,
    parse_json,
    required_ident,
    text,
    whole,
)

_KINDS = {
    "message": "message",
    "leave_message": "consultation",
    "rating": "feedback",
    "complaint": "complaint",
    "revoke": "record",
    "opened": "record",
    "transferred": "record",
    "closed": "record",
}
_EXTRAS = ("type", "page_url", "skill_group", "sku", "is_transfer", "is_repeat", "language")


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A chat turn: message_id, sender and sent_at are required; session_id and visitor_id place it.

    ``event`` is message (default), leave_message, rating, complaint, revoke, opened, transferred or closed.

    >>> turn = parse(b'{"message_id":"m1","sender":"visitor","sent_at":1767916800,"text":"hi"}', "", 1767916801000000)
    >>> turn.kind, turn.sender_role, turn.occurred_at_us, turn.text
    ('message', 'customer', 1767916800000000, 'hi')
    >>> parse(b'{"message_id":"m1","sender":"visitor"}', "www", 1767916801000000).rule
    'field.missing'
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    event = fields.get("event")
    kind = "message" if event is None else one_of(fields, "event", _KINDS)
    media = fields.get("media")
    extra = fields.get("extra")
    return Interaction(  # by position: by keyword costs 2 µs more a message
        required_ident(fields, "message_id"),
        whole(fields, "revision"),
        kind,
        role(fields.get("sender"), "sender"),
        ident(fields, "session_id"),
        occurred_at_us(fields.get("sent_at"), "sent_at", received_at_us),
        text(fields, "text"),
        text(fields, "subject"),
        *measured(fields),
        "revoked" if event == "revoke" else text(fields, "outcome"),
        ident(fields, "agent_id"),
        ident(fields, "ticket_id"),
        ident(fields, "order_id"),
        *contact(fields),
        None,
        None,
        ident(fields, "member_number"),
        ident(fields, "visitor_id"),
        None if media is None else media_list(objects(fields, "media"), "media"),
        extras(fields, _EXTRAS)
        if extra is None
        else attributes({n: fields.get(n) for n in _EXTRAS} | nested(fields, "extra")),
    )
