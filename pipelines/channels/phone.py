"""Phone: call-detail records with the transcript as delivered; the recording by address, type, size and hash."""

from __future__ import annotations

from pipelines.channels.instants import instant_us, occurred_at_us
from pipelines.channels.interaction import Interaction, Reject
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

_DIRECTIONS = {"inbound": "inbound", "in": "inbound", "outbound": "outbound", "out": "outbound"}
_SPEAKERS = {"customer": "客户", "agent": "坐席", "bot": "机器人", "system": "系统"}


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A finished call: call_id, direction and started_at are required.

    A call with a transcript is a consultation (inbound) or a message of the agent (outbound). A call without one,
    because it was given up in the queue or not recorded, is a record: it says that somebody called, not what for, and
    must not be taken for a blank consultation. The customer's number is the caller's, outbound the callee's. The wait
    in the queue is the response time, corroborated by ``queued_at`` and ``answered_at``. A ``survey`` object after
    the call is a message of its own (``"event": "survey"``), feedback on the call.

    >>> call = parse(b'{"call_id":"c1","direction":"inbound","caller":"13800000001","callee":"4000000000",'
    ...              b'"started_at":1767916800,"answered_at":1767916812,"queue_wait_s":12,"talk_s":60,"wrap_s":30,'
    ...              b'"disposition":"answered","transcript":"hello"}', "400", 1767917000000000)
    >>> call.kind, call.phone, call.response_time_s, call.handle_time_s
    ('consultation', '13800000001', 12.0, 90.0)
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    call_id = required_ident(fields, "call_id")
    if fields.get("event") == "survey":
        return _survey(fields, call_id, received_at_us)
    inbound = one_of(fields, "direction", _DIRECTIONS) == "inbound"
    started_at_us = occurred_at_us(fields.get("started_at"), "started_at", received_at_us)
    said = _transcript(fields)
    recording = nested(fields, "recording")
    queued_at_us = instant_us(fields.get("queued_at"), "queued_at")
    return Interaction(
        source_message_id=call_id,
        source_revision=whole(fields, "revision"),
        kind="record" if said is None else "consultation" if inbound else "message",
        sender_role="customer" if inbound else "agent",
        session_id=call_id,
        occurred_at_us=started_at_us,
        text=said,
        response_time_s=number(fields, "queue_wait_s"),
        asked_at_us=started_at_us if queued_at_us is None else queued_at_us,
        replied_at_us=instant_us(fields.get("answered_at"), "answered_at"),
        handle_time_s=_handle_time_s(fields),
        outcome=text(fields, "disposition"),
        agent_id=ident(fields, "agent_id"),
        ticket_id=ident(fields, "ticket_id"),
        order_id=ident(fields, "order_id"),
        phone=ident(fields, "caller" if inbound else "callee"),
        national_id=ident(fields, "national_id"),
        member_number=ident(fields, "member_number"),
        media=media_list([recording], "recording") if recording else None,
        attributes=attributes(
            {
                "direction": "inbound" if inbound else "outbound",
                "queue": ident(fields, "queue"),
                "skill_group": ident(fields, "skill_group"),
                "ivr_path": text(fields, "ivr_path"),
                "talk_s": number(fields, "talk_s"),
                "hold_s": number(fields, "hold_s"),
                "wrap_s": number(fields, "wrap_s"),
                "transfers": number(fields, "transfers"),
            }
        ),
    )


def _handle_time_s(fields: dict) -> float | None:
    """Talk + hold + wrap-up; None where the switch reports none of them."""
    parts = [s for s in (number(fields, "talk_s"), number(fields, "hold_s"), number(fields, "wrap_s")) if s is not None]
    return sum(parts) if parts else None


def _transcript(fields: dict) -> str | None:
    """The transcript as one text: delivered as text, or as turns of {speaker, text}."""
    if type(fields.get("transcript")) is not list:
        return text(fields, "transcript")
    turns = objects(fields, "transcript")
    return "\n".join(f"{one_of(turn, 'speaker', _SPEAKERS)}：{text(turn, 'text') or ''}" for turn in turns)


def _survey(fields: dict, call_id: str, received_at_us: int) -> Interaction:
    """The caller's score after the call, keyed in or spoken."""
    return Interaction(
        source_message_id=f"survey:{call_id}",
        kind="feedback",
        sender_role="customer",
        session_id=call_id,
        occurred_at_us=occurred_at_us(fields.get("answered_at"), "answered_at", received_at_us),
        text=text(fields, "comment"),
        score=number(fields, "score"),
        score_scale_max=number(fields, "score_scale_max"),
        agent_id=ident(fields, "agent_id"),
        phone=ident(fields, "caller"),
    )
