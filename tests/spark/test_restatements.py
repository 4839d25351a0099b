"""A published figure that is another one now: what changed, why, and nothing that did not change."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from deltalake import DeltaTable

from jobs.spark import customer_360, customer_tags, hot_questions
from jobs.spark.sources import settled, silver_rows
from pipelines.io import duckdb_lake
from tests.unit.io.lake import AT, interaction, write

pytestmark = pytest.mark.spark
OPENID, PHONE = "op1_" + "a" * 32, "ph1_" + "b" * 32
PROVISIONAL = "p_" + "a" * 24


def link(token: str, customer: str | None, minutes: int) -> dict:
    recorded_at = AT + timedelta(minutes=minutes)
    return {"token": token, "token_type": "phone", "stretch": 0, "customer_id": customer,
            "valid_from_at": AT.replace(year=1970), "link_rule": "attested", "recorded_at": recorded_at}  # fmt: skip


def record(nth: int, topic: str, customer: str, updated_at=AT, **columns) -> dict:
    """A row of silver.customers or silver.orders about a moment of the 5th; it came when it says."""
    row = interaction(nth, channel=topic, customer_id=customer, received_at=updated_at, occurred_at=AT)
    return row | {"updated_at": AT} | columns


def order(nth: int, customer: str, amount_minor: int) -> dict:
    return record(nth, "orders", customer, order_id=f"o{nth}", amount_minor=amount_minor, order_status="paid",
                  currency="CNY", refunded_minor=0, ordered_at=AT, paid_at=AT)  # fmt: skip


@pytest.fixture
def lake(settings, tmp_path):
    """c1 has called; somebody wrote on WeChat whom nobody knows yet; c2 has nothing to do with them; c3 and c4 buy."""
    home = dataclasses.replace(settings, home=tmp_path)
    write(home.lake, "silver.interactions", [
        interaction(1, customer_id="c1", channel="phone", kind="consultation", phone_token=PHONE, text="怎么退货？"),
        interaction(2, customer_id=PROVISIONAL, identity_status="provisional", channel="wechat", openid_token=OPENID,
                    text="请问怎么退货", received_at=AT + timedelta(minutes=1)),
        interaction(3, customer_id="c2", channel="app", received_at=AT + timedelta(minutes=2)),
    ])  # fmt: skip
    write(home.lake, "silver.orders", [order(1, "c3", 100), order(2, "c4", 500)])
    write(home.lake, "silver.identity_links", [link(PHONE, "c1", 0)])
    return home


def build(spark, home, as_of: str, *jobs) -> None:
    """Build from what is there, as the runner does."""
    rows, versions = silver_rows(spark, home)
    rows = settled(rows).cache()
    for job in jobs:
        job.publish(rows, versions, home, job.parse_args(["--as-of", as_of]))
    rows.unpersist()


def ask(home, sql: str) -> list[tuple]:
    return list(duckdb_lake.ask(home.lake, sql).rows)


def told(home, table: str) -> set[tuple]:
    """(customer or question, column, old, new, reason) of the newest restatement of a table; a whole row is 'row'."""
    found = ask(home, f"""
      SELECT row_key, column_name, old_value, new_value, restatement_reason FROM gold.restatements
      WHERE table_name = '{table}' AND restated_run_id = (
        SELECT max(restated_run_id) FROM gold.restatements WHERE table_name = '{table}')""")  # fmt: skip
    return {(*json.loads(key).values(), column, *("row" if value and column is None else value for value in was_and_is),
             why) for key, column, *was_and_is, why in found}  # fmt: skip


def test_a_late_link_restates_both_customers_and_nobody_else(spark, lake):
    build(spark, lake, "2026-01-20", customer_360)
    write(lake.lake, "silver.identity_links", [link(OPENID, "c1", 60)])
    build(
        spark, lake, "2026-01-21", customer_360
    )  # a day later: figures of the 20th are compared, not those of the 21st
    rows = told(lake, "gold.customer_360")
    assert {("c1", "contacts", "1", "2", "identity"), ("c1", "channels", "1", "2", "identity"),
            (PROVISIONAL, None, "row", None, "identity")} <= rows  # fmt: skip
    assert {row[0] for row in rows} == {"c1", PROVISIONAL}
    assert ask(lake, "SELECT DISTINCT as_of_at::DATE::VARCHAR FROM gold.restatements") == [("2026-01-20",)]
    before = ask(lake, "SELECT count(*) FROM gold.restatements")
    build(spark, lake, "2026-01-21", customer_360)
    assert ask(lake, "SELECT count(*) FROM gold.restatements") == before, "nothing came, nothing is restated"


def test_what_came_late_restates_every_table_and_says_why(spark, lake):
    jobs = customer_360, customer_tags, hot_questions
    build(spark, lake, "2026-01-20", *jobs)
    late = AT + timedelta(days=3)
    asked = interaction(4, customer_id="c2", channel="sms", occurred_at=AT, received_at=late, text="怎么退货？")
    write(lake.lake, "silver.interactions", [asked])
    write(lake.lake, "silver.orders", [order(3, "c2", 300)])
    write(lake.lake, "silver.customers", [
        record(1, "crm", "c1", late, record_key="crm/1", crm_status="active", region="杭州"),
    ])  # fmt: skip
    build(spark, lake, "2026-01-21", *jobs)
    both = "late_records,late_rows"
    view = told(lake, "gold.customer_360")
    assert {("c2", "contacts", "1", "2", both), ("c2", "frequency", "0", "1", both),
            ("c1", "region", None, "杭州", "late_records")} <= view  # fmt: skip
    # Of 100 and 500 the larger exceeds two of the four cuts, of 100, 300 and 500 three; the smallest exceeds none.
    assert {row for row in view if row[0] in ("c3", "c4") and row[1] == "m_score"} == {
        ("c4", "m_score", "3", "4", "fifths")
    }
    tags = told(lake, "gold.customer_tags")
    assert {("c2", "value_tier", None, None, "row", both), ("c1", "region", None, None, "row", "late_records")} <= tags
    assert {row[0] for row in view | tags} == {"c1", "c2", "c4"}
    assert {row[3:] for row in told(lake, "gold.hot_questions")} >= {("askers", "2", "3", "late_rows")}

    # An erasure takes c2's message and the table's history: what came since can't be told, so everybody is compared.
    table = DeltaTable(str(lake.table_path("silver.interactions")))
    table.delete("raw_offset = 4")
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    build(spark, lake, "2026-01-21", customer_360, hot_questions)
    assert ("c2", "contacts", "2", "1", "rebuilt") in told(lake, "gold.customer_360")
    assert {row[3:] for row in told(lake, "gold.hot_questions")} >= {("askers", "3", "2", "rebuilt")}
