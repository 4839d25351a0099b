"""What a restored job is told: each event once, and of feedback the last of its kind, out of real tables."""

from datetime import UTC, datetime, timedelta

import orjson
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from infra.stack.settings import Ports, Settings
from pipelines import contracts
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.process import clean_columns
from pipelines.io.seen_messages import seeds
from pipelines.privacy.bronze_cipher import BronzeCipher
from pipelines.privacy.keys import MasterKey

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
KEY, TOPIC = MasterKey({1: bytes(32)}), "raw.web_chat"


def chat(number, **more):
    told = {"message_id": f"m{number}", "sender": "visitor", "sent_at": 1_767_959_000_000 + number, "session_id": "s1",
            "visitor_id": "v1", "text": f"第{number}次问:我的订单到哪里了", **more}  # fmt: skip
    return orjson.dumps(told)


RATING = {"event": "rating", "score": 2, "score_scale_max": 5, "text": "送得太慢了,等了三天"}
MESSAGES = [
    chat(0),  # kept
    chat(1, **RATING),  # feedback
    chat(2, **RATING),  # the same again: a repetition, and the last with its key
    b'{"broken',  # a reject that nobody could read
    chat(4, text="。"),  # a reject or kept, by rule: its event_id stands in no table if rejected
]


def judged(context):
    size = len(MESSAGES)
    batch = RawBatch(MESSAGES, [TOPIC] * size, [0] * size, list(range(size)), [int(NOW.timestamp() * 1e6)] * size,
                     ["shop"] * size, [None] * size, [0] * size, [None] * size)  # fmt: skip
    return clean_columns(batch, context, int(NOW.timestamp() * 1e6))


def table(name, records):
    schema = contracts.arrow_schema(contracts.table(name))
    rows = []
    for one in records:
        told = {field.name: one.get(field.name) for field in schema}
        rows.append({**told, "received_date": NOW.date()} if "received_date" in schema.names else told)
    return pa.Table.from_pylist(rows, schema)


@pytest.fixture
def lake(tmp_path):
    """As the stream would have written it: rows by topic, and the repetition as a duplicate."""
    settings, context = Settings(tmp_path, Ports(31000)), CleaningContext.create(KEY)
    columns = judged(context)
    sealed = BronzeCipher(KEY, bytes(16)).encrypt([0] * 5, list(range(5)), MESSAGES)
    common = [{"raw_topic": TOPIC, "raw_partition": 0, "raw_offset": n, "received_at": NOW} for n in range(5)]
    bronze = [{**one, "headers": '{"account": "shop"}', "payload_ciphertext": s}
              for one, s in zip(common, sealed, strict=True)]  # fmt: skip
    outputs = {"interactions.clean": "silver.interactions", "feedback.clean": "silver.feedback",
               "quarantine.rejects": "quarantine.rejects"}  # fmt: skip
    by_table = {"bronze.raw_events": bronze}
    for n, topic in enumerate(columns["topic"]):
        row = {**common[n], "processed_at": NOW, "event_id": columns["event_id"][n], "attempt": 0}
        if n == 2:
            by_table["quarantine.duplicates"] = [{**row, "rule": "feedback.repeated"}]
        else:
            by_table.setdefault(outputs[topic], []).append(row)
    for name, rows in by_table.items():
        schema = contracts.arrow_schema(contracts.table(name))
        loose = pa.schema([field.with_nullable(True) for field in schema])
        write_deltalake(settings.table_path(name), table(name, rows).cast(loose))
    return settings, context, columns


def told(lake, since):
    settings, context, _ = lake
    return {orjson.loads(value)["raw_offset"]: orjson.loads(value) for _, value in seeds(settings, context, KEY, since)}


def test_every_event_judged_since_is_told_with_its_place(lake):
    found, columns = told(lake, NOW - timedelta(hours=1)), lake[2]
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert [found[n]["event_id"] for n in range(5)] == columns["event_id"]
    assert {one["raw_topic"] for one in found.values()} == {TOPIC}


def test_of_feedback_the_last_is_what_the_next_one_is_compared_with(lake):
    found, columns = told(lake, NOW - timedelta(hours=1)), lake[2]
    assert columns["feedback_key"][1] == columns["feedback_key"][2] is not None, "or nothing is tested"
    assert "feedback_key" not in found[1]
    assert (found[2]["feedback_key"], found[2]["occurred_at"]) == (
        columns["feedback_key"][2],
        columns["occurred_us"][2],
    )
    assert [n for n, one in found.items() if "feedback_key" in one] == [2]


def test_what_was_judged_before_is_forgotten(lake):
    assert told(lake, NOW + timedelta(seconds=1)) == {}
