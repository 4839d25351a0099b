"""Offline stores: service records from the daily file, one row as a JSON object with Chinese or English headers."""

from __future__ import annotations

from pipelines.channels.form_record import by_alias, cell_number, cell_score, cell_text, row_attributes, row_kind
from pipelines.channels.instants import instant_us, occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.channels.json_payload import ident, parse_json, whole

ALIASES = {
    "记录编号": "record_no",
    "门店编号": "store_id",
    "门店名称": "store_name",
    "门店": "store_name",
    "到店时间": "visited_at",
    "接待时间": "served_at",
    "记录类型": "record_type",
    "服务类型": "record_type",
    "手机号": "phone",
    "手机号码": "phone",
    "联系电话": "phone",
    "身份证号": "national_id",
    "邮箱": "email",
    "会员号": "member_number",
    "会员卡号": "member_number",
    "接待人员": "staff_id",
    "店员": "staff_id",
    "服务内容": "content",
    "咨询内容": "content",
    "处理结果": "result",
    "满意度": "score",
    "评分": "score",
    "满分": "score_scale_max",
    "等待时长(分钟)": "wait_minutes",
    "等待时长（分钟）": "wait_minutes",
    "服务时长(分钟)": "handle_minutes",
    "服务时长（分钟）": "handle_minutes",
    "订单号": "order_id",
    "客户姓名": "customer_name",
    "姓名": "customer_name",
}
ALIASES |= {name: name for name in [*ALIASES.values(), "revision"]}
_EXTRAS = ("store_id", "store_name", "record_type")


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A store visit: the visiting time is required; without a record number the file and line stand for it.

    Names of customers are not carried on: they identify nobody reliably, and the raw bytes keep them.

    >>> row = '{"到店时间":"2026/1/9 8:00","手机号":"13800000001","咨询内容":"换货","等待时长(分钟)":"2"}'
    >>> visit = parse(row.encode(), "s1", 1767930000000000, source_ref="stores.csv:2")
    >>> visit.source_message_id, visit.kind, visit.response_time_s, visit.phone
    ('stores.csv:2', 'consultation', 120.0, '13800000001')
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _misaligned(fields: dict) -> Unreadable:
    """Why a row of a file that has not as many cells as its header cannot be a visit; its cells are the payload."""
    cells, columns = fields["misaligned_row"], fields.get("header_columns")
    count = len(cells) if isinstance(cells, list) else "other"
    named = columns if type(columns) is int else "other"
    return Unreadable(
        "row.misaligned",
        f"the row has {count} cells, the header names {named} columns: a delimiter or a line break within a text is "
        "not quoted, so each cell may be another column's",
    )


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    if "misaligned_row" in fields:
        raise _misaligned(fields)
    row, other = by_alias(fields, ALIASES)
    said = cell_text(row, "content")
    visited_at_us = occurred_at_us(row.get("visited_at"), "visited_at", received_at_us)
    served_at_us = instant_us(row.get("served_at"), "served_at")
    score, score_scale_max = cell_score(row)
    return Interaction(
        source_message_id=ident(row, "record_no") or source_ref,
        source_revision=whole(row, "revision"),
        kind=row_kind(row, said),
        sender_role="customer",
        occurred_at_us=visited_at_us,
        text=said,
        response_time_s=cell_number(row, "wait_minutes", times=60),
        asked_at_us=None if served_at_us is None else visited_at_us,
        replied_at_us=served_at_us,
        handle_time_s=cell_number(row, "handle_minutes", times=60),
        score=score,
        score_scale_max=score_scale_max,
        outcome=cell_text(row, "result"),
        agent_id=ident(row, "staff_id"),
        order_id=ident(row, "order_id"),
        phone=ident(row, "phone"),
        national_id=ident(row, "national_id"),
        email=ident(row, "email"),
        member_number=ident(row, "member_number"),
        attributes=row_attributes(row, _EXTRAS, other),
    )
