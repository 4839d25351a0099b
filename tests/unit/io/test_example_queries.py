"""Every query of docs/queries on a lake small enough to work its answer out by hand (DuckDB; Trino: tests/e2e)."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from infra.stack.settings import PROJECT_ROOT
from pipelines import contracts
from pipelines.io import duckdb_lake
from pipelines.io.answer import shown
from tests.unit.io.lake import AT, interaction, write

FOLDER = PROJECT_ROOT / "docs" / "queries"
QUERIES = sorted(file.stem for file in FOLDER.glob("*.sql"))
CHANNELS = (
    "phone", "app", "mini_program", "wechat", "wecom", "web_chat", "email", "social", "live_video", "sms", "store",
    "service_center", "complaint_site",
)  # fmt: skip
NO_CONTACTS = [(channel, 0, 0) for channel in sorted(CHANNELS) if channel not in ("phone", "app", "web_chat")]

EXPECTED = {
    "balance": [("raw.app", 30, 24, 3, 1, 2, 0, 0, 0), ("raw.phone", 7, 6, 0, 0, 0, 1, 0, 0)],
    # c1 wrote 3 times in the app, called once, chatted once; c2 called once and prefers nothing yet
    "contacts_per_channel": [("app", 3, 1), ("phone", 2, 0), ("web_chat", 1, 0), *NO_CONTACTS],
    # 02:00 UTC is 10 in China: a session of two turns, seven lone messages; 20:00 UTC is 4 the next morning
    "contacts_per_hour": [(4, 1, 1), (10, 8, 4)],
    "customer_over_channels": [
        ("c1", "2026-01-05 02:00:00 UTC", "phone", "message", "customer", "还没发货", None),
        ("c1", "2026-01-05 02:00:01 UTC", "app", "message", "customer", "还没发货", None),
        ("c1", "2026-01-05 02:00:02 UTC", "web_chat", "message", "customer", "还没发货", None),
        ("c1", "2026-01-05 02:00:03 UTC", "web_chat", "message", "customer", "还没发货", None),
        *(("c1", f"2026-01-05 02:01:0{n} UTC", "sms", "message", "customer", "还没发货", None) for n in range(4)),
        ("c1", "2026-01-05 03:00:00 UTC", "app", "feedback", "customer", "慢", 2.0),
    ],
    # the run of the second day: one of its two checks failed on 3 of 41 rows, so nothing was published
    "gate_results": [("gold.customer_360", 2, 1, 41, 3, False)],
    # the newest day only; 8 of 40 questions are 20 %
    "hottest_questions": [(1, "怎么退货？", 6, 8, 20.0, "app"), (2, "电子发票怎么开？", 4, 4, 10.0, "phone")],
    "rejects_by_rule": [
        ("app", "payload.not_json", 2, 30, "2026-01-05 02:01:00 UTC"),
        ("app", "text.blank", 1, 5, "2026-01-05 02:00:00 UTC"),
    ],
    # 20 calls of 1 to 20 seconds: the 10th and the 19th in order; the app's one is both
    "response_time_percentiles": [("app", 1, 7.5, 7.5), ("phone", 20, 10.0, 19.0)],
    # 4/5 and 2/3 are 8,000 + 6,667 of 20,000
    "satisfaction_by_identity": [("linked", 1, 5, 2, 2, 73.34), ("provisional", 1, 1, 0, 0, None)],
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables the queries read."""
    lake = tmp_path_factory.mktemp("lake")
    write(lake, "silver.interactions", _said())
    later = AT + timedelta(hours=1)
    feedback = interaction(9, channel="app", customer_id="c1", kind="feedback", text="慢", score=2.0, occurred_at=later)
    write(lake, "silver.feedback", [feedback])
    write(lake, "gold.data_balance", _balance())
    write(lake, "gold.customer_360", _customers())
    write(lake, "gold.hot_questions", _questions())
    write(lake, "quarantine.rejects", _rejects())
    write(lake, "gold.quality_results", _checks())
    return lake


def _said() -> list[dict]:
    def at(seconds: float) -> dict:
        return {"occurred_at": AT + timedelta(seconds=seconds), "text": "还没发货"}

    chat = {"channel": "web_chat", "session_id": "s1", "customer_id": "c1"}
    talk = [
        interaction(3, **chat, **at(3)),  # the later turn of the session stands first: the query orders
        interaction(2, **chat, **at(2)),
        interaction(1, channel="app", customer_id="c1", response_time_corrected_s=7.5, **at(1)),
        interaction(0, channel="phone", customer_id="c1", **at(0)),
        interaction(4, channel="email", customer_id="c2", **at(18 * 3600)),  # 20:00 UTC
        interaction(5, channel="web_chat", sender_role="agent", customer_id="c3", **at(5)),  # opens no contact
    ]
    messages = [interaction(20 + n, channel="sms", customer_id="c1", **at(60 + n)) for n in range(5)]  # four are shown
    calls = [
        # kind call: no contact of contacts_per_hour; 20 s down to 1 s, so that order has to be made
        interaction(
            120 - s, channel="phone", kind="call", customer_id="c4", response_time_corrected_s=float(s), **at(s)
        )
        for s in range(20, 0, -1)
    ]
    return talk + messages + calls


def _balance() -> list[dict]:
    names = ("received", "kept", "rejected", "in_review", "duplicate", "missing", "twice", "unknown")
    hours = [
        ("raw.app", 0, (10, 8, 1, 0, 1, 0, 0, 0)),
        ("raw.app", 1, (20, 16, 2, 1, 1, 0, 0, 0)),
        ("raw.phone", 0, (7, 6, 0, 0, 0, 1, 0, 0)),  # one is missing
    ]
    return [
        {"raw_topic": topic, "hour_at": AT + timedelta(hours=hour), "closed": True, "computed_at": AT}
        | dict(zip(names, counts, strict=True))
        for topic, hour, counts in hours
    ]


def _customers() -> list[dict]:
    zeros = {f.name: 0 for f in contracts.table("gold.customer_360").fields if f.type == "long"} | {"as_of_at": AT}
    known = {"customer_id": "c1", "identity_status": "linked", "channels": 3, "contacts": 5, "repeat_contacts": 2}
    known |= {"contacts_app": 3, "contacts_phone": 1, "contacts_web_chat": 1, "preferred_channel": "app"}
    known |= {"csat_count": 2, "csat_sum_bp": 8_000 + 6_667}
    other = {"customer_id": "c2", "identity_status": "provisional", "channels": 1, "contacts": 1, "contacts_phone": 1}
    return [zeros | other, zeros | known]


def _questions() -> list[dict]:
    zeros = {f.name: 0 for f in contracts.table("gold.hot_questions").fields if f.type == "long"}
    day = zeros | {"period_type": "day", "period_start_date": date(2026, 1, 5), "period_questions": 40}
    day |= {"question_id": "q", "key_terms": "问题"}
    first = day | {"question_rank": 1, "question": "怎么退货？", "askers": 6, "questions": 8, "top_channel": "app"}
    second = {"question_rank": 2, "question": "电子发票怎么开？", "askers": 4, "questions": 4, "top_channel": "phone"}
    day_before = first | {"period_start_date": date(2026, 1, 4), "question": "昨天的问题？"}
    week = first | {"period_type": "week", "question": "这周的问题？"}  # begins on the same date
    return [day | second, first, day_before, week]


def _rejects() -> list[dict]:
    def reject(nth: int, rule: str, payload_bytes: int, minutes: int) -> dict:
        at = AT + timedelta(minutes=minutes)
        place = {"raw_topic": "raw.app", "raw_partition": 0, "raw_offset": nth, "channel": "app", "rule": rule}
        return place | {"payload_bytes": payload_bytes, "received_at": at, "received_date": at.date()}

    return [
        reject(1, "text.blank", 5, 0),
        reject(2, "payload.not_json", 13, 1),
        reject(3, "payload.not_json", 17, 0),
    ]


def _checks() -> list[dict]:
    def check(run: int, name: str, bad_rows: int, published: bool) -> dict:
        at = AT + timedelta(days=run)
        result = {"run_id": f"r{run}", "table_name": "gold.customer_360", "check_name": name, "severity": "stop"}
        result |= {"passed": bad_rows == 0, "bad_rows": bad_rows, "checked_rows": 40 + run}
        return result | {"published": published, "checked_at": at}

    return [check(0, "unique", 0, True), check(1, "unique", 0, False), check(1, "channels_add_up", 3, False)]


@pytest.mark.parametrize("name", QUERIES)
def test_the_answer_is_the_one_worked_out_by_hand(lake: Path, name: str) -> None:
    answer = duckdb_lake.ask(lake, (FOLDER / f"{name}.sql").read_text(encoding="utf-8").strip())
    assert [tuple(shown(value) for value in row) for row in answer.rows] == EXPECTED[name]


def test_the_list_of_queries_names_every_file_and_no_other() -> None:
    listed = re.findall(r"^\| \[(\w+)\.sql\]\(\1\.sql\) \|", (FOLDER / "README.md").read_text("utf-8"), flags=re.M)
    assert sorted(listed) == QUERIES


@pytest.mark.parametrize("document", ["README.md", "README.zh-CN.md", "docs/queries/README.md", "jobs/ops/demo.py"])
def test_whoever_names_a_query_names_one_that_is_there(document: str) -> None:
    named = re.findall(r"docs/queries/(\w+)\.sql", (PROJECT_ROOT / document).read_text("utf-8"))
    assert named
    assert set(named) <= set(QUERIES)
