"""Records kept in spreadsheets: one row as a JSON object, headers in Chinese or English, every value maybe text."""

from __future__ import annotations

import math
import re

from pipelines.channels.interaction import Unreadable
from pipelines.channels.json_payload import attributes, ident, wrong_type

_NUMBER = re.compile(r"([-+]?\d{1,15}(?:\.\d{1,9})?)\s*(?:分钟|分|星|秒|元)?", re.ASCII)
_SATISFACTION = {"非常满意": 5.0, "满意": 4.0, "一般": 3.0, "不满意": 2.0, "非常不满意": 1.0}
SATISFACTION_SCALE_MAX = 5.0

KINDS = {
    "咨询": "consultation",
    "到店咨询": "consultation",
    "报修": "consultation",
    "维修": "consultation",
    "退换": "consultation",
    "检测": "consultation",
    "consultation": "consultation",
    "repair": "consultation",
    "return": "consultation",
    "投诉": "complaint",
    "complaint": "complaint",
    "评价": "feedback",
    "回访": "feedback",
    "feedback": "feedback",
    "登记": "record",
    "办理": "record",
    "提货": "record",
    "record": "record",
}


def by_alias(row: dict, aliases: dict[str, str]) -> tuple[dict, dict]:
    """The row under our column names, and the columns we have no name for; empty cells are left out of both.

    >>> by_alias({"手机号 ": "13800000001", "备注2": "x", "会员号": ""}, {"手机号": "phone", "会员号": "member_number"})
    ({'phone': '13800000001'}, {'备注2': 'x'})
    """
    known: dict = {}
    other: dict = {}
    for header, value in row.items():
        if value is None or value == "":
            continue
        name = aliases.get(header) or aliases.get(header.strip().lower())
        if name is None:
            other[header] = value
        else:
            known[name] = value
    return known, other


def cell_number(row: dict, name: str, times: float = 1.0) -> float | None:
    """A number, or text that holds one ("12", "12.5分钟"); ``times`` converts the column's unit into ours.

    >>> cell_number({"wait_minutes": "1.5分钟"}, "wait_minutes", times=60)
    90.0
    """
    value = row.get(name)
    if value is None:
        return None
    if type(value) is str:
        found = _NUMBER.fullmatch(value.strip())
        if found is None:
            raise Unreadable("field.wrong_type", f"column {name} must hold a number; its text is none")
        return float(found[1]) * times
    if type(value) not in (int, float) or not math.isfinite(value):
        raise wrong_type(name, "a number", value)
    return float(value) * times


def cell_score(row: dict) -> tuple[float | None, float | None]:
    """Score and top of its scale; satisfaction in words (非常满意 … 非常不满意) stands for 5 … 1.

    >>> cell_score({"score": "满意"}), cell_score({"score": "9", "score_scale_max": "10"})
    ((4.0, 5.0), (9.0, 10.0))
    """
    score = row.get("score")
    if type(score) is str and (worded := _SATISFACTION.get(score.strip())) is not None:
        return worded, SATISFACTION_SCALE_MAX
    return cell_number(row, "score"), cell_number(row, "score_scale_max")


def cell_text(row: dict, name: str) -> str | None:
    """The words of a cell; a number typed into it is kept as it looks."""
    value = row.get(name)
    if value is None or type(value) is str:
        return value
    if type(value) in (int, float):
        return str(value)
    raise wrong_type(name, "text", value)


def row_kind(row: dict, said: str | None) -> str:
    """Kind by the record's type; a row without a type asks something if it says something, else it is a record."""
    record_type = ident(row, "record_type")
    if record_type is None:
        return "record" if said is None else "consultation"
    kind = KINDS.get(record_type) or KINDS.get(record_type.lower())
    if kind is None:
        raise Unreadable("field.unknown_value", f"column record_type is none of {', '.join(KINDS)}")
    return kind


def row_attributes(row: dict, names: tuple[str, ...], other: dict) -> str | None:
    """The named columns, and below ``other`` those we have no name for, so that no cell is lost."""
    return attributes({name: row.get(name) for name in names} | {"other": other or None})
