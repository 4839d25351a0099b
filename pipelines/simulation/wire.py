"""Contacts in the wire form of their channel: what the platform would have sent, as a document before serialisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from pipelines.simulation import wire_records
from pipelines.simulation.clock import iso, local
from pipelines.simulation.contact import Contact

# Field that carries the message's own ID, its time and its words: what dirt breaks.
ID_FIELD = {
    "web_chat": "message_id",
    "app": "event_id",
    "mini_program": "MsgId",
    "wechat": "MsgId",
    "wecom": "msgid",
    "phone": "call_id",
    "social": "post_id",
    "live_video": "comment_id",
    "sms": "msg_id",
    "complaint_site": "case_no",
    "ticket_system": "ticket_id",
}
TIME_FIELD = {
    "web_chat": "sent_at",
    "app": "ts",
    "mini_program": "CreateTime",
    "wechat": "CreateTime",
    "wecom": "send_time",
    "phone": "started_at",
    "social": "created_at",
    "live_video": "ts",
    "sms": "time",
    "store": "到店时间",
    "service_center": "受理时间",
    "complaint_site": "created_at",
    "ticket_system": "occurred_at",
    "crm": "updated_at",
    "orders": "ordered_at",
    "email": "Date",
}
TEXT_FIELD = {
    "web_chat": "text",
    "app": "content",
    "mini_program": "Content",
    "wecom": "text",
    "phone": "transcript",
    "social": "text",
    "live_video": "content",
    "sms": "content",
    "store": "咨询内容",
    "service_center": "故障描述",
    "complaint_site": "content",
    "ticket_system": "description",
}


def _measured(contact: Contact) -> dict:
    times = {"asked_at": contact.asked_us, "replied_at": contact.replied_us}
    return {"response_time_s": contact.response_s} | {n: iso(at) for n, at in times.items() if at is not None}


def _web_chat(contact: Contact, message_id: str) -> dict:
    person = contact.person
    doc: dict[str, Any] = {
        "message_id": message_id,
        "session_id": contact.session,
        "visitor_id": person.visitor_id,
        "sender": "visitor" if contact.role == "customer" else contact.role,
        "sent_at": iso(contact.at_us),
        "text": contact.text,
        "page_url": "https://www.example.com/help/order",
        "agent_id": contact.agent,
        "order_id": contact.order,
    }
    if person.number % 5 < 3:  # signed in
        doc["member_number"] = person.member_number
    if contact.kind != "message":
        doc["event"] = "rating" if contact.kind == "feedback" else contact.kind
    if contact.response_s is not None:
        doc |= _measured(contact)
    if contact.score is not None:
        doc |= {"score": contact.score, "score_scale_max": contact.scale}
    return doc


def _app(contact: Contact, message_id: str) -> dict:
    person = contact.person
    doc: dict[str, Any] = {
        "event_id": message_id,
        "event": "review" if contact.kind == "feedback" else contact.kind,
        "session_id": contact.session,
        "ts": contact.at_us // 1000,
        "sender": contact.role,
        "user": {"id": person.app_user_id, "member_no": person.member_number},
        "device": {"os": "android" if person.number % 3 else "ios", "app_version": "8.1.0"},
        "content": {"text": contact.text},
        "order_id": contact.order,
    }
    if person.number % 2:
        doc["user"]["unionid"] = person.unionid
    if contact.response_s is not None:
        service: dict[str, Any] = {"agent_id": contact.agent, "response_time_s": contact.response_s}
        if contact.asked_us is not None:
            service |= {"asked_at": contact.asked_us // 1000, "replied_at": contact.replied_us // 1000}
        doc["service"] = service
    if contact.score is not None:
        doc["rating"] = {"score": contact.score, "max": contact.scale}
    return doc


def _pushed(contact: Contact, message_id: str) -> dict:
    """WeChat and mini program: customers by push, agents by message record."""
    mini = contact.channel == "mini_program"
    openid = contact.person.mini_openid if mini else contact.person.openid
    if contact.role != "customer":
        return {
            "openid": openid,
            "opercode": 2002,
            "text": contact.text,
            "time": contact.at_us // 1_000_000,
            "worker": f"{contact.agent or 'bot'}@example",
            "msgid": message_id,
        }
    return {
        "ToUserName": "gh_sim000001" if mini else "gh_sim000002",
        "FromUserName": openid,
        "CreateTime": contact.at_us // 1_000_000,
        "MsgType": "text",
        "Content": contact.text,
        "MsgId": message_id,
        "UnionId": contact.person.unionid if contact.person.number % 4 else None,
    }


def _wecom(contact: Contact, message_id: str) -> dict:
    origin = {"customer": 3, "agent": 5}.get(contact.role, 4)
    doc = {
        "msgid": message_id,
        "open_kfid": "wkSYNTHETIC01",
        "external_userid": contact.person.external_userid,
        "send_time": contact.at_us // 1_000_000,
        "origin": origin,
        "servicer_userid": contact.agent,
        "msgtype": "text",
        "text": {"content": contact.text},
    }
    if contact.person.number % 3:
        doc["unionid"] = contact.person.unionid
    return doc


def _social(contact: Contact, message_id: str) -> dict:
    action = contact.extra.get("action", "create")
    doc: dict[str, Any] = {
        "platform": "weibo",
        "type": "complaint" if contact.kind == "complaint" else "post",
        "post_id": contact.session,
        "author": {"id": contact.person.social_id},
        "created_at": local(contact.at_us, "%a %b %d %H:%M:%S +0800 %Y"),
        "text": contact.text,
        "order_id": contact.order,
    }
    if action != "create":
        doc |= {"action": action, "revision": 1}
    return doc


def _live_video(contact: Contact, message_id: str) -> dict:
    return {
        "platform": "douyin",
        "live_id": contact.session,
        "comment_id": message_id,
        "user_id": contact.person.live_id,
        "ts": contact.at_us // 1000,
        "content": contact.text,
    }


def _sms(contact: Contact, message_id: str) -> dict:
    kind = {"record": "report", "feedback": "uplink"}.get(
        contact.kind, "uplink" if contact.role == "customer" else "sent"
    )
    doc: dict[str, Any] = {
        "type": kind,
        "msg_id": message_id,
        "phone": contact.person.phone,
        "time": local(contact.at_us, "%Y%m%d%H%M%S"),
        "content": contact.text,
        "order_id": contact.order,
    }
    if kind == "report":
        doc |= {"status": "DELIVRD", "err_code": "000"}
    if contact.kind == "feedback":
        answered = contact.text if contact.score is None else f"{contact.score:.0f}"
        doc |= {"survey_id": contact.session, "score_scale_max": contact.scale, "content": answered}
    return doc


DOCUMENT: dict[str, Callable[[Contact, str], dict]] = {
    "web_chat": _web_chat,
    "app": _app,
    "mini_program": _pushed,
    "wechat": _pushed,
    "wecom": _wecom,
    "phone": wire_records.phone,
    "email": wire_records.email,
    "social": _social,
    "live_video": _live_video,
    "sms": _sms,
    "store": wire_records.store,
    "service_center": wire_records.service_center,
    "complaint_site": wire_records.complaint_site,
    "ticket_system": wire_records.ticket_system,
}


def serialise(channel: str, doc: dict) -> bytes:
    """The document as the bytes of its channel: XML for pushes of the official account, a mail, else JSON."""
    if channel == "email":
        return _mail_bytes(doc)
    if channel == "wechat" and "FromUserName" in doc:
        return _xml_bytes(doc)
    return orjson.dumps({name: value for name, value in doc.items() if value is not None})


def _xml_bytes(doc: dict) -> bytes:
    fields = "".join(
        f"<{name}>{value}</{name}>" if type(value) is int else f"<{name}><![CDATA[{value}]]></{name}>"
        for name, value in doc.items()
        if value is not None
    )
    return f"<xml>{fields}</xml>".encode()


def _mail_bytes(doc: dict) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in doc.items() if name and value is not None)
    charset = "gb18030" if "gb2312" in doc["Content-Type"] else "utf-8"
    return head.encode() + b"\r\n" + doc[""].encode(charset) + b"\r\n"
