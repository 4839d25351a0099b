"""A well-formed message of every channel, to be sent between hostile ones and to be broken in one place."""

from __future__ import annotations

from pipelines import contracts
from pipelines.simulation.wire import serialise

CHANNELS = tuple(sorted(name.removeprefix("raw.") for name in contracts.topics() if name.startswith("raw.")))
# By platform push or e-mail; every other channel speaks JSON only.
XML_CHANNELS = ("wechat", "wecom")
JSON_CHANNELS = tuple(channel for channel in CHANNELS if channel not in ("wechat", "email"))


def document(channel: str, number: int, at_s: int, text: str) -> dict:
    """The message `number` as its platform writes it, before serialisation; IDs differ by number.

    >>> document("web_chat", 7, 1767916800, "hi")["message_id"]
    'honest-7'
    """
    ident, at_ms = f"honest-{number}", at_s * 1000
    push = {"ToUserName": "gh_1", "FromUserName": f"o{number}", "CreateTime": at_s, "MsgType": "text", "Content": text}
    forms: dict[str, dict] = {
        "app": {"event_id": ident, "event": "message", "ts": at_ms, "sender": "customer", "user": {"id": ident},
                "content": {"text": text}},
        "complaint_site": {"case_no": ident, "created_at": at_s, "content": text, "complainant": {"user_id": ident}},
        "crm": {"customer_no": ident, "updated_at": at_s, "region": text, "consent": {"marketing": True}},
        "email": {"From": f"{ident}@example.org", "To": "help@example.com", "Date": mail_date(at_s),
                  "Message-ID": f"<{ident}@example.org>", "Subject": "question",
                  "Content-Type": "text/plain; charset=utf-8", "": text},
        "live_video": {"comment_id": ident, "user_id": ident, "live_id": "L1", "ts": at_ms, "content": text},
        "mini_program": push | {"MsgId": ident},
        "orders": {"order_id": ident, "status": "paid", "ordered_at": at_s, "paid_at": at_s, "amount_minor": 1290,
                   "currency": "CNY", "shop": text},
        "phone": {"call_id": ident, "direction": "inbound", "caller": f"139{number % 10**8:08d}",
                  "callee": "4000000000", "started_at": at_s, "talk_s": 60, "transcript": text},
        "service_center": {"service_no": ident, "accepted_at": at_s, "record_type": "record", "result": text},
        "sms": {"type": "uplink", "msg_id": ident, "phone": f"138{number % 10**8:08d}", "time": at_s, "content": text},
        "social": {"platform": "weibo", "type": "post", "post_id": ident, "author": {"id": ident},
                   "created_at": at_s, "text": text},
        "store": {"record_no": ident, "store_id": "S1", "visited_at": at_s, "record_type": "咨询", "content": text},
        "ticket_system": {"event_id": ident, "ticket_id": ident, "event": "created", "state": "New",
                          "occurred_at": at_s, "description": text},
        "web_chat": {"message_id": ident, "session_id": "s1", "visitor_id": "v1", "sender": "visitor",
                     "sent_at": at_s, "text": text},
        "wechat": push | {"MsgId": ident},
        "wecom": {"msgid": ident, "open_kfid": "wk1", "external_userid": f"wm{number}", "send_time": at_s,
                  "origin": 3, "msgtype": "text", "text": {"content": text}},
    }  # fmt: skip
    return forms[channel]


def honest(channel: str, number: int, at_s: int) -> bytes:
    """The bytes of a well-formed message that must be kept: no rule has anything to say about it."""
    return serialise(channel, document(channel, number, at_s, f"第{number}个问题：订单什么时候发货，还没有收到"))


def mail_date(at_s: int) -> str:
    """RFC 5322 date of an instant."""
    from email.utils import formatdate

    return formatdate(at_s)
