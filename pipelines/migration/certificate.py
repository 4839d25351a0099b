"""The certificate: what was compared and what came of it, for machines (JSON) and for people (English and Chinese)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from pipelines.migration.certifying import Compared, unaccepted

ACCURACY_WANTED = 0.9999


def certificate(
    migration: str,
    tables: Sequence[Compared],
    accepted: Mapping[str, str],
    *,
    source: str,
    issued_at: str,
    named_differences: int,
    cut_over: bool,
) -> dict[str, Any]:
    """The whole certificate; ``certified`` only where nothing differs but what is accepted, by name and reason."""
    parts = [_table(one, accepted, named_differences) for one in tables]
    rows = sum(one.source_rows for one in tables)
    right = sum(one.accuracy * one.source_rows for one in tables)
    accuracy = right / rows if rows else 1.0
    return {
        "certificate": "migration",
        "migration": migration,
        "source": source,
        "issued_at": issued_at,
        "cut_over": cut_over,
        "certified": all(part["holds"] for part in parts) and accuracy >= ACCURACY_WANTED,
        "rows": rows,
        "accuracy": accuracy,
        "accuracy_wanted": ACCURACY_WANTED,
        "tables": parts,
    }


def _table(one: Compared, accepted: Mapping[str, str], named: int) -> dict[str, Any]:
    by_rule = Counter(reject.rule for reject in one.rejected)
    hashes = {c: {"source": s, "lake": t, "equal": s == t} for c, (s, t) in one.hashes.items()}
    open_rules = unaccepted(one, accepted)
    holds = one.balance.closes and not one.differences and not one.kpi_unequal and not open_rules
    return {
        "table": one.name,
        "targets": list(one.targets),
        "holds": holds and all(h["equal"] for h in hashes.values()),
        "source_rows": one.source_rows,
        "source_deleted": one.source_deleted,
        "accuracy": one.accuracy,
        "balance": one.balance._asdict() | {"closes": one.balance.closes},
        "column_hashes": hashes,
        "exceptions": [
            {"rule": rule, "rows": count, "accepted": accepted.get(rule),
             "keys": [r.key for r in one.rejected if r.rule == rule][:named]}
            for rule, count in sorted(by_rule.items())
        ],
        "differences": {
            "by_kind": dict(Counter(d.what for d in one.differences)),
            "named": [{"key": d.key, "what": d.what, "columns": list(d.columns)} for d in one.differences[:named]],
        },
        "figures": {
            "groups": one.kpi_groups,
            "unequal": [
                {"month": month, "channel": channel, "source": list(ours), "lake": list(theirs)}
                for month, channel, ours, theirs in one.kpi_unequal[:named]
            ],
        },
    }  # fmt: skip


def encoded(stated: Mapping[str, Any]) -> tuple[bytes, str]:
    """The bytes that are signed, and their SHA-256.

    >>> encoded({"b": 1, "a": 2})[0]
    b'{"a":2,"b":1}'
    """
    text = orjson.dumps(stated, option=orjson.OPT_SORT_KEYS)
    return text, sha256(text).hexdigest()


def as_text(stated: Mapping[str, Any], digest: str, audit_seq: int | None) -> str:
    """For people."""
    verdict = "certified 通过" if stated["certified"] else "NOT certified 未通过"
    lines = [
        "Migration certificate 数据迁移证书",
        f"migration 迁移: {stated['migration']}    source 来源: {stated['source']}",
        f"issued 签发: {stated['issued_at']}",
        f"verdict 结论: {verdict}" + ("    cut-over 切换" if stated["cut_over"] else ""),
        f"source rows 源记录数: {stated['rows']:,}    accuracy 准确率: {stated['accuracy']:.6%}"
        f" (wanted 要求 ≥ {stated['accuracy_wanted']:.2%})",
    ]
    for part in stated["tables"]:
        lines += ["", f"table 表 {part['table']} → {', '.join(part['targets'])}", *_lines_of(part)]
    lines += ["", f"SHA-256 of the JSON 文件摘要: {digest}"]
    if audit_seq is not None:
        lines.append(f"signed into the audit chain 已写入审计链: row {audit_seq}")
    return "\n".join(lines) + "\n"


def _lines_of(part: Mapping[str, Any]) -> list[str]:
    b = part["balance"]
    unequal = [name for name, told in part["column_hashes"].items() if not told["equal"]]
    lines = [
        f"  balance 收支平衡: received 接收 {b['received']:,} = kept 保留 {b['kept']:,} + rejected 无效记录 "
        f"{b['rejected']:,} + in review 人工核验 {b['in_review']:,} + duplicate 重复记录 {b['duplicate']:,}: "
        + ("closes 平" if b["closes"] else f"BROKEN 不平 (missing {b['missing']}, twice {b['twice']})"),
        f"  column hashes 列指纹: {len(part['column_hashes'])} compared, "
        + (f"UNEQUAL 不一致: {', '.join(unequal)}" if unequal else "all equal 全部一致"),
        f"  figures by month and channel 按月按渠道指标: {part['figures']['groups']} groups, "
        + (f"{len(part['figures']['unequal'])} UNEQUAL 不一致" if part["figures"]["unequal"] else "all equal 全部一致"),
    ]
    if part["source_deleted"]:
        lines.append(
            f"  marked as deleted in the source 来源中已标记删除: {part['source_deleted']:,} rows, in none of the "
            "figures 不计入指标"
        )
    for exception in part["exceptions"]:
        why = exception["accepted"] or "NOT ACCEPTED 未接受"
        lines.append(f"  exception 例外: {exception['rule']}, {exception['rows']} rows: {why}")
    for kind, count in part["differences"]["by_kind"].items():
        some = [d for d in part["differences"]["named"] if d["what"] == kind][:5]
        named = "; ".join(f"{d['key']} {', '.join(d['columns'])}".strip() for d in some)
        lines.append(f"  difference 差异: {kind}, {count} rows: {named}{' …' if count > len(some) else ''}")
    return lines
