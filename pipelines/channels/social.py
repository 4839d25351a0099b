"""Social media: posts, comments and direct messages that concern us, with edits and deletions as revisions."""

from __future__ import annotations

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, role
from pipelines.channels.json_payload import (
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
    "post": "consultation",
    "mention": "consultation",
    "comment": "message",
    "direct_message": "message",
    "review": "feedback",
    "complaint": "complaint",
    "like": "record",
}
_ACTIONS = {"create": "create", "edit": "edit", "delete": "delete"}
_EXTRAS = (
    "platform",
    "type",
    "reply_to",
    "topics",
    "repost_count",
    "comment_count",
    "like_count",
    "followers",
    "region",
)


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A post in one revision: post_id, author.id and created_at (edited_at when edited) are required.

    ``action`` is create (default), edit or delete; a deletion is a record with the outcome ``revoked``, so that what
    was said before stays and its withdrawal is known. Without a revision number an edit is 1.

    >>> edit = parse(b'{"post_id":"p1","action":"edit","type":"post","author":{"id":"a1"},'
    ...              b'"text":"hi","created_at":"Fri Jan 09 08:00:00 +0800 2026",'
    ...              b'"edited_at":"Fri Jan 09 09:00:00 +0800 2026"}', "brand",
    ...              1767930000000000)
    >>> edit.source_revision, edit.occurred_at_us, edit.user_handle
    (1, 1767920400000000, 'a1')
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    action = one_of(fields, "action", _ACTIONS, default="create")
    kind = one_of(fields, "type", _KINDS, default="consultation")
    author = nested(fields, "author")
    spoke = author.get("role")
    when = "edited_at" if action != "create" and fields.get("edited_at") is not None else "created_at"
    return Interaction(  # by position: by keyword costs 2 µs more a message
        required_ident(fields, "post_id"),
        whole(fields, "revision", default=0 if action == "create" else 1),
        "record" if action == "delete" else kind,
        "customer" if spoke is None else role(spoke, "author.role"),
        ident(fields, "conversation_id"),
        occurred_at_us(fields.get(when), when, received_at_us),
        text(fields, "text"),
        text(fields, "title"),
        *measured(fields),
        "revoked" if action == "delete" else None,
        ident(fields, "agent_id"),
        ident(fields, "ticket_id"),
        ident(fields, "order_id"),
        *contact(author),
        None,
        None,
        ident(author, "member_number"),
        required_ident(author, "id"),
        media_list(objects(fields, "media"), "media") if "media" in fields else None,
        extras(fields, _EXTRAS),
    )
