"""Real data sets turned into the wire forms of channels: one line of NDJSON for each source line.

Used by tests and measurements only. The folder is KEFULAKE_DATA, else ``../shared/data`` beside the project; nothing
of it is kept.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

# chat_jd and reviews carry no times; replay assigns them: one second a line from here on.
FIRST_SENT_AT = datetime(2026, 1, 5, tzinfo=UTC)


class RealSet(NamedTuple):
    """A data set: its channel, how many source lines it has, and its lines in that channel's wire form."""

    channel: str
    lines: int
    wire_forms: Callable[[Path], Iterator[dict]]


def data_folder() -> Path:
    """Where the real data lies. Raises FileNotFoundError with what to set."""
    folder = Path(os.environ.get("KEFULAKE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there; set KEFULAKE_DATA to the folder of the real data sets")
    return folder


def chat_jd(folder: Path) -> Iterator[dict]:
    """Website chat turns; the line number is the message ID, because the set has none."""
    with (folder / "chat_jd" / "chat.tsv").open(encoding="utf-8", newline="") as lines:
        for number, line in enumerate(lines, 1):
            session, user, is_agent, is_transfer, is_repeat, sku, text = line.rstrip("\r\n").split("\t")
            yield {
                "message_id": f"chat_jd:{number}",
                "session_id": session,
                "visitor_id": user,
                "sender": "agent" if is_agent == "1" else "visitor",
                "sent_at": _sent_at(number),
                "text": text,
                "extra": {"is_transfer": is_transfer, "is_repeat": is_repeat, "sku": None if sku == "nan" else sku},
            }


def replies_gov_zh(folder: Path) -> Iterator[dict]:
    """Complaint-site cases with the reply; times as the source writes them (2019/4/25 9:32:09)."""
    with (folder / "replies_gov_zh" / "replies.csv").open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield {
                "site": "leaders-message-board",
                "case_no": row["留言编号"],
                "title": row["留言主题"],
                "content": row["留言详情"],
                "created_at": row["留言时间"],
                "status": "已回复",
                "complainant": {"user_id": row["留言用户"]},
                "replies": [{"role": "merchant", "at": row["答复时间"], "content": row["答复意见"]}],
            }


def reviews_waimai_zh(folder: Path) -> Iterator[dict]:
    """App reviews without a score: the label of the set is somebody's reading of the text, not a customer's score."""
    with (folder / "reviews_waimai_zh" / "reviews_train.csv").open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            sent_ms = int((FIRST_SENT_AT + timedelta(seconds=number)).timestamp() * 1000)
            yield {
                "event_id": f"waimai:{number}",
                "event": "review",
                "ts": sent_ms,
                "user": {"id": f"waimai-{number}"},
                "content": {"text": row["review"]},
            }


def tickets_incident(folder: Path) -> Iterator[dict]:
    """Ticket events; ``?`` means missing and is left out."""
    with gzip.open(folder / "tickets_incident" / "incident_event_log.csv.gz", "rt", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            known = {name: value for name, value in row.items() if value != "?"}
            event = {
                "event_id": f"incident:{number}",
                "ticket_id": known["number"],
                "state": known.get("incident_state", "unknown"),
                "occurred_at": _european(known["sys_updated_at"]),
                "made_sla": known["made_sla"] == "true",
                "reassignment_count": int(known["reassignment_count"]),
                "reopen_count": int(known["reopen_count"]),
                "update_count": int(known["sys_mod_count"]),
            }
            renamed = {"assignment_group": "group", "assigned_to": "assigned_to", "caller_id": "caller"}
            renamed |= {n: n for n in ("priority", "impact", "urgency", "category", "subcategory", "contact_type")}
            event |= {ours: known[theirs] for theirs, ours in renamed.items() if theirs in known}
            event |= {n: _european(known[n]) for n in ("opened_at", "resolved_at", "closed_at") if n in known}
            yield event


SETS = {
    "chat_jd": RealSet("web_chat", 12_136, chat_jd),
    "replies_gov_zh": RealSet("complaint_site", 2_816, replies_gov_zh),
    "reviews_waimai_zh": RealSet("app", 8_390, reviews_waimai_zh),
    "tickets_incident": RealSet("ticket_system", 119_998, tickets_incident),
}


def write_ndjson(name: str, target: Path) -> int:
    """Write one set as NDJSON; the number of lines."""
    count = 0
    with target.open("w", encoding="utf-8") as file:
        for form in SETS[name].wire_forms(data_folder()):
            file.write(json.dumps(form, ensure_ascii=False) + "\n")
            count += 1
    return count


def _sent_at(number: int) -> str:
    return (FIRST_SENT_AT + timedelta(seconds=number)).isoformat()


def _european(text: str) -> str:
    """29/2/2016 01:23 → 2016-02-29 01:23."""
    return datetime.strptime(text, "%d/%m/%Y %H:%M").strftime("%Y-%m-%d %H:%M")
