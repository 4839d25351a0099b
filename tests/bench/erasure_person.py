"""A made-up person who has left traces in every store, and somebody else who only mentions them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser

PHONE, SPELT = "13812345670", "138-1234-5670"
NAME, ADDRESS = "王小明甲", "梧桐路五号院"
OPENID, EMAIL, VISITOR = "oWXPERSON00000000000000077", "xiaoming.wang@example.org", "v-xiaoming-77"
VALUES = [PHONE, SPELT, NAME, ADDRESS, OPENID, EMAIL, VISITOR]
OTHER_PHONE = "13987654321"


def tokens(key: MasterKey) -> list[str]:
    """Their identifiers, as the identity links would name them."""
    made = Tokeniser(key)
    return [
        made.token(PHONE, "phone"),
        made.token(OPENID, "openid"),
        made.token(EMAIL, "email"),
        made.token(f"web_chat\x1f{VISITOR}", "user_handle"),
    ]


def messages(now: datetime) -> list[tuple[str, bytes]]:
    """(topic, bytes) of the person: kept, rejected, repeated, doubtful, and answered by an agent."""
    at = (now - timedelta(minutes=30)).astimezone(UTC)
    ms, local = int(at.timestamp() * 1000), (at + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")
    said = f"我是{NAME}，住{ADDRESS}，电话{SPELT}，包裹还没有收到，怎么办"
    app = {"event_id": "xm-1", "event": "message", "session_id": "as-xm", "ts": ms, "sender": "customer",
           "user": {"id": "u-xm", "phone": PHONE}, "content": {"text": said}}  # fmt: skip
    review = {"event_id": "xm-2", "event": "review", "ts": ms, "user": {"id": "u-xm", "phone": PHONE},
              "content": {"text": f"{NAME}：物流很慢"}, "rating": {"score": 2, "max": 10}}  # fmt: skip
    sms = {"type": "uplink", "msg_id": "xm-3", "phone": PHONE, "content": said,
           "time": (at + timedelta(hours=8)).strftime("%Y%m%d%H%M%S")}  # fmt: skip
    case = {"site": "heimao", "case_no": "XM-4", "title": f"{NAME}投诉", "content": "你们看着办",
            "status": "已分配", "merchant": "示例商城", "created_at": local,
            "complainant": {"user_id": "xm-c", "phone": PHONE}}  # fmt: skip
    turn = {"message_id": "xm-5", "session_id": "s-xm", "visitor_id": VISITOR, "sender": "visitor", "sent_at": local,
            "text": said}  # fmt: skip
    reply = {"message_id": "xm-6", "session_id": "s-xm", "sender": "agent", "agent_id": "a-1", "sent_at": local,
             "text": f"{NAME}先生您好，{ADDRESS}的包裹今天送到"}  # fmt: skip
    broken = f'{{"message_id":"xm-7","sender":"visitor","text":"我是{NAME}，{PHONE}'.encode("gbk")
    wechat = (
        f"<xml><ToUserName>gh_1</ToUserName><FromUserName>{OPENID}</FromUserName><CreateTime>{ms // 1000}</CreateTime>"
        f"<MsgType>text</MsgType><Content>{said}</Content><MsgId>77001</MsgId></xml>"
    )
    body = base64.encodebytes(f"{said}。请尽快回复{NAME}".encode()).decode()
    mail = (
        f"From: <{EMAIL}>\nTo: help@example.com\nDate: {at:%a, %d %b %Y %H:%M:%S} +0000\n"
        "Message-ID: <xm-8@example.org>\nSubject: question\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n{body}"
    )
    told = [("raw.app", app), ("raw.app", app), ("raw.app", review), ("raw.sms", sms), ("raw.complaint_site", case),
            ("raw.web_chat", turn), ("raw.web_chat", reply)]  # fmt: skip
    encoded = [(topic, json.dumps(value, ensure_ascii=False).encode()) for topic, value in told]
    return [*encoded, ("raw.web_chat", broken), ("raw.wechat", wechat.encode()), ("raw.email", mail.encode())]


def mention(now: datetime) -> tuple[str, bytes]:
    """Somebody else's message with the person's number in it: it stays, with a token that opens nothing any more."""
    at = int((now - timedelta(minutes=20)).timestamp() * 1000)
    value = {"event_id": "other-1", "event": "message", "session_id": "as-o", "ts": at, "sender": "customer",
             "user": {"id": "u-other", "phone": OTHER_PHONE},
             "content": {"text": f"请打{PHONE}联系，什么时候能到"}}  # fmt: skip
    return "raw.app", json.dumps(value, ensure_ascii=False).encode()
