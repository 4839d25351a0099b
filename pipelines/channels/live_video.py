"""Live and short video: comments (弹幕), questions on the shelf, gifts and entries, one JSON object each."""

from __future__ import annotations

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, role
from pipelines.channels.json_payload import (
    contact,
    extras,
    ident,
    measured,
    one_of,
    parse_json,
    required_ident,
    text,
    whole,
)

_KINDS = {
    "comment": "message",
    "reply": "message",
    "question": "consultation",
    "review": "feedback",
    "gift": "record",
    "like": "record",
    "enter": "record",
    "revoke": "record",
}
_EXTRAS = ("type", "platform", "live_id", "room_id", "video_id", "offset_ms", "sku", "gift", "reply_to")


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A comment under a live or short video: comment_id, ts and user_id are required, ``type`` is comment by default.

    A live room is shared by all its viewers, so it is an attribute and not a session.

    >>> said = parse(b'{"comment_id":"b1","user_id":"u1","live_id":"L1","ts":1767916800000,"content":"hi"}', "x",
    ...              1767916801000000)
    >>> said.text, said.session_id, said.attributes
    ('hi', None, '{"live_id":"L1"}')
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    kind = one_of(fields, "type", _KINDS, default="message")
    sender = fields.get("sender")
    return Interaction(  # by position: by keyword costs 2 µs more a message
        required_ident(fields, "comment_id"),
        whole(fields, "revision"),
        kind,
        "customer" if sender is None else role(sender, "sender"),
        ident(fields, "session_id"),
        occurred_at_us(fields.get("ts"), "ts", received_at_us),
        text(fields, "content"),
        None,
        *measured(fields),
        "revoked" if fields.get("type") == "revoke" else None,
        ident(fields, "agent_id"),
        None,
        ident(fields, "order_id"),
        *contact(fields),
        ident(fields, "openid"),
        None,
        ident(fields, "member_number"),
        required_ident(fields, "user_id"),
        None,
        extras(fields, _EXTRAS),
    )
