"""Visits to stores as their tills note them, and the rows in which a person or a till got something wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from pipelines.simulation.store_file_forms import Visit, cells

_ASKED = (
    ("咨询", "手机屏幕碎了，换屏要多少钱"), ("咨询", "耳机连不上蓝牙，请店员看看"), ("咨询", "会员积分怎么兑换礼品"),
    ("维修", "充电口松动，充不进电"), ("退换", "外壳有划痕，要求换一台新的"), ("咨询", "以旧换新能抵多少钱"),
    ("维修", "电池鼓包，按键按不下去"), ("退换", "尺码买大了，想换小一号"), ("评价", "店员讲解得很清楚，安装也快"),
    ("投诉", "订好的货到店却没有，白跑一趟"),
)  # fmt: skip
_MARK = "甲乙丙丁戊己庚辛壬癸"


@dataclass(frozen=True)
class RowFault:
    """What is wrong with one row and what must become of it: rejected by a rule, a duplicate, or kept."""

    name: str
    fate: str
    rule: str | None
    make: Callable[[Visit, random.Random], Visit]


def visits(store: str, day: date, count: int, chance: random.Random, first: int = 1) -> list[Visit]:
    """A store's visits of a day, in the order of their times; each says something nobody else says."""
    opened = datetime.combine(day, time(9, 30))
    minutes = sorted(chance.sample(range(11 * 60), count))
    return [_visit(store, day, first + nth, opened + timedelta(minutes=at), chance) for nth, at in enumerate(minutes)]


def _visit(store: str, day: date, number: int, at: datetime, chance: random.Random) -> Visit:
    kind, text = chance.choice(_ASKED)
    person = chance.randrange(5_000)
    score = chance.choice(("", "", "3", "4", "5", "满意", "非常满意"))
    values = {
        "手机号": f"139{person:08d}" if chance.random() < 0.8 else "",
        "会员号": f"M{person:08d}" if chance.random() < 0.4 else "",
        "记录类型": kind,
        "咨询内容": f"{text}（{mark(store, day, number)}）",
        "等待时长(分钟)": str(chance.randint(1, 25)),
        "服务时长(分钟)": str(chance.randint(2, 40)),
        "满意度": score,
        "满分": "5" if score.isdigit() else "",
        "接待人员": f"{store}-{chance.randint(1, 6):02d}",
        "订单号": f"D{chance.randrange(10**6):06d}" if chance.random() < 0.3 else "",
    }
    return Visit(f"{number:04d}", store, at, values)


def mark(store: str, day: date, number: int) -> str:
    """Letters that name a visit in its text: digits could be taken for a person's number.

    >>> mark("S01", date(2026, 1, 9), 12)
    '丙乙丙甲己丙庚癸丁辛'
    """
    value, letters = (day.toordinal() * 50 + int(store[1:])) * 200 + number, ""
    while value:
        value, digit = divmod(value, 10)
        letters += _MARK[digit]
    return letters


def _set(name: str, text: str) -> Callable[[Visit, random.Random], Visit]:
    return lambda visit, chance: replace(visit, values=visit.values | {name: text})


def _broken(visit: Visit, chance: random.Random) -> Visit:
    return replace(visit, values=visit.values | {"咨询内容": visit.values["咨询内容"].replace("（", "\n（")})


def _torn(visit: Visit, chance: random.Random) -> Visit:
    row = cells(visit, 0)
    row[6] = "屏幕碎了,换屏要多少钱"  # a comma within a text that nobody quoted
    return replace(visit, raw_line=",".join(row).encode())


def _damaged(visit: Visit, chance: random.Random) -> Visit:
    row = cells(visit, 0)
    row[6] = "\0"
    return replace(visit, raw_line=",".join(row).encode().replace(b"\0", b"\xb5\xe7\xb3\xd8\xff"))


_SILENT = {"记录类型": "咨询", "咨询内容": "。。。", "满意度": "", "满分": "", "服务时长(分钟)": ""}
ROW_FAULTS = (
    RowFault("date_unreadable", "rejected", "time.unreadable", lambda v, c: replace(v, written_at="昨天下午")),
    RowFault("date_missing", "rejected", "field.missing", lambda v, c: replace(v, written_at="")),
    RowFault("unset_clock", "rejected", "time.out_of_range", lambda v, c: replace(v, written_at="1970-01-01 08:00")),
    RowFault("number_in_words", "rejected", "field.wrong_type", _set("等待时长(分钟)", "很久")),
    RowFault("type_unknown", "rejected", "field.unknown_value", _set("记录类型", "闲聊")),
    RowFault("nothing_said", "rejected", "text.blank", lambda v, c: replace(v, values=v.values | _SILENT)),
    RowFault("torn_row", "rejected", "row.misaligned", _torn),
    RowFault("damaged_bytes", "rejected", "payload.bad_encoding", _damaged),
    RowFault("row_twice", "duplicate", None, lambda v, c: v),
    RowFault("number_twice", "kept", None, lambda v, c: v),
    RowFault("line_break_in_text", "kept", None, _broken),
)  # fmt: skip
# In text files only, and in UTF-8: a workbook has cells, and which bytes are damaged depends on the encoding.
TEXT_ONLY = frozenset({"torn_row", "damaged_bytes"})
