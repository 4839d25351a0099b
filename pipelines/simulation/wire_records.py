"""Wire forms that are records, not chat turns: calls, mail, stores, service centres, complaint sites, tickets."""

from __future__ import annotations

import base64
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from pipelines.simulation.clock import SHANGHAI, iso, local
from pipelines.simulation.contact import Contact

MAILBOX = "help@example.com"
_SUBJECT = "=?utf-8?B?" + base64.b64encode("咨询".encode()).decode() + "?="


def phone(contact: Contact, message_id: str) -> dict:
    if contact.kind == "feedback":
        return {
            "event": "survey",
            "call_id": contact.session,
            "caller": contact.person.phone,
            "answered_at": iso(contact.at_us),
            "score": contact.score,
            "score_scale_max": contact.scale,
            "agent_id": contact.agent,
        }
    doc = {
        "call_id": contact.session,
        "direction": "inbound",
        "caller": contact.person.phone,
        "callee": "4000000000",
        "started_at": local(contact.at_us),
        "queue_wait_s": contact.response_s,
        "queue": "after_sales",
        "disposition": "answered" if contact.kind == "consultation" else "abandoned",
        "agent_id": contact.agent,
        "order_id": contact.order,
    }
    if contact.asked_us is not None:
        doc |= {"queued_at": iso(contact.asked_us), "answered_at": iso(contact.replied_us)}
    if contact.kind == "consultation":
        doc |= {"talk_s": contact.handle_s, "wrap_s": 0}
        doc["transcript"] = (
            f"客户：{contact.text}\n坐席：{contact.extra['answer']}" if "answer" in contact.extra else contact.text
        )
        recording = {"uri": f"s3://recordings/{contact.session}.wav", "type": "audio/wav", "size": 480_000}
        doc["recording"] = recording
    return doc


def email(contact: Contact, message_id: str) -> dict:
    """Headers and body of a mail; every third in GB 18030 under the name gb2312, as Chinese mail programs do."""
    ours = contact.role == "agent"
    charset = "gb2312" if contact.person.number % 3 == 0 else "utf-8"
    doc = {
        "From": MAILBOX if ours else contact.person.email,
        "To": contact.person.email if ours else MAILBOX,
        "Date": format_datetime(datetime.fromtimestamp(contact.at_us / 1e6, SHANGHAI)),
        "Message-ID": f"<{message_id}@example.{'com' if ours else 'org'}>",
        "Subject": "" if contact.extra.get("no_subject") else _SUBJECT,
        "MIME-Version": "1.0",
        "Content-Type": f"text/plain; charset={charset}",
        "Content-Transfer-Encoding": "8bit",
        "": contact.text or "",
    }
    if ours:
        doc["In-Reply-To"] = f"<{contact.session}@example.org>"
    return doc


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:g}"


def store(contact: Contact, message_id: str) -> dict:
    return {
        "记录编号": message_id,
        "门店编号": f"S{contact.person.number % 40:02d}",
        "到店时间": local(contact.at_us, "%Y/%m/%d %H:%M"),
        "手机号": contact.person.phone,
        "会员号": contact.person.member_number if contact.person.number % 2 else "",
        "记录类型": "咨询",
        "咨询内容": contact.text,
        "等待时长(分钟)": _minutes(contact.response_s),
        "服务时长(分钟)": _minutes(contact.handle_s),
        "满意度": "" if contact.score is None else f"{contact.score:g}",
        "满分": "5",
        "接待人员": contact.agent,
        "订单号": contact.order,
    }


def service_center(contact: Contact, message_id: str) -> dict:
    return {
        "服务单号": message_id,
        "网点编号": f"W{contact.person.number % 12:02d}",
        "受理时间": local(contact.at_us, "%Y-%m-%d %H:%M"),
        "服务类型": "维修",
        "故障描述": contact.text,
        "手机号": contact.person.phone,
        "等待时长(分钟)": _minutes(contact.response_s),
        "处理时长(分钟)": _minutes(contact.handle_s),
        "满意度": "" if contact.score is None else f"{contact.score:g}",
        "满分": "5",
        "工程师": contact.agent,
        "订单号": contact.order,
    }


def complaint_site(contact: Contact, message_id: str) -> dict:
    doc: dict[str, Any] = {
        "site": "heimao",
        "case_no": contact.session,
        "title": contact.extra.get("title", contact.text[:12] if contact.text else None),
        "content": contact.text,
        "demands": ["退款"],
        "status": "已分配",
        "created_at": local(contact.at_us),
        "complainant": {"user_id": f"hm-{contact.person.number:07d}", "phone": contact.person.phone},
        "order_id": contact.order,
    }
    if contact.response_s is not None:
        doc["response_time_s"] = contact.response_s
    if contact.replied_us is not None:
        reply = {"role": "merchant", "at": local(contact.replied_us), "content": "已联系客户处理"}
        doc |= {"status": "已回复", "revision": 0, "replies": [reply]}
    return doc


def ticket_system(contact: Contact, message_id: str) -> dict:
    extra = contact.extra
    doc: dict[str, Any] = {
        "event_id": f"{contact.session}-{extra['number']}",
        "ticket_id": contact.session,
        "state": extra["state"],
        "occurred_at": local(contact.at_us),
        "opened_at": local(extra["opened_us"]),
        "priority": extra["priority"],
        "group": f"Group {contact.person.number % 30}",
        "actor": contact.role,
        "assigned_to": contact.agent,
        "caller": f"Caller {contact.person.number}",
        "description": contact.text,
    }
    if contact.response_s is not None:
        doc["response_time_s"] = contact.response_s
    if contact.replied_us is not None:
        doc["first_reply_at"] = iso(contact.replied_us)
    return doc
