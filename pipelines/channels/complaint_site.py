"""Third-party complaint sites (黑猫-style): a case as JSON, sent again with a higher revision when it moves."""

from __future__ import annotations

from pipelines.channels.instants import instant_us, occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, role
from pipelines.channels.json_payload import (
    attributes,
    contact,
    ident,
    media_list,
    nested,
    number,
    objects,
    parse_json,
    required_ident,
    text,
    whole,
    wrong_type,
)
from pipelines.channels.ticket_system import iso

_AGENT = "agent"


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A complaint case: case_no and created_at are required.

    The first reply by the company corroborates the response time; where the site reports none, it is the time between
    the two. Without a revision of its own the number of replies is one: each reply is a new state of the case.

    >>> case = parse(b'{"case_no":"C1","created_at":"2026-01-09 08:00","content":"no refund","status":"replied",'
    ...              b'"replies":[{"role":"merchant","at":"2026-01-09 09:00","content":"on its way"}]}', "x",
    ...              1767930000000000)
    >>> case.kind, case.source_revision, case.response_time_s, case.outcome
    ('complaint', 1, 3600.0, 'replied')
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    created_at_us = occurred_at_us(fields.get("created_at"), "created_at", received_at_us)
    replies = [_reply(reply) for reply in objects(fields, "replies")]
    replied_at_us = next((at_us for who, at_us, _ in replies if who == _AGENT and at_us is not None), None)
    response_time_s = number(fields, "response_time_s")
    if response_time_s is None and replied_at_us is not None:
        response_time_s = (replied_at_us - created_at_us) / 1_000_000
    complainant = nested(fields, "complainant")
    phone, national_id, email, unionid = contact(complainant or fields)
    return Interaction(
        source_message_id=required_ident(fields, "case_no"),
        source_revision=whole(fields, "revision", default=len(replies)),
        kind="complaint",
        sender_role="customer",
        session_id=ident(fields, "case_no"),
        occurred_at_us=created_at_us,
        text=text(fields, "content"),
        subject=text(fields, "title"),
        response_time_s=response_time_s,
        asked_at_us=created_at_us,
        replied_at_us=replied_at_us,
        score=number(fields, "score"),
        score_scale_max=number(fields, "score_scale_max"),
        outcome=text(fields, "status"),
        agent_id=ident(fields, "agent_id"),
        ticket_id=ident(fields, "ticket_id"),
        order_id=ident(fields, "order_id"),
        phone=phone,
        national_id=national_id,
        email=email,
        unionid=unionid,
        member_number=ident(complainant or fields, "member_number"),
        user_handle=ident(complainant, "user_id"),
        media=media_list(objects(fields, "evidence"), "evidence"),
        attributes=attributes(
            {
                "site": text(fields, "site"),
                "merchant": text(fields, "merchant"),
                "demands": _demands(fields),
                "amount_yuan": number(fields, "amount"),
                "category": text(fields, "category"),
                "replies": [{"role": who, "at": iso(at_us), "text": said} for who, at_us, said in replies] or None,
            }
        ),
    )


def _reply(reply: dict) -> tuple[str, int | None, str | None]:
    return role(reply.get("role"), "replies.role"), instant_us(reply.get("at"), "replies.at"), text(reply, "content")


def _demands(fields: dict) -> list[str] | None:
    """What the customer asks for (退款, 道歉 ...): a list, or one text."""
    demands = fields.get("demands")
    if demands is None or type(demands) is str:
        return [demands] if demands else None
    if type(demands) is not list or not all(type(demand) is str for demand in demands):
        raise wrong_type("demands", "a list of texts", demands)
    return demands
