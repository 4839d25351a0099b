"""Both engines: every example query gives the same rows on DuckDB and on Trino, and again after new data came in."""

from __future__ import annotations

import random
import re
import subprocess
import time
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from infra.stack import ports
from infra.stack.settings import PROJECT_ROOT, Settings
from infra.trino import server
from pipelines import contracts
from pipelines.io import duckdb_lake, trino_catalog
from pipelines.io.answer import QueryRefused, shown
from tests.unit.io.lake import AT, interaction, write

pytestmark = pytest.mark.trino
QUERIES = sorted((PROJECT_ROOT / "docs" / "queries").glob("*.sql"))
CHANNELS = ("phone", "app", "wechat", "web_chat", "email")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A home with a lake and a Trino of its own; no other part of the stack runs."""
    settings = Settings.load(tmp_path_factory.mktemp("trino"), ports.free_base(27_400))
    if not (settings.jars / "trino").exists():
        pytest.fail("Trino was not fetched (821 MB), and these tests were asked for by their mark: make test-trino")
    _day(settings.lake, 0)
    server.prepare(settings)
    with open(settings.home / "trino.out", "w", encoding="utf-8") as output:
        process = subprocess.Popen(server.command(settings), stdout=output, stderr=output, start_new_session=True)
    try:
        _await(settings, process)
        yield settings
    finally:
        process.terminate()
        process.wait(60)


def _await(settings: Settings, process: subprocess.Popen, limit_s: float = 300) -> None:
    deadline = time.monotonic() + limit_s
    while (why := server.health(settings)) is not None:
        tail = (settings.home / "trino.out").read_text(encoding="utf-8")[-2000:]
        assert process.poll() is None, f"Trino ended: {tail}"
        assert time.monotonic() < deadline, f"Trino {why} after {limit_s} s: {tail}"
        time.sleep(0.5)


def _day(lake: Path, nth: int) -> None:
    """One more day of data in every table the example queries read; the numbers are seeded, so a failure repeats."""
    dice = random.Random(nth)
    at = AT + timedelta(days=nth)
    rows = [_interaction(dice, at, nth * 1000 + i) for i in range(200)]
    write(lake, "silver.interactions", rows)
    write(lake, "silver.feedback", [r | {"kind": "feedback", "raw_partition": 1, "score": 4.0} for r in rows[:20]])
    write(lake, "gold.data_balance", [_balance(dice, at, channel) for channel in CHANNELS])
    write(lake, "gold.customer_360", [_customer(dice, at, nth * 100 + i) for i in range(40)])
    write(lake, "gold.hot_questions", [_question(dice, at.date(), rank) for rank in range(1, 13)])
    reject = {"raw_topic": "raw.app", "raw_partition": 0, "rule": "payload.not_json", "channel": "app"}
    reject |= {"received_at": at, "received_date": at.date(), "payload_bytes": 17}
    write(lake, "quarantine.rejects", [reject | {"raw_offset": nth * 10 + i} for i in range(3)])
    result = {"run_id": f"r{nth}", "table_name": "gold.customer_360", "severity": "stop", "checked_at": at}
    result |= {"checked_rows": 40, "bad_rows": nth, "published": nth == 0}
    checks = [result | {"check_name": name, "passed": nth == 0} for name in ("unique:customer_id", "channels_add_up")]
    write(lake, "gold.quality_results", checks)


def _interaction(dice: random.Random, at: datetime, nth: int) -> dict:
    channel = dice.choice(CHANNELS)
    # c1 speaks on every channel: somebody must come over three.
    customer = "c1" if nth % 17 == 0 else dice.choice([None, f"c{dice.randrange(40)}"])
    waited = round(dice.lognormvariate(3, 1), 3) if nth % 3 else None
    return interaction(
        nth,
        channel=channel,
        customer_id=customer,
        received_at=at + timedelta(milliseconds=dice.randrange(86_400_000)),
        session_id=f"s{nth // 5}" if channel == "web_chat" else None,
        text=dice.choice(["怎么退货？", "电子发票怎么开？", None, 'it\'s "quoted"\n']),
        response_time_s=waited,
        response_time_corrected_s=waited,
        score=dice.choice([None, 0.1 + 0.2]),
    )


def _balance(dice: random.Random, at: datetime, channel: str) -> dict:
    received = dice.randrange(1000)
    zero = dict.fromkeys(("rejected", "in_review", "duplicate", "missing", "twice", "unknown"), 0)
    row = {"raw_topic": f"raw.{channel}", "hour_at": at, "received": received, "kept": received}
    return row | zero | {"closed": True, "computed_at": at}


def _customer(dice: random.Random, at: datetime, nth: int) -> dict:
    zeros = {f.name: 0 for f in contracts.table("gold.customer_360").fields if f.type == "long"}
    row = zeros | {"customer_id": f"c{nth}", "identity_status": dice.choice(["linked", "provisional"]), "as_of_at": at}
    row |= {"channels": dice.randrange(1, 6), "contacts": dice.randrange(1, 9), "repeat_contacts": dice.randrange(3)}
    row |= {"contacts_phone": dice.randrange(5), "contacts_app": dice.randrange(5), "csat_count": dice.randrange(3)}
    row |= {"csat_sum_bp": row["csat_count"] * dice.randrange(10_001), "preferred_channel": dice.choice(CHANNELS)}
    return row | ({"channels": 9} if nth == 1 else {})


def _question(dice: random.Random, day: date, rank: int) -> dict:
    row = {"period_type": "day", "period_start_date": day, "question_rank": rank, "question_id": f"{day}-{rank}"}
    row |= {"question": f"问题{rank}？", "key_terms": "问题", "askers": 20 - rank, "questions": dice.randrange(20, 60)}
    return row | {"period_questions": 999, "period_askers": 300, "period_outliers": 7, "top_channel": "app"}


def _both(settings: Settings, sql: str) -> tuple[list, list]:
    answers = duckdb_lake.ask(settings.lake, sql), trino_catalog.ask(settings, sql)
    left, right = ([[shown(v) for v in row] for row in a.rows] for a in answers)
    assert [c.lower() for c in answers[0].columns] == [c.lower() for c in answers[1].columns]
    return left, right


def _assert_all_equal(settings: Settings) -> dict[str, list]:
    found = {}
    trino_catalog.sync(settings)
    for query in QUERIES:
        left, right = _both(settings, query.read_text(encoding="utf-8").strip())
        assert left == right, query.name
        assert left, f"{query.name} gives no row: equality would prove nothing"
        found[query.stem] = left
    return found


def test_examples_agree_and_agree_again_after_new_data(settings):
    assert len(QUERIES) >= 6
    before = _assert_all_equal(settings)
    _day(settings.lake, 1)
    after = _assert_all_equal(settings)
    assert {name for name in before if before[name] == after[name]} == set(), "new data must show in every answer"


def test_a_changed_table_shows_in_both(settings):
    trino_catalog.sync(settings)
    path = str(settings.table_path("silver.feedback"))
    DeltaTable(path).delete("channel = 'phone'")
    left, right = _both(
        settings, "SELECT channel, count(*) AS n FROM silver.feedback GROUP BY channel ORDER BY channel"
    )
    assert left == right
    assert "phone" not in {row[0] for row in left}


def test_the_catalogue_follows_the_lake(settings):
    write(settings.lake, "silver.ticket_events", [interaction(1, channel="ticket_system", kind="ticket_event")])
    assert trino_catalog.sync(settings) == ["registered silver.ticket_events"]
    assert trino_catalog.sync(settings) == []
    log = settings.table_path("silver.ticket_events") / "_delta_log"
    log.rename(log.with_name("gone"))
    assert trino_catalog.sync(settings) == ["forgot silver.ticket_events"]


@pytest.mark.parametrize("name", ["silver.identity_links", "review.queue"])
def test_a_table_that_is_not_there_yet_is_said_to_be_so(settings, name):
    """No row of it came in yet: of the one the schema is there, of the other not even that."""
    trino_catalog.sync(settings)
    with pytest.raises(QueryRefused, match="kefulake tables lists the tables"):
        list(trino_catalog.ask(settings, f"SELECT * FROM {name}").rows)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO silver.feedback SELECT * FROM silver.feedback",
        "DELETE FROM silver.feedback",
        "DROP TABLE silver.feedback",
        "CREATE TABLE silver.mine AS SELECT 1 AS a",
        "CREATE SCHEMA delta.mine",
        "ALTER TABLE silver.feedback EXECUTE optimize",
        "CALL delta.system.unregister_table('silver', 'feedback')",
        "CALL delta.system.vacuum('silver', 'feedback', '0s')",
    ],
)
def test_analysts_only_read(settings, sql):
    trino_catalog.sync(settings)
    before = DeltaTable(str(settings.table_path("silver.feedback"))).version()
    with pytest.raises(QueryRefused, match=re.compile("denied|not enabled|does not allow", re.IGNORECASE)):
        list(trino_catalog.ask(settings, sql).rows)
    assert DeltaTable(str(settings.table_path("silver.feedback"))).version() == before


def test_without_trino_the_message_says_how_to_start_it(tmp_path):
    nobody = Settings.load(tmp_path, ports.free_base(27_500))
    with pytest.raises(QueryRefused, match="kefulake up --with trino"):
        trino_catalog.ask(nobody, "SELECT 1")
