"""Holds reports, silver, quarantine and bronze against the truth about simulated store files, row by row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path, PurePath
from zoneinfo import ZoneInfo

import orjson
import polars as pl
from deltalake import DeltaTable

from pipelines.simulation.store_files import Delivered, Row, World

KEPT = ("silver.interactions", "silver.feedback")
_ZONE = ZoneInfo("Asia/Shanghai")


@dataclass
class Score:
    """planted and found by fault; wrong: a sentence for everything that is not as the truth says."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)

    def judge(self, fault: str, right: bool, told: str) -> None:
        """One fault, or one thing without a fault, that is as it must be or not."""
        if fault:
            self.planted[fault] += 1
            self.found[fault] += right
            self.missed += [] if right else [told]
        elif not right:
            self.false_alarms.append(told)


def judge_files(
    score: Score, step: Iterable[Delivered], reports: Mapping[str, dict], waiting: Mapping[str, str]
) -> None:
    """The files of one step against the reports of the run that met them."""
    expected = {one.path: one for one in step}
    for path, one in expected.items():
        got = reports.get(path)
        score.judge(
            one.fault,
            _as_expected(one, got, waiting.get(path)),
            f"{path} (step {one.step}): {got or waiting.get(path)}",
        )
    for path in set(reports) | set(waiting):
        if path not in expected and reports.get(path, {}).get("file_verdict") != "waits":
            score.false_alarms.append(f"{path}: {reports.get(path) or waiting.get(path)}, and nothing was delivered")


def _as_expected(one: Delivered, got: dict | None, waits: str | None) -> bool:
    if one.verdict == "waits":
        return waits is not None and one.sign in waits
    if got is None or got["file_verdict"] != one.verdict:
        return False
    if one.verdict == "refused":
        return got["refusal"] == one.sign
    numbers = tuple(got[name] for name in ("rows_new", "rows_corrected", "rows_withdrawn", "rows_unchanged"))
    same = (got["store_id"], got["store_day"], got["file_form"], got["file_encoding"]) == (
        one.store, one.day, one.form, one.encoding,
    )  # fmt: skip
    return same and (one.numbers is None or numbers == one.numbers)


# ---- rows


def rows(lake: Path, table: str, columns: list[str]) -> pl.DataFrame:
    """Columns of a table of the lake; no rows where it was never written."""
    folder = lake.joinpath(*table.split("."))
    if not (folder / "_delta_log").exists():
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    return pl.from_arrow(DeltaTable(str(folder)).to_pyarrow_table(columns=columns))


def judge_rows(score: Score, world: World, lake: Path) -> None:
    """Every row of every file: kept once with its words, rejected by its rule, or a duplicate; and nothing beside.

    Messages that other files or senders brought into the lake are left out, by the hash of the file in their ref.
    """
    place = ["raw_topic", "raw_partition", "raw_offset"]
    ours = {hashlib.sha256(one.content).hexdigest()[:12] for one in world.files}
    bronze = rows(lake, "bronze.raw_events", [*place, "headers"])
    refs = [orjson.loads(headers or "{}").get("source_ref") or "" for headers in bronze["headers"]]
    ref_of = {at: ref for at, ref in zip(bronze.select(place).rows(), refs, strict=True) if ref[-12:] in ours}
    kept = _kept(lake, place, ref_of)
    found = rows(lake, "quarantine.rejects", ["source_ref", "rule"]).rows()
    rejected = Counter((ref, rule) for ref, rule in found if ref and ref[-12:] in ours)
    doubled = Counter(ref_of.get(at) for at in rows(lake, "quarantine.duplicates", place).rows())
    names = _refs(world)
    for row in world.rows:
        _judge_row(score, row, names[row.path], kept, rejected, doubled)
    _judge_strangers(score, world, names, kept, rejected)
    waiting = [ref_of[at] for at in rows(lake, "review.queue", place).rows() if at in ref_of]
    score.false_alarms += [f"{ref} waits for a person" for ref in waiting]


def _kept(lake: Path, place: list[str], ref_of: Mapping[tuple, str]) -> dict[tuple[str, int], list[dict]]:
    kept: dict[tuple[str, int], list[dict]] = {}
    columns = [*place, "source_message_id", "source_revision", "text", "occurred_at", "outcome", "kind"]
    for table in KEPT:
        for row in rows(lake, table, columns).iter_rows(named=True):
            if (at := tuple(row[name] for name in place)) in ref_of:
                row |= {"table": table, "source_ref": ref_of[at]}
                kept.setdefault((row["source_message_id"], row["source_revision"]), []).append(row)
    return kept


def _refs(world: World) -> dict[str, tuple[str, str]]:
    """Base name and first digits of the hash, of the file under each path that was imported."""
    taken = {one.path: one for one in world.files if one.verdict in ("imported", "corrected")}
    return {p: (PurePath(p).name, hashlib.sha256(one.content).hexdigest()[:12]) for p, one in taken.items()}


def _judge_row(
    score: Score, row: Row, file: tuple[str, str], kept: Mapping, rejected: Counter, doubled: Counter
) -> None:  # fmt: skip
    ref, found = f"{file[0]}:{row.line}#{file[1]}", kept.get((row.message_id, row.revision), [])
    if row.fate == "rejected":
        score.judge(row.fault, rejected[ref, row.rule] >= 1 and not found, f"{ref} is no reject {row.rule}")
    elif row.fate == "duplicate":
        score.judge(row.fault, doubled[ref] >= 1 and len(found) == 1, f"{ref} is no duplicate")
    elif row.outcome is not None:
        right = len(found) == 1 and (found[0]["outcome"], found[0]["kind"]) == (row.outcome, "record")
        score.judge(
            row.fault, right and _at(found[0]) == row.occurred_at, f"{row.message_id} was not withdrawn: {found}"
        )
    else:
        right = len(found) == 1 and found[0]["source_ref"] == ref and found[0]["table"] == row.table
        right = right and (found[0]["text"], _at(found[0])) == (row.text, row.occurred_at)
        score.judge(
            row.fault, right, f"{ref} ({row.message_id}, revision {row.revision}) is not kept as it is: {found}"
        )


def _at(row: dict) -> str:
    at = row["occurred_at"]
    return f"{(at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(_ZONE):%Y-%m-%d %H:%M:%S}"


def _judge_strangers(score: Score, world: World, names: Mapping, kept: Mapping, rejected: Counter) -> None:
    """Rows that nobody planted, in silver or among the rejects."""
    expected = {(row.message_id, row.revision) for row in world.rows if row.fate != "rejected"}
    score.false_alarms += [f"silver holds {key}, which nobody delivered" for key in kept if key not in expected]
    files = {row.path: names[row.path] for row in world.rows}
    planted = {
        (f"{files[row.path][0]}:{row.line}#{files[row.path][1]}", row.rule)
        for row in world.rows
        if row.fate == "rejected"
    }
    score.false_alarms += [f"{ref} was rejected by {rule}" for ref, rule in rejected if (ref, rule) not in planted]
