"""Service centres: repair, return and check records, one row as a JSON object with Chinese or English headers."""

from __future__ import annotations

from pipelines.channels.form_record import by_alias, cell_number, cell_score, cell_text, row_attributes, row_kind
from pipelines.channels.instants import instant_us, occurred_at_us
from pipelines.channels.interaction import Interaction, Reject
from pipelines.channels.json_payload import ident, parse_json, whole

ALIASES = {
    "服务单号": "service_no",
    "工单号": "ticket_id",
    "网点编号": "center_id",
    "服务网点": "center_name",
    "受理时间": "accepted_at",
    "开始时间": "started_at",
    "完成时间": "finished_at",
    "服务类型": "record_type",
    "产品型号": "product_model",
    "序列号": "serial_no",
    "故障描述": "content",
    "问题描述": "content",
    "处理措施": "measure",
    "处理结果": "result",
    "工程师": "engineer_id",
    "手机号": "phone",
    "联系电话": "phone",
    "身份证号": "national_id",
    "邮箱": "email",
    "会员号": "member_number",
    "订单号": "order_id",
    "费用": "fee_yuan",
    "满意度": "score",
    "满分": "score_scale_max",
    "等待时长(分钟)": "wait_minutes",
    "等待时长（分钟）": "wait_minutes",
    "处理时长(分钟)": "handle_minutes",
    "处理时长（分钟）": "handle_minutes",
    "客户姓名": "customer_name",
    "保修状态": "warranty",
}
ALIASES |= {name: name for name in [*ALIASES.values(), "revision"]}
_EXTRAS = ("center_id", "center_name", "record_type", "product_model", "serial_no", "measure", "warranty", "fee_yuan")


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A service order: the time it was accepted is required; without a number the file and line stand for it.

    From accepted to started is the wait, from started to finished the handling, where the row reports neither.

    >>> row = '{"服务单号":"S1","受理时间":"2026-01-09 08:00","开始时间":"2026-01-09 08:30","故障描述":"不通电"}'
    >>> order = parse(row.encode(), "c1", 1767930000000000)
    >>> order.source_message_id, order.kind, order.response_time_s
    ('S1', 'consultation', 1800.0)
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    row, other = by_alias(fields, ALIASES)
    said = cell_text(row, "content")
    accepted_at_us = occurred_at_us(row.get("accepted_at"), "accepted_at", received_at_us)
    started_at_us = instant_us(row.get("started_at"), "started_at")
    finished_at_us = instant_us(row.get("finished_at"), "finished_at")
    score, score_scale_max = cell_score(row)
    return Interaction(
        source_message_id=ident(row, "service_no") or source_ref,
        source_revision=whole(row, "revision"),
        kind=row_kind(row, said),
        sender_role="customer",
        occurred_at_us=accepted_at_us,
        text=said,
        response_time_s=_reported_or_between(row, "wait_minutes", accepted_at_us, started_at_us),
        asked_at_us=accepted_at_us,
        replied_at_us=started_at_us,
        handle_time_s=_reported_or_between(row, "handle_minutes", started_at_us, finished_at_us),
        score=score,
        score_scale_max=score_scale_max,
        outcome=cell_text(row, "result"),
        agent_id=ident(row, "engineer_id"),
        ticket_id=ident(row, "ticket_id"),
        order_id=ident(row, "order_id"),
        phone=ident(row, "phone"),
        national_id=ident(row, "national_id"),
        email=ident(row, "email"),
        member_number=ident(row, "member_number"),
        attributes=row_attributes(row, _EXTRAS, other),
    )


def _reported_or_between(row: dict, minutes: str, from_us: int | None, to_us: int | None) -> float | None:
    reported_s = cell_number(row, minutes, times=60)
    if reported_s is None and from_us is not None and to_us is not None:
        return (to_us - from_us) / 1_000_000
    return reported_s
