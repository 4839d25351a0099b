"""WeChat official account: pushed XML (messages and events), and the JSON of the customer-service message record.

Forms as documented by the platform ("接收普通消息", "接收事件推送", "获取聊天记录"). The platform repeats a push up to
three times; messages are told apart by MsgId, events, which have none, by FromUserName, CreateTime and Event.
"""

from __future__ import annotations

from hashlib import blake2b

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.channels.json_payload import (
    attributes,
    ident,
    media_list,
    missing,
    parse_json,
    required_ident,
    text,
    wrong_type,
)
from pipelines.channels.xml_payload import first_byte, parse_xml

# Where each message type says something; types not listed are kept without text.
_TEXT_FIELD = {"text": "Content", "voice": "Recognition", "location": "Label", "miniprogrampage": "Title"}
_MEDIA_TYPE = {"image": "image", "voice": "audio", "video": "video", "shortvideo": "video"}
# opercode of the message record: who spoke. 2002 the agent, 2001 and 2003 the customer, the rest session events.
_OPERCODES = {2001: "customer", 2002: "agent", 2003: "customer"}
_SESSION_OPERCODES = {
    1000: "waiting",
    1001: "accepted",
    1002: "opened",
    1003: "transferred",
    1004: "closed",
    1005: "taken",
}


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A pushed message or event (XML), or one entry of the message record (JSON: openid, opercode, text, time, worker).

    >>> push = (b"<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1767916800</CreateTime>"
    ...         b"<MsgType>text</MsgType><Content>hi</Content><MsgId>7</MsgId></xml>")
    >>> turn = parse(push, "gh_1", 1767916801000000)
    >>> turn.source_message_id, turn.openid, turn.text
    ('7', 'o1', 'hi')
    """
    if first_byte(payload) == b"{":
        return parse_json(payload, read_record_or_push, account, received_at_us, source_ref)
    return parse_xml(payload, read_push, account, received_at_us, source_ref)


def read_push(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    """A push as the platform defines it; the mini program sends the same fields as JSON."""
    openid = required_ident(fields, "FromUserName")
    at_us = occurred_at_us(fields.get("CreateTime"), "CreateTime", received_at_us)
    message_type = required_ident(fields, "MsgType")
    if message_type == "event":
        return _event(fields, openid, at_us)
    message_id = ident(fields, "MsgId") or ident(fields, "MsgID")  # the documents spell it both ways
    if message_id is None:
        raise missing("MsgId")
    said = text(fields, _TEXT_FIELD.get(message_type, "Content"))
    subject = None
    if message_type == "link":
        said, subject = text(fields, "Description"), text(fields, "Title")
    return Interaction(  # by position: by keyword costs 2 µs more a message
        message_id,
        0,
        "message",
        "customer",
        None,
        at_us,
        said,
        subject,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        ident(fields, "UnionId"),
        openid,
        None,
        None,
        None,
        _media(fields, message_type) if message_type in _MEDIA_TYPE else None,
        None if message_type == "text" else _attributes(fields, message_type),
    )


def _attributes(fields: dict, message_type: str) -> str | None:
    return attributes(
        {
            "type": message_type,
            "url": text(fields, "Url"),
            "format": text(fields, "Format"),
            "page_path": text(fields, "PagePath"),
        }
    )


def _media(fields: dict, message_type: str) -> str | None:
    uri = text(fields, "PicUrl")
    media_id = ident(fields, "MediaId")
    if not uri and media_id is None:
        return None
    return media_list([{"uri": uri or f"media_id:{media_id}", "type": _MEDIA_TYPE[message_type]}], "media")


def _event(fields: dict, openid: str, at_us: int) -> Interaction:
    event = required_ident(fields, "Event")
    return Interaction(
        source_message_id=ident(fields, "MsgId") or event_key(openid, at_us, event),
        kind="record",
        sender_role="customer",
        occurred_at_us=at_us,
        outcome=event,
        openid=openid,
        unionid=ident(fields, "UnionId"),
        attributes=attributes(
            {"event_key": ident(fields, "EventKey"), "session_from": text(fields, "SessionFrom"), "type": "event"}
        ),
    )


def event_key(sender: str, at_us: int, event: str) -> str:
    """ID of a push without MsgId; hashed, because the sender is a personal identifier and message IDs stay readable.

    >>> event_key("o1", 1767916800000000, "subscribe") == event_key("o1", 1767916800000000, "subscribe")
    True
    """
    return "event-" + blake2b(f"{sender}\n{at_us}\n{event}".encode(), digest_size=12).hexdigest()


def read_record_or_push(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    """An entry of the message record, known by its opercode, else a push written as JSON."""
    opercode = fields.get("opercode")
    if opercode is None:
        return read_push(fields, account, received_at_us, source_ref)
    if type(opercode) is not int:
        raise wrong_type("opercode", "a whole number", opercode)
    state = _SESSION_OPERCODES.get(opercode)
    spoke = "system" if state else _OPERCODES.get(opercode)
    if spoke is None:
        raise Unreadable("field.unknown_value", "field opercode is none the platform documents")
    return Interaction(
        source_message_id=ident(fields, "msgid"),
        kind="record" if state else "message",
        sender_role=spoke,
        occurred_at_us=occurred_at_us(fields.get("time"), "time", received_at_us),
        text=text(fields, "text"),
        outcome=state,
        agent_id=ident(fields, "worker"),
        openid=required_ident(fields, "openid"),
        unionid=ident(fields, "unionid"),
    )
