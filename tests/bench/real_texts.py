"""Texts that people wrote, given to the rules to see how often honest rows raise an alarm. Their rows stay outside."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.cleaning.context import CleaningContext
from tests.bench.case_truth import START_US
from tests.bench.pure_path import Message, judge
from tests.bench.wire_forms import Wire

DEFAULT_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def folder() -> Path | None:
    """KEFULAKE_SHARED_DATA, or the folder beside the checkout; None where there is none."""
    found = Path(os.environ.get("KEFULAKE_SHARED_DATA") or DEFAULT_FOLDER)
    return found if found.is_dir() else None


def alarms(new_context: Callable[[], CleaningContext]) -> list[dict]:
    """Counts per set of texts: rejected, in review, with a personal number. The half the rules were tuned on is out."""
    where = folder()
    if where is None:
        return []
    sources = {
        "chat_jd turns": _chat_turns,
        "replies_gov_zh as complaints (unseen half)": _complaints,
        "reviews_waimai_zh, bad, as one star (unseen half)": _reviews,
    }
    rows = []
    for name, source in sources.items():
        wire = Wire(random.Random(1), prefix="real", start_us=START_US)
        messages = [Message(*form) for form in source(where, wire)]
        outcomes, _ = judge(messages, new_context())
        rows.append(
            {
                "name": name,
                "rows": len(outcomes),
                "rejected": sum(o.route == "rejected" for o in outcomes),
                "review": sum(o.route == "review" for o in outcomes),
                "duplicate": sum(o.route == "duplicate" for o in outcomes),
                "personal_numbers": sum(
                    any(f"[{label}:" in (o.record.get("text") or "") for label in ("phone", "id", "card", "email"))
                    for o in outcomes
                ),
            }
        )
    return rows


def _chat_turns(where: Path, wire: Wire) -> Iterator[tuple]:
    for line in (where / "chat_jd" / "chat.tsv").read_text(encoding="utf-8").splitlines():
        yield wire.turn(line.split("\t")[6])


def _complaints(where: Path, wire: Wire) -> Iterator[tuple]:
    with (where / "replies_gov_zh" / "replies.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[1::2]:
        yield wire.complaint(row["留言详情"])


def _reviews(where: Path, wire: Wire) -> Iterator[tuple]:
    with (where / "reviews_waimai_zh" / "reviews_train.csv").open(encoding="utf-8", newline="") as file:
        bad = [row["review"] for row in csv.DictReader(file) if row["label"] == "0"]
    for text in bad[1::2]:
        yield wire.review(text, score=1.0, order_id=wire.new_id("o"))
