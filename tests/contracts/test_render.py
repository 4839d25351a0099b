"""One contract, each engine's form: worked on the small table gold.data_balance and the topic of duplicates."""

import pyarrow as pa
import pytest

from pipelines import contracts
from pipelines.contracts import ContractError


def test_a_key_is_not_null_in_every_form():
    balance = contracts.table("gold.data_balance")
    arrow = contracts.arrow_schema(balance)
    assert [f.name for f in arrow if not f.nullable] == ["raw_topic", "hour_at"]
    assert contracts.spark_schema(balance)["hour_at"].nullable is False
    ddl = contracts.mariadb_ddl(balance)
    assert "`hour_at` DATETIME(6) NOT NULL" in ddl
    assert "PRIMARY KEY (`raw_topic`, `hour_at`)" in ddl


def test_instants_are_integers_on_topics_and_timestamps_in_tables():
    assert contracts.arrow_schema(contracts.topic("interactions.clean")).field("occurred_at").type == pa.int64()
    table = contracts.arrow_schema(contracts.table("silver.interactions"))
    assert table.field("occurred_at").type == pa.timestamp("us", tz="UTC")


def test_a_table_has_the_columns_of_its_topic_and_its_own():
    topic = [f.name for f in contracts.topic("interactions.clean").fields]
    table = [f.name for f in contracts.table("silver.interactions").fields]
    assert table == [*topic, "received_date"]


def test_flink_columns_are_quoted_and_option_values_escaped():
    ddl = contracts.flink_ddl(contracts.topic("review.queue"), {"connector": "kafka", "topic": "it's"})
    assert "`text` STRING" in ddl  # a reserved word in Flink SQL
    assert "'topic' = 'it''s'" in ddl


def test_raw_topics_have_no_columns_to_render():
    for render in (contracts.json_schema, lambda t: contracts.flink_ddl(t, {})):
        with pytest.raises(ContractError, match="raw bytes"):
            render(contracts.topic("raw.app"))


def test_expectations_take_closed_sets_from_the_fields():
    checks = contracts.expectations(contracts.table("silver.interactions"))
    status = next(c for c in checks if c["check"] == "in_set" and c["columns"] == ["identity_status"])
    assert status["values"] == ["linked", "provisional", "anonymous"]
    assert status["severity"] == "stop"


def test_docs_page_states_grain_unit_and_values():
    page = contracts.docs_page(contracts.table("silver.feedback"))
    assert "- Grain: one row per kept score, review or complaint (raw message)" in page
    assert "| `response_time_s` | double | s |" in page
    assert "(linked, provisional, anonymous)" in page
