"""The company's own app: nested JSON events, times in epoch milliseconds."""

from __future__ import annotations

from pipelines.channels.instants import instant_us, occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, role
from pipelines.channels.json_payload import (
    attributes,
    ident,
    media_list,
    nested,
    number,
    objects,
    one_of,
    parse_json,
    required_ident,
    text,
    whole,
)

_KINDS = {
    "message": "message",
    "consultation": "consultation",
    "feedback": "feedback",
    "review": "feedback",
    "complaint": "complaint",
    "revoke": "record",
    "notice": "record",
}
_NOTHING: dict = {}


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """An event of the app: event_id, event and ts are required; the user, content, rating and device are nested.

    >>> review = parse(b'{"event_id":"e1","event":"review","ts":1767916800000,"user":{"member_no":"M1"},'
    ...                b'"content":{"text":"ok"},"rating":{"score":5,"max":5}}', "shop", 1767916801000000)
    >>> review.kind, review.score, review.score_scale_max, review.member_number
    ('feedback', 5.0, 5.0, 'M1')
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    kind = one_of(fields, "event", _KINDS)
    user = nested(fields, "user")
    content = nested(fields, "content")
    rating = nested(fields, "rating") if "rating" in fields else _NOTHING
    service = nested(fields, "service") if "service" in fields else _NOTHING
    device = nested(fields, "device") if "device" in fields else _NOTHING
    sender = fields.get("sender")
    return Interaction(  # by position: by keyword costs 2 µs more a message
        required_ident(fields, "event_id"),
        whole(fields, "revision"),
        kind,
        "customer" if sender is None else role(sender, "sender"),
        ident(fields, "session_id"),
        occurred_at_us(fields.get("ts"), "ts", received_at_us),
        text(content, "text"),
        text(content, "title"),
        number(service, "response_time_s"),
        instant_us(service.get("asked_at"), "service.asked_at"),
        instant_us(service.get("replied_at"), "service.replied_at"),
        number(service, "handle_time_s"),
        number(rating, "score"),
        number(rating, "max"),
        "revoked" if fields["event"] == "revoke" else text(fields, "outcome"),
        ident(service, "agent_id"),
        ident(fields, "ticket_id"),
        ident(fields, "order_id"),
        ident(user, "phone"),
        ident(user, "national_id"),
        ident(user, "email"),
        ident(user, "unionid"),
        None,
        None,
        ident(user, "member_no"),
        ident(user, "id"),
        media_list(objects(content, "images"), "content.images") if "images" in content else None,
        attributes(
            {
                "os": text(device, "os"),
                "app_version": text(device, "app_version"),
                "page": text(fields, "page"),
                "topic": text(content, "topic"),
                "bot_handover": fields.get("bot_handover"),
            }
        ),
    )
