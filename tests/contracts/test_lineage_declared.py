"""What the contracts say of who reads and writes what is what the code does: lineage can't drift from it."""

from __future__ import annotations

import re

import pytest

from infra.stack.settings import PROJECT_ROOT
from jobs.flink.cleaning_sql import insert_outputs
from jobs.ops import identity, identity_match
from jobs.services import identity_resolver, serving_writer
from jobs.spark import baselines, increments
from jobs.spark.sources import RECORDS, SILVER
from pipelines import contracts
from pipelines.cleaning.process import KEPT_TOPICS, REJECTS, REVIEW
from pipelines.cleaning.remembered import SEEDED, SEEN
from pipelines.io import (
    audit_log,
    balance_table,
    erasure_errands,
    identity_store,
    seen_messages,
    served_customers,
    vault_topic,
)
from pipelines.lineage.code import place_of
from pipelines.migration import history_rows
from pipelines.tables.data_balance import BRONZE

TABLES, TOPICS = contracts.tables(), contracts.topics()
# Written by a command out of what happened, not out of a table.
FROM_NOTHING: set[str] = set()


def produced(job: str) -> set[str]:
    return {name for name, topic in TOPICS.items() if job in topic.producers}


def consumed(job: str) -> set[str]:
    return {name for name, topic in TOPICS.items() if job in topic.consumers}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_says_who_writes_it_and_from_what(name):
    table = TABLES[name]
    assert table.producers, f"{name}: producers is missing"
    assert table.topics or table.reads or name in FROM_NOTHING, f"{name}: neither topics nor reads"


def test_every_job_that_is_named_has_its_module():
    named = {job for t in TABLES.values() for job in t.producers}
    named |= {job for t in TOPICS.values() for job in (*t.producers, *t.consumers)}
    assert {job for job in named if place_of(job) is None} == set()


@pytest.mark.parametrize(
    ("table", "sources"),
    [
        ("gold.customer_360", increments.TABLES),
        ("gold.customer_tags", {*SILVER, *RECORDS}),
        ("gold.hot_questions", SILVER),
        ("gold.data_balance", balance_table.INPUTS),
        ("serving.customer_360", (served_customers.GOLD, served_customers.TAGS)),
        ("serving.builds", (served_customers.GOLD, served_customers.TAGS)),
        ("identity.claims", identity_resolver.TOPICS),
        ("identity.matched", (identity_match.CUSTOMERS, identity_match.VAULT)),
    ],
)
def test_a_table_is_made_from_what_its_job_reads(table, sources):
    assert set(TABLES[table].reads) == set(sources)


def test_the_cleaning_job_writes_what_it_is_said_to():
    in_sql = set(re.findall(r"'([a-z_]+\.[a-z_]+)'", insert_outputs(1))) & set(TOPICS)
    assert produced("clean_interactions") == {*KEPT_TOPICS, REJECTS, REVIEW, SEEDED} | in_sql
    assert in_sql == {"quarantine.duplicates", "identity.vault"}


def test_the_cleaning_job_reads_what_it_is_said_to():
    raw = {name for name, topic in TOPICS.items() if topic.format == "raw"}
    text = (PROJECT_ROOT / "jobs/flink/cleaning_function.py").read_text(encoding="utf-8")
    tailed = set(re.findall(r'CompactedTail\(self\._bootstrap, "([a-z_.]+)"\)', text))
    assert tailed == {"identity.map", "policy.baselines"}
    assert consumed("clean_interactions") == raw | tailed | {SEEN}
    assert TOPICS[SEEDED].reads == (SEEN,)
    told = {*seen_messages._NAMED, *seen_messages._JUDGED_AGAIN, seen_messages._REPEATED, BRONZE}
    assert set(TOPICS[SEEN].reads) == told


def test_history_goes_beside_the_stream():
    beside = {name for name, table in TABLES.items() if table.engine == "tiering" and "migrate" in table.producers}
    assert beside == {BRONZE, *history_rows._TABLE_OF_TOPIC.values()}


def test_services_read_the_topics_that_name_them():
    assert consumed("identity_resolver") == set(identity_resolver.TOPICS)
    assert consumed("serving_writer") == set(contracts.table(serving_writer.TABLE).topics)
    tiered = {topic for table in TABLES.values() if table.engine == "tiering" for topic in table.topics}
    assert consumed("tiering") == tiered | {erasure_errands.COMMANDS}


def test_topics_that_are_made_from_tables():
    out = {identity_store.MAP_TOPIC, identity_store.LINKS_TOPIC, identity_store.EVENTS_TOPIC}
    assert {name for name, topic in TOPICS.items() if "identity.outbox" in topic.reads} == out
    assert set(TOPICS[baselines.TOPIC].reads) == set(SILVER)
    assert produced("baselines") == {baselines.TOPIC}
    assert TOPICS[erasure_errands.RESULTS].reads == (erasure_errands.COMMANDS,)
    assert produced("audit") == {audit_log.TOPIC}


def test_the_vault_is_filled_by_the_stream_the_import_and_the_rotation():
    assert identity.VAULT_TOPIC == vault_topic.TOPIC
    assert set(TOPICS[vault_topic.TOPIC].producers) == {"clean_interactions", "identity", "keys"}
