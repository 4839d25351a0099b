"""A published figure that is another one now: what changed, why, and nothing that did not change."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from jobs.spark import customer_360
from jobs.spark.sources import silver_rows
from pipelines.io import duckdb_lake
from tests.unit.io.lake import AT, interaction, write

pytestmark = pytest.mark.spark
OPENID, PHONE = "op1_" + "a" * 32, "ph1_" + "b" * 32
PROVISIONAL = "p_" + "a" * 24


def link(token: str, customer: str | None, minutes: int) -> dict:
    recorded_at = AT + timedelta(minutes=minutes)
    return {"token": token, "token_type": "phone", "stretch": 0, "customer_id": customer,
            "valid_from_at": AT.replace(year=1970), "link_rule": "attested", "recorded_at": recorded_at}  # fmt: skip


@pytest.fixture
def lake(settings, tmp_path):
    """c1 has called; somebody wrote on WeChat whom nobody knows yet; c2 has nothing to do with them."""
    home = dataclasses.replace(settings, home=tmp_path)
    write(home.lake, "silver.interactions", [
        interaction(1, customer_id="c1", channel="phone", kind="consultation", phone_token=PHONE),
        interaction(2, customer_id=PROVISIONAL, identity_status="provisional", channel="wechat", openid_token=OPENID,
                    phone_token=None, received_at=AT + timedelta(minutes=1)),
        interaction(3, customer_id="c2", channel="app", received_at=AT + timedelta(minutes=2)),
    ])  # fmt: skip
    write(home.lake, "silver.identity_links", [link(PHONE, "c1", 0)])
    return home


def build(spark, home, as_of: str = "2026-01-20") -> list[tuple]:
    """Build gold.customer_360 from what is there; all its rows."""
    rows, versions = silver_rows(spark, home)
    rows = rows.cache()  # as the runner does
    customer_360.publish(rows, versions, home, customer_360.parse_args(["--as-of", as_of]))
    rows.unpersist()
    return ask(home, "SELECT * FROM gold.customer_360 ORDER BY customer_id")


def ask(home, sql: str) -> list[tuple]:
    return list(duckdb_lake.ask(home.lake, sql).rows)


RESTATED = """
SELECT row_key, column_name, old_value, new_value, restatement_reason FROM gold.restatements
WHERE coalesce(column_name, 'contacts') IN ('contacts', 'channels') ORDER BY restated_at, row_key, column_name
"""


def test_a_late_link_restates_both_customers_and_nobody_else(spark, lake):
    build(spark, lake)
    write(lake.lake, "silver.identity_links", [link(OPENID, "c1", 60)])
    build(spark, lake, "2026-01-21")  # a day later: figures of the 20th are compared, not those of the 21st
    c1, gone = ask(lake, RESTATED)[:2], ask(lake, RESTATED)[2:]
    assert [row[1:] for row in c1] == [("channels", "1", "2", "identity"), ("contacts", "1", "2", "identity")]
    assert {json.loads(row[0])["customer_id"] for row in c1} == {"c1"}
    [(key, column, old, new, reason)] = gone
    assert (json.loads(key), column, new, reason) == ({"customer_id": PROVISIONAL}, None, None, "identity")
    assert json.loads(old)["contacts"] == 1


def test_a_message_that_came_late_restates_its_customer(spark, lake):
    build(spark, lake)
    late = AT + timedelta(hours=3)
    write(lake.lake, "silver.interactions", [
        interaction(4, customer_id="c2", channel="sms", occurred_at=AT, received_at=late, processed_at=late),
    ])  # fmt: skip
    build(spark, lake)
    assert ask(lake, RESTATED) == [
        ('{"customer_id":"c2"}', "channels", "1", "2", "late_rows"),
        ('{"customer_id":"c2"}', "contacts", "1", "2", "late_rows"),
    ]


def test_merge_then_split_gives_every_row_back(spark, lake):
    first = build(spark, lake)
    write(lake.lake, "silver.identity_links", [link(OPENID, "c1", 60)])
    assert build(spark, lake) != first
    write(lake.lake, "silver.identity_links", [link(OPENID, None, 120)])
    assert build(spark, lake) == first
    contacts = "SELECT old_value, new_value FROM gold.restatements WHERE column_name = 'contacts' ORDER BY restated_at"
    assert ask(lake, contacts) == [("1", "2"), ("2", "1")]


def test_nothing_new_restates_nothing_and_a_second_try_does_not_double(spark, lake):
    build(spark, lake)
    build(spark, lake)
    assert not (lake.table_path("gold.restatements")).exists()
