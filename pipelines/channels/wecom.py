"""WeCom (企业微信): customer-service items as sync_msg returns them, archived turns, decrypted callbacks, and contacts.

Forms as documented by the platform ("接收消息和事件", "会话内容存档", "客户联系事件", "获取客户详情",
"获取客户基础信息"). Messages carry no unionid; the answers about a contact do, and so tie it to WeChat. A callback
``kf_msg_or_event`` carries no words, it says that sync_msg has some; it is kept as a record.
"""

from __future__ import annotations

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.channels.json_payload import (
    attributes,
    ident,
    media_list,
    missing,
    nested,
    parse_json,
    required_ident,
    text,
    wrong_type,
)
from pipelines.channels.wechat import event_key
from pipelines.channels.xml_payload import first_byte, parse_xml

# origin of a sync_msg item
_ORIGINS = {3: "customer", 4: "system", 5: "agent"}
_MEDIA_TYPE = {"image": "image", "voice": "audio", "video": "video", "file": "application/octet-stream"}
# Where each type of item says something, inside the object of its own name.
_TEXT_FIELD = {
    "text": "content",
    "location": "name",
    "link": "title",
    "miniprogram": "title",
    "msgmenu": "head_content",
}
_EXTERNAL_PREFIXES = ("wm", "wo", "wb")
_OF_A_MESSAGE = frozenset({"msgid", "msgtype", "origin", "send_time"})


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """One item of sync_msg, of the chat archive or of the contacts (JSON), or one decrypted callback (XML).

    >>> turn = parse(b'{"msgid":"k1","open_kfid":"wk1","external_userid":"wm1","send_time":1767916800,"origin":3,'
    ...              b'"msgtype":"text","text":{"content":"hi"}}', "corp", 1767916801000000)
    >>> turn.sender_role, turn.external_userid, turn.text
    ('customer', 'wm1', 'hi')
    """
    if first_byte(payload) == b"<":
        return parse_xml(payload, _read_callback, account, received_at_us, source_ref)
    return parse_json(payload, _read_item, account, received_at_us, source_ref)


def _read_item(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    if "origin" not in fields and "msgtime" in fields:
        return _read_archived(fields, received_at_us)
    # A message that lost its msgid still has a type: it is a reject, no contact.
    if "external_contact" in fields or ("unionid" in fields and not _OF_A_MESSAGE & fields.keys()):
        return _read_contact(fields, received_at_us)
    spoke = _who_spoke(fields)
    message_type = required_ident(fields, "msgtype")
    body = nested(fields, message_type)
    if message_type == "event":
        return _item_event(fields, body, received_at_us)
    return Interaction(  # by position: by keyword costs 2 µs more a message
        required_ident(fields, "msgid"),
        0,
        "message",
        spoke,
        None,
        occurred_at_us(fields.get("send_time"), "send_time", received_at_us),
        text(body, _TEXT_FIELD.get(message_type, "content")),
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        ident(fields, "servicer_userid"),
        None,
        None,
        None,
        None,
        None,
        ident(fields, "unionid"),
        None,
        required_ident(fields, "external_userid"),
        None,
        None,
        _media(body, message_type) if message_type in _MEDIA_TYPE else None,
        attributes(
            {
                "open_kfid": ident(fields, "open_kfid"),
                "type": None if message_type == "text" else message_type,
                "menu_id": ident(body, "menu_id"),
            }
        ),
    )


def _who_spoke(fields: dict) -> str:
    origin = fields.get("origin")
    if origin is None:
        raise missing("origin")
    if type(origin) is not int:
        raise wrong_type("origin", "a whole number", origin)
    spoke = _ORIGINS.get(origin)
    if spoke is None:
        raise Unreadable("field.unknown_value", "field origin is none of 3 (customer), 4 (system), 5 (agent)")
    return spoke


def _media(body: dict, message_type: str) -> str | None:
    media_id = ident(body, "media_id") or ident(body, "sdkfileid")
    if media_id is None:
        return None
    size = body.get("filesize") or body.get("file_size")
    return media_list([{"uri": f"media_id:{media_id}", "type": _MEDIA_TYPE[message_type], "size": size}], "media")


def _item_event(fields: dict, body: dict, received_at_us: int) -> Interaction:
    event = required_ident(body, "event_type")
    return Interaction(
        source_message_id=required_ident(fields, "msgid"),
        source_revision=1 if event == "user_recall_msg" else 0,
        kind="record",
        sender_role="system",
        occurred_at_us=occurred_at_us(fields.get("send_time"), "send_time", received_at_us),
        outcome="revoked" if event == "user_recall_msg" else event,
        agent_id=ident(body, "new_servicer_userid") or ident(body, "servicer_userid"),
        external_userid=ident(body, "external_userid"),
        unionid=ident(fields, "unionid"),
        attributes=attributes(
            {
                "open_kfid": ident(body, "open_kfid"),
                "scene": ident(body, "scene"),
                "recalled_msgid": ident(body, "recall_msgid"),
                "failed_msgid": ident(body, "fail_msgid"),
                "change_type": ident(body, "change_type"),
            }
        ),
    )


def _read_contact(fields: dict, received_at_us: int) -> Interaction:
    """What externalcontact/get or kf/customer/batchget says of a contact; the same answer again is a duplicate.

    The answer has no time of its own: it holds when the puller asked (`fetched_at`), else when it was received.
    """
    contact = nested(fields, "external_contact") or fields
    external_userid, unionid = required_ident(contact, "external_userid"), ident(contact, "unionid")
    asked = fields.get("fetched_at")
    return Interaction(
        source_message_id=event_key(external_userid, 0, f"contact\n{unionid}"),
        kind="record",
        sender_role="customer",
        occurred_at_us=received_at_us if asked is None else occurred_at_us(asked, "fetched_at", received_at_us),
        outcome="contact",
        unionid=unionid,
        external_userid=external_userid,
    )


def _read_archived(fields: dict, received_at_us: int) -> Interaction:
    """A turn of the chat archive: senders with an external prefix (wm, wo) are customers, others employees."""
    sender = required_ident(fields, "from")
    external = sender.startswith(_EXTERNAL_PREFIXES)
    others = fields.get("tolist") or []
    if type(others) is not list or not all(type(other) is str for other in others):
        raise wrong_type("tolist", "a list of texts", others)
    customer = sender if external else next((o for o in others if o.startswith(_EXTERNAL_PREFIXES)), None)
    action = text(fields, "action") or "send"
    message_type = ident(fields, "msgtype") or "revoke"
    body = nested(fields, message_type)
    return Interaction(
        source_message_id=required_ident(fields, "msgid"),
        source_revision=1 if action == "recall" else 0,
        kind="record" if action != "send" else "message",
        sender_role="customer" if external else "agent",
        session_id=ident(fields, "roomid"),
        occurred_at_us=occurred_at_us(fields.get("msgtime"), "msgtime", received_at_us),
        text=text(body, _TEXT_FIELD.get(message_type, "content")),
        outcome="revoked" if action == "recall" else None,
        agent_id=None if external else sender,
        external_userid=customer,
        unionid=ident(fields, "unionid"),
        media=_media(body, message_type) if message_type in _MEDIA_TYPE else None,
        attributes=attributes({"type": message_type, "recalled_msgid": ident(body, "pre_msgid")}),
    )


def _read_callback(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    at_us = occurred_at_us(fields.get("CreateTime"), "CreateTime", received_at_us)
    message_type = required_ident(fields, "MsgType")
    external_userid = ident(fields, "ExternalUserID")
    if message_type != "event":  # an employee's message to a self-built application
        return Interaction(
            source_message_id=required_ident(fields, "MsgId"),
            sender_role="agent",
            occurred_at_us=at_us,
            text=text(fields, "Content"),
            agent_id=ident(fields, "FromUserName"),
            attributes=attributes({"type": message_type}),
        )
    event = required_ident(fields, "Event")
    change = ident(fields, "ChangeType")
    sender = external_userid or ident(fields, "OpenKfId") or ident(fields, "FromUserName") or ""
    return Interaction(
        source_message_id=event_key(f"{sender}\n{ident(fields, 'Token')}", at_us, f"{event}\n{change}"),
        kind="record",
        sender_role="system",
        occurred_at_us=at_us,
        outcome=change or event,
        agent_id=ident(fields, "UserID"),
        external_userid=external_userid,
        attributes=attributes(
            {"event": event, "open_kfid": ident(fields, "OpenKfId"), "state": ident(fields, "State")}
        ),
    )
