"""The jobs against a lake: what silver holds is published, and a defect planted in the checks keeps it back."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.spark import customer_360, customer_tags, hot_questions
from jobs.spark.sources import settled, silver_row_count, silver_rows
from pipelines import contracts
from pipelines.io import duckdb_lake, spark_delta
from pipelines.lineage.receivers import events_file
from pipelines.quality.gate import GateFailed
from tests.unit.io.lake import AT, interaction, write

pytestmark = pytest.mark.spark


@pytest.fixture
def lake(settings, tmp_path):
    """A home of its own with three contacts of two people."""
    home = dataclasses.replace(settings, home=tmp_path)
    rows = [
        interaction(1, customer_id="c1", channel="phone", kind="consultation", text="怎么退货？"),
        interaction(2, customer_id="c1", channel="app", text="请问怎么退货", received_at=AT + timedelta(hours=1)),
        interaction(3, customer_id="c2", channel="app", text="怎么退货？", received_at=AT + timedelta(hours=2)),
        interaction(4, channel="app", identity_status="anonymous", text="在吗", received_at=AT + timedelta(hours=3)),
    ]
    write(home.lake, "silver.interactions", rows)
    return home


def _sql(lake, sql):
    return list(duckdb_lake.ask(lake.lake, sql).rows)


def test_silver_is_published_and_a_defect_stops_what_comes_after(spark, lake, tmp_path, monkeypatch):
    assert silver_row_count(lake) == 4
    rows, versions = silver_rows(spark, lake)
    rows = settled(rows)
    assert versions == {"silver.interactions": 0, "silver.feedback": None, "silver.identity_links": None}
    customer_360.publish(rows, versions, lake, customer_360.parse_args(["--as-of", "2026-01-20"]))
    hot_questions.publish(rows, versions, lake, hot_questions.parse_args(["--as-of", "2026-01-20"]))
    found = _sql(lake, "SELECT customer_id, contacts, channels FROM gold.customer_360 ORDER BY 1")
    assert found == [("c1", 2, 2), ("c2", 1, 1)]
    assert _sql(lake, "SELECT question, askers, questions FROM gold.hot_questions") == [("怎么退货？", 2, 3)]
    assert _sql(lake, "SELECT count(*) FROM gold.quality_results WHERE NOT passed AND severity = 'stop'") == [(0,)]
    for table in ("gold.customer_360", "gold.hot_questions"):  # what a build says it read is what its contract says
        told = next(spark_delta.notes(lake.table_path(table)))
        assert set(told["sources"]) == set(contracts.table(table).reads)

    planted = tmp_path / "expectations"
    planted.mkdir()
    (planted / "gold.customer_360.yaml").write_text(
        "table: gold.customer_360\n"
        "checks:\n"
        "  - {name: nobody_comes_twice, severity: stop, holds: contacts < 2, because: planted}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("KEFULAKE_EXPECTATIONS", str(planted))
    before = _sql(lake, "SELECT * FROM gold.customer_360 ORDER BY customer_id")
    with pytest.raises(GateFailed, match=r'nobody_comes_twice: 1 rows, e\.g\. \[\{"customer_id": "c1"\}\]'):
        customer_360.publish(rows, versions, lake, customer_360.parse_args(["--as-of", "2026-01-20"]))
    assert _sql(lake, "SELECT * FROM gold.customer_360 ORDER BY customer_id") == before
    events = [json.loads(line) for line in events_file(lake).read_text(encoding="utf-8").splitlines()]
    ran = [(e["job"]["name"], e["eventType"], {Path(d["name"]).name for d in e["inputs"]}) for e in events]
    assert ran == [
        (job, state, {name.partition(".")[2] for name in contracts.table(f"gold.{job}").reads})
        for job, end in (("customer_360", "COMPLETE"), ("hot_questions", "COMPLETE"), ("customer_360", "FAIL"))
        for state in ("START", end)
    ]
    rows = [
        d["outputFacets"]["outputStatistics"]["rowCount"]
        for e in events
        if e["eventType"] == "COMPLETE"
        for d in e["outputs"]
    ]
    assert rows == [2, 1]
    verdict = "SELECT check_name, published, bad_rows FROM gold.quality_results WHERE NOT passed AND severity = 'stop'"
    assert _sql(lake, verdict) == [("nobody_comes_twice", False, 1)]


def test_a_day_rebuilt_replaces_that_day_only(spark, lake):
    rows, versions = silver_rows(spark, lake)
    rows = settled(rows)
    hot_questions.publish(rows, versions, lake, hot_questions.parse_args([]))
    later = AT + timedelta(days=1)
    more = [
        interaction(5 + i, customer_id=f"c{i}", text="电子发票怎么开？", received_at=later, channel="app")
        for i in range(2)
    ]
    write(lake.lake, "silver.interactions", more)
    rows, versions = silver_rows(spark, lake)
    rows = settled(rows)
    hot_questions.publish(rows, versions, lake, hot_questions.parse_args(["--since", "2026-01-06"]))
    days = _sql(lake, "SELECT CAST(period_start_date AS VARCHAR), question FROM gold.hot_questions ORDER BY 1")
    assert days == [("2026-01-05", "怎么退货？"), ("2026-01-06", "电子发票怎么开？")]


def _record(nth, topic, customer, updated_at, **columns):
    """A row of silver.customers or silver.orders with coordinates and clocks."""
    row = interaction(nth, channel=topic, customer_id=customer, received_at=updated_at)
    return row | {"raw_topic": f"raw.{topic}", "updated_at": updated_at} | columns


def test_tags_and_value_come_out_of_crm_and_orders_and_make_no_contact(spark, lake):
    base = {"record_key": "crm/1", "crm_status": "active", "region": "上海", "birth_year": 1990}
    order = {"order_status": "paid", "currency": "CNY", "refunded_minor": 0, "ordered_at": AT, "paid_at": AT}
    write(lake.lake, "silver.customers", [_record(1, "crm", "c1", AT, **base)])
    orders = [
        _record(1, "orders", "c1", AT, order_id="o1", amount_minor=500, **order),
        _record(2, "orders", "c3", AT, order_id="o2", amount_minor=100, **order),
    ]
    write(lake.lake, "silver.orders", orders)
    rows, versions = silver_rows(spark, lake)
    rows = settled(rows)
    for job in (customer_360, customer_tags):
        job.publish(rows, versions, lake, job.parse_args(["--as-of", "2026-01-20"]))
    found = _sql(
        lake, "SELECT customer_id, contacts, region, frequency, monetary_minor FROM gold.customer_360 ORDER BY 1"
    )
    # c3 is known by its order only; contacts are those of before
    assert found == [("c1", 2, "上海", 1, 500), ("c2", 1, None, 0, 0), ("c3", 0, None, 1, 100)]
    tags = _sql(
        lake, "SELECT customer_id, tag, tag_value FROM gold.customer_tags WHERE tag_group <> 'behaviour' ORDER BY ALL"
    )
    assert tags == [
        ("c1", "age_band", "35_44"),  # 36 in 2026
        ("c1", "region", "上海"),
        ("c1", "value_tier", "middle"),  # of two payers: above two of the four cuts
        ("c3", "value_tier", "low"),
    ]
    assert _sql(lake, "SELECT count(*) FROM gold.quality_results WHERE NOT passed AND severity = 'stop'") == [(0,)]
