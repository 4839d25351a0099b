"""SMS gateway: delivery reports, uplinks (what customers send back) and sent messages.

JSON, or the text of a delivery receipt as SMPP 3.4, appendix B defines it:
``id:… sub:001 dlvrd:001 submit date:2601090800 done date:2601090801 stat:DELIVRD err:000 text:…``.
"""

from __future__ import annotations

import re

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.channels.json_payload import (
    attributes,
    ident,
    number,
    one_of,
    parse_json,
    required_ident,
    text,
)

_TYPES = {"report": "report", "uplink": "uplink", "mo": "uplink", "sent": "sent", "mt": "sent"}
_RECEIPT = re.compile(
    r"\s*id:(\S{1,64})\s+sub:(\d{1,3})\s+dlvrd:(\d{1,3})\s+submit date:(\d{10,12})\s+done date:(\d{10,12})"
    r"\s+stat:(\w{1,16})\s+err:(\w{1,16})(?:\s+text:(.{0,200}))?\s*",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
# A survey by SMS is answered with the bare digit; people add a word, a dot or a full-width form.
_SURVEY_ANSWER = re.compile(r"\s*(\d{1,3})\s*分?\s*[.。!！]?\s*")


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A report, uplink or sent message (JSON: type, msg_id, phone, time), or an SMPP delivery receipt.

    An uplink that answers a survey (``survey_id``) with a bare number is feedback on the scale ``score_scale_max``.

    >>> answer = parse(b'{"type":"uplink","msg_id":"u1","phone":"13800000001","time":"20260109080000","content":"5",'
    ...                b'"survey_id":"S1","score_scale_max":5}', "106", 1767916801000000)
    >>> answer.kind, answer.score, answer.score_scale_max
    ('feedback', 5.0, 5.0)
    """
    if payload[:3].lower() == b"id:":
        return _parse_receipt(payload, received_at_us)
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    report = one_of(fields, "type", _TYPES)
    said = text(fields, "content")
    survey_id = ident(fields, "survey_id")
    kind, spoke, score = "message", "customer", None
    if report == "report":
        kind, spoke = "record", "system"
    elif report == "sent":
        spoke = "system" if fields.get("agent_id") is None else "agent"
    elif survey_id is not None and said is not None and (answer := _SURVEY_ANSWER.fullmatch(said)):
        kind, score, said = "feedback", float(answer[1]), None  # the digit is the score, not a text of one letter
    return Interaction(
        source_message_id=_message_id(required_ident(fields, "msg_id"), report),
        kind=kind,
        sender_role=spoke,
        session_id=survey_id,
        occurred_at_us=occurred_at_us(fields.get("time"), "time", received_at_us),
        text=said,
        score=score,
        score_scale_max=None if score is None else number(fields, "score_scale_max"),
        outcome=text(fields, "status"),
        agent_id=ident(fields, "agent_id"),
        order_id=ident(fields, "order_id"),
        phone=required_ident(fields, "phone"),
        attributes=attributes(
            {
                "type": report,
                "error_code": ident(fields, "err_code"),
                "sign_name": text(fields, "sign_name"),
                "template_id": ident(fields, "template_id"),
                "segments": number(fields, "segments"),
            }
        ),
    )


def _message_id(message_id: str, report: str) -> str:
    """A report carries the ID of the message it reports on: the type keeps the two apart."""
    return f"{report}:{message_id}"


def _parse_receipt(payload: bytes, received_at_us: int) -> Interaction | Reject:
    try:
        written = payload.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        return Reject("payload.bad_encoding", f"the receipt is not UTF-8 from byte {undecodable.start} on")
    found = _RECEIPT.fullmatch(written)
    if found is None:
        return Reject("payload.not_receipt", "the text starts as an SMPP delivery receipt and does not go on as one")
    message_id, sub, delivered, _, done, state, error, _ = found.groups()
    try:  # yyMMddhhmm or yyMMddhhmmss, in the gateway's zone
        at_us = occurred_at_us("20" + done, "done date", received_at_us)
    except Unreadable as unreadable:
        return unreadable.reject
    return Interaction(
        source_message_id=_message_id(message_id, "report"),
        kind="record",
        sender_role="system",
        occurred_at_us=at_us,
        outcome=state,
        attributes=attributes(
            {"type": "report", "error_code": error, "submitted": int(sub), "delivered": int(delivered)}
        ),
    )
