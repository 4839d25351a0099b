"""A service desk of years ago: ten years of records as an old system keeps them, vectorised, with the truth beside.

Column names of the old school (pinyin initials), naive Shanghai times, minutes instead of seconds, codes instead of
words, numbers inside texts, and a little dirt: some 40 rows in a million that no system should have let in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from pipelines.simulation import phrases
from pipelines.simulation.people import MAX_CUSTOMERS
from pipelines.simulation.questions import QUESTIONS

BEGIN_AT, END_AT = datetime(2016, 1, 1), datetime(2025, 12, 31, 23, 0)  # Shanghai, as the old system writes
CHANNELS = {"1": "phone", "2": "app", "3": "wechat", "4": "web_chat", "5": "store", "6": "email"}
_CHANNEL_SHARES = (0.46, 0.18, 0.14, 0.12, 0.06, 0.04)
KINDS = {"ZX": "consultation", "TS": "complaint", "PJ": "feedback"}
_KIND_SHARES = (0.8, 0.08, 0.12)
RESULTS = {"0": "open", "1": "resolved", "2": "transferred"}
_POOL = 6_000  # different sentences of each kind
_PHONES_FROM = 13_900_100_000  # not 139 0000 0000, which hands type to get past a form
DIRT = {
    "migration.unmapped_value": "a channel code that nobody can explain",
    "migration.not_an_instant": "0000-00-00, or the thirtieth of February",
    "text.blank": "a consultation that says nothing and was not handled",
    "time.handle_impossible": "a handling time of minus one minute",
}
COLUMNS = ("id", "qd", "lx", "kh_sj", "hy_no", "nr", "sl_sj", "dd_fz", "cl_fz", "myd", "jg", "gh", "dd_no", "gx_sj")
DDL = """\
CREATE TABLE fw_jl (
  id BIGINT NOT NULL PRIMARY KEY COMMENT '记录编号',
  qd VARCHAR(4) COMMENT '渠道', lx VARCHAR(4) COMMENT '类型', kh_sj VARCHAR(20) COMMENT '客户手机',
  hy_no VARCHAR(16) COMMENT '会员号', nr TEXT COMMENT '内容', sl_sj VARCHAR(20) COMMENT '受理时间',
  dd_fz DECIMAL(8,2) COMMENT '等待分钟', cl_fz DECIMAL(8,2) COMMENT '处理分钟', myd TINYINT COMMENT '满意度',
  jg CHAR(1) COMMENT '结果', gh VARCHAR(8) COMMENT '工号', dd_no VARCHAR(20) COMMENT '订单号',
  gx_sj DATETIME NOT NULL COMMENT '更新时间'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""


@dataclass(frozen=True)
class LegacyRows:
    """Rows as text (NULL where the old system had none), and which of them are dirt: key to the rule they break."""

    rows: pl.DataFrame
    dirt: dict[str, str]


def batches(rows: int, seed: int, *, batch_rows: int = 250_000, dirt_per_million: int = 40) -> Iterator[LegacyRows]:
    """All rows in key order; the same seed and number of rows give the same rows, whatever the batch.

    >>> made = next(batches(1000, 7))
    >>> made.rows.columns == list(COLUMNS), len(made.rows), made.rows.equals(next(batches(1000, 7)).rows)
    (True, 1000, True)
    """
    pools = _pools(np.random.default_rng([seed, 1]))
    customers = max(20, min(MAX_CUSTOMERS, rows // 20))
    dirty = _dirty_rows(rows, seed, dirt_per_million)
    block = 50_000  # of the random numbers, so that batches do not change them
    held: list[LegacyRows] = []
    for first in range(0, rows, block):
        held.append(_block(first, min(block, rows - first), rows, customers, seed, pools, dirty))
        if sum(len(one.rows) for one in held) >= batch_rows:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(parts: list[LegacyRows]) -> LegacyRows:
    return LegacyRows(pl.concat([p.rows for p in parts]), {k: v for p in parts for k, v in p.dirt.items()})


def _block(
    first: int, size: int, rows: int, customers: int, seed: int, pools: dict[str, pl.Series], dirty: dict[int, str]
) -> LegacyRows:
    chance = np.random.default_rng([seed, 2, first])
    number = np.arange(first, first + size)
    channel = chance.choice(len(CHANNELS), size, p=_CHANNEL_SHARES)
    kind = chance.choice(len(KINDS), size, p=_KIND_SHARES)
    person = (customers * chance.beta(0.9, 2.5, size)).astype(np.int64)  # some call for years, most now and then
    seconds = (END_AT - BEGIN_AT).total_seconds()
    at = (seconds * (number + chance.random(size)) / rows).astype(np.int64)
    accepted = pl.Series(np.datetime64(BEGIN_AT, "us") + (at * 1_000_000).astype("timedelta64[us]"))
    later = accepted + pl.Series((chance.exponential(7_200, size)).astype("int64") * 1_000_000).cast(pl.Duration("us"))
    waited = np.round(chance.lognormal(-1.1, 0.8, size), 2)
    handled = np.round(chance.lognormal(1.3, 0.7, size) + 0.1, 2)
    scored = (kind == 2) | (chance.random(size) < 0.05)
    score = np.clip(6 - chance.geometric(0.45, size), 1, 5)
    frame = pl.DataFrame(
        {
            "id": pl.Series(1_000_000 + number * 3 + seed % 3).cast(pl.String),
            "qd": pl.Series(list(CHANNELS))[channel],
            "lx": pl.Series(list(KINDS))[kind],
            "kh_sj": _phones(person, chance),
            "hy_no": _coded("M", person, 7, chance.random(size) < 0.6),
            "nr": _texts(kind, person, number, chance, pools),
            "sl_sj": accepted.dt.strftime("%Y-%m-%d %H:%M:%S"),
            "dd_fz": _decimals(waited),
            "cl_fz": _decimals(handled),
            "myd": pl.Series(score).cast(pl.String).set(pl.Series(~scored), None),
            "jg": pl.Series(list(RESULTS))[chance.choice(3, size, p=(0.02, 0.9, 0.08))],
            "gh": _coded("K", chance.integers(1, 400, size), 4),
            "dd_no": _coded("SO", 20_000_000_000 + number * 7, 11, chance.random(size) < 0.7),
            "gx_sj": later.dt.strftime("%Y-%m-%d %H:%M:%S"),
        }
    )  # fmt: skip
    return _with_dirt(frame, first, dirty)


def _coded(head: str, number: np.ndarray, digits: int, absent: np.ndarray | None = None) -> pl.Series:
    codes = head + pl.Series(number).cast(pl.String).str.zfill(digits)
    return codes if absent is None else codes.set(pl.Series(absent), None)


def _decimals(values: np.ndarray) -> pl.Series:
    """As DECIMAL(8,2) writes them: two digits always."""
    cents = pl.Series(np.round(values * 100).astype(np.int64))
    return (cents // 100).cast(pl.String) + "." + (cents % 100).cast(pl.String).str.zfill(2)


def _phones(person: np.ndarray, chance: np.random.Generator) -> pl.Series:
    """The same number in three spellings, and none for one row in 30."""
    plain = pl.Series(_PHONES_FROM + person).cast(pl.String)
    spelled = chance.random(len(person))
    parted = plain.str.slice(0, 3) + "-" + plain.str.slice(3, 4) + "-" + plain.str.slice(7)
    phones = plain.zip_with(pl.Series(spelled < 0.9), parted).zip_with(pl.Series(spelled < 0.96), "+86" + plain)
    return phones.set(pl.Series(chance.random(len(person)) < 0.033), None)


def _texts(
    kind: np.ndarray, person: np.ndarray, number: np.ndarray, chance: np.random.Generator, pools: dict[str, pl.Series]
) -> pl.Series:
    """A sentence of its kind; one in 25 gives a number to call back, one in 20 an order; some with blanks round it."""
    picked = chance.integers(0, _POOL, len(kind))
    texts = pools["ZX"][picked]
    for code, name in enumerate(KINDS):
        texts = texts.zip_with(pl.Series(kind != code), pools[name][picked])
    drawn = pl.Series(chance.random(len(kind)))
    call_back = texts + "，请回电" + pl.Series(_PHONES_FROM + person).cast(pl.String)
    order = texts + "，订单SO" + pl.Series(20_000_000_000 + number * 7).cast(pl.String)
    texts = texts.zip_with(drawn >= 0.04, call_back).zip_with((drawn < 0.04) | (drawn >= 0.09), order)
    return texts.zip_with(drawn < 0.98, " " + texts + "  ")


def _pools(chance: np.random.Generator) -> dict[str, pl.Series]:
    asked = [wording for topic in QUESTIONS.values() for wordings in topic for wording in wordings]
    reviews = phrases.GOOD_REVIEWS + phrases.BAD_REVIEWS
    return {"ZX": _filled(asked, chance), "TS": _filled(phrases.COMPLAINTS, chance), "PJ": _filled(reviews, chance)}


def _filled(templates: list[str], chance: np.random.Generator) -> pl.Series:
    made = []
    for nth in chance.integers(0, len(templates), _POOL):
        slots = {name: words[chance.integers(len(words))] for name, words in phrases.SLOTS.items()}
        opening = phrases.OPENINGS[chance.integers(len(phrases.OPENINGS))]
        made.append(opening + templates[nth].format(**slots))
    return pl.Series(made, dtype=pl.String)


def _dirty_rows(rows: int, seed: int, per_million: int) -> dict[int, str]:
    chance = np.random.default_rng([seed, 3])
    count = min(rows, round(rows * per_million / 1_000_000))
    rules = list(DIRT)
    return {int(row): rules[n % len(rules)] for n, row in enumerate(chance.choice(rows, count, replace=False))}


def _with_dirt(frame: pl.DataFrame, first: int, dirty: dict[int, str]) -> LegacyRows:
    here = {row - first: rule for row, rule in dirty.items() if first <= row < first + len(frame)}
    for row, rule in here.items():
        odd = row % 2 == 0
        changes = {
            "migration.unmapped_value": {"qd": "9"},
            "migration.not_an_instant": {"sl_sj": "0000-00-00 00:00:00" if odd else "2019-02-30 10:00:00"},
            "text.blank": {"lx": "ZX", "nr": "。。。" if odd else "", "cl_fz": None, "myd": None},
            "time.handle_impossible": {"cl_fz": "-1.00"},
        }[rule]
        frame = frame.with_columns(frame[name].scatter([row], [value]) for name, value in changes.items())
    return LegacyRows(frame, {frame["id"][row]: rule for row, rule in here.items()})


def declaration(source: dict[str, str], *, path: str | None = None) -> dict:
    """How these rows are declared for `kefulake migrate`."""
    return {
        "migration": "old_desk",
        "source": source,
        "time_zone": "Asia/Shanghai",
        "tables": {
            "fw_jl": {
                **({"path": path} if path else {}),
                "target": ["silver.interactions", "silver.feedback"],
                "key": "id",
                "changed": "gx_sj",
                "columns": {
                    "source_message_id": "id",
                    "channel": {"from": "qd", "map": CHANNELS},
                    "account": {"constant": "old_desk"},
                    "kind": {"from": "lx", "map": KINDS},
                    "sender_role": {"constant": "customer"},
                    "occurred_at": "sl_sj",
                    "text": {"from": "nr", "trim": True},
                    "response_time_s": {"from": "dd_fz", "multiply": 60},
                    "handle_time_s": {"from": "cl_fz", "multiply": 60},
                    "score": "myd",
                    "score_scale_max": {"constant": "5"},
                    "outcome": {"from": "jg", "map": RESULTS},
                    "agent_id": "gh",
                    "order_id": "dd_no",
                    "phone_token": {"from": "kh_sj", "tokenise": "phone"},
                    "member_token": {"from": "hy_no", "tokenise": "member"},
                },
            }
        },
    }
