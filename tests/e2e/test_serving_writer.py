"""The serving writer against a real broker and a real MariaDB: each committed interaction once, whatever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from sqlalchemy import text

from jobs.services import serving_writer
from pipelines import contracts
from pipelines.io.bulk_rows import RowsRefused
from pipelines.io.delta import LostRace, Move
from pipelines.io.mariadb import MariaStore, connect
from pipelines.service.history import history, history_by_phone

pytestmark = pytest.mark.soak

TOPIC = "interactions.clean"
BASE_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DEADLINE_S = 120


class Own:
    """What tells this test's rows from those of others on the shared stack."""

    topic = ""


def record(number: int, **changed: object) -> dict:
    """A clean interaction; `number` makes its raw coordinates, under a raw topic of this test's own."""
    at_us = BASE_US + number * 1_000_001
    return {
        "raw_topic": Own.topic, "raw_partition": number % 2, "raw_offset": number // 2, "attempt": 0,
        "event_id": f"{number:032x}", "channel": "web_chat", "account": "default", "source_revision": 0,
        "kind": "message", "sender_role": "customer", "session_id": f"s{number % 100}",
        "customer_id": f"c_{number % 50}", "identity_status": "linked", "text": f"第{number}条：还没发货",
        "occurred_at": at_us, "received_at": at_us + 1, "processed_at": at_us + 2, "response_time_corrected_s": 12.5,
    } | changed  # fmt: skip


def produce(settings, records, *, commit=True):
    """One transaction on the topic, spread over its partitions as keys fall."""
    producer = Producer({"bootstrap.servers": settings.bootstrap, "transactional.id": f"test-{uuid.uuid4().hex}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for one in records:
        value = one if isinstance(one, bytes) else json.dumps(one).encode()
        producer.produce(TOPIC, value, key=uuid.uuid4().bytes)
        producer.poll(0)
    if commit:
        producer.commit_transaction(60)
    else:
        producer.flush(30)
        producer.abort_transaction(60)


@pytest.fixture
def engine(stack):
    """The serving database with positions at the log's end."""
    Own.topic = f"raw.test_{uuid.uuid4().hex}"
    assert run_once(stack) == 0
    engine = connect(stack.database_url)
    yield engine
    engine.dispose()


def run_once(settings) -> int:
    """Its exit code. Fails, with what the writer said of itself, when it does not end in time; it is ended then."""
    process = serving_writer_process("--once")
    try:
        return process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        status = settings.run / "serving_writer.json"
        pytest.fail(f"--once still runs after {DEADLINE_S} s: {status.read_text() if status.exists() else 'no status'}")
    finally:
        process.kill()
        process.wait()


def serving_writer_process(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "jobs.services.serving_writer", *arguments])


@pytest.fixture
def start_writer():
    """Starts a writer; those that still run when the test is over, however it ended, are ended with it."""
    started: list[subprocess.Popen] = []

    def start() -> subprocess.Popen:
        started.append(serving_writer_process())
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def rows(engine, columns="raw_partition, raw_offset") -> list[tuple]:
    with engine.connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text(f"SELECT {columns} FROM interactions WHERE raw_topic = '{Own.topic}' ORDER BY 1, 2")
            )
        ]


def coordinates(numbers) -> list[tuple]:
    return sorted((number % 2, number // 2) for number in numbers)


def positions(engine) -> list[int]:
    with engine.connect() as connection:
        return sorted(connection.execute(text("SELECT next_offset FROM stream_offsets")).scalars())


HOSTILE = [
    "tab\tline\nreturn\rbackslash\\ both\\n end\\",
    "\\N",  # how LOAD DATA writes NULL
    "NULL",
    "",  # empty is not NULL
    "'; DROP TABLE interactions; -- \" %s %(x)s :name",
    "😀 𠮷 e\u0301 \u200b\u202e",
    "\x00\x01\x1a\x7f",
    "x" * 300_000,
    "，".join(["很长的中文"] * 5000),
]


@pytest.mark.parametrize("load_data", ["own_server", "never"])
def test_committed_records_stand_as_they_are_and_once(stack, engine, load_data):
    start = 1_000_000
    expected = [record(start + n, text=value, subject=None) for n, value in enumerate(HOSTILE)]
    produce(stack, expected)
    produce(stack, [record(start + 500)], commit=False)  # aborted: must never show
    policy = contracts.policy("serving") | {"load_data": load_data}
    stream = serving_writer.serving_stream(stack, policy)
    stream.rewind()
    until_written(stream)
    found = rows(engine, "event_id, text, subject, occurred_at, received_at, response_time_corrected_s, account")
    assert found == [
        (e["event_id"], e["text"], None, instant(e["occurred_at"]), instant(e["received_at"]), 12.5, "default")
        for e in expected
    ]
    assert run_once(stack) == 0  # started again, it writes nothing
    assert len(rows(engine)) == len(HOSTILE)


def until_written(stream):
    deadline = time.monotonic() + DEADLINE_S
    while not stream.caught_up:
        assert time.monotonic() < deadline
        if stream.collect(0.2):
            stream.write()
    stream.close()


def instant(us: int) -> datetime:
    return datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(microseconds=us)


def test_what_is_no_record_is_passed_over_and_an_overlong_id_is_cut(stack, engine):
    produce(stack, [b"no json", record(1, session_id="s" * 300), b'{"raw_topic": 5}', record(2)])
    assert run_once(stack) == 0
    assert rows(engine) == coordinates([1, 2])
    assert sorted(len(row[0]) for row in rows(engine, "session_id, 1")) == [2, 255]


@pytest.mark.parametrize("load_data", [True, False])
def test_a_duplicate_key_fails_loudly_and_nothing_is_written(stack, engine, load_data):
    table = contracts.table("silver.interactions")
    scratch = stack.run if load_data else None
    store = MariaStore(connect(stack.database_url, load_data=load_data), table, name="interactions", scratch=scratch)
    application = f"cluster/{uuid.uuid4()}/0"
    assert store.append(arrow([record(1)]), {application: Move(None, 1)}) == 1
    with pytest.raises(RowsRefused, match=r"[Dd]uplicate"):
        store.append(arrow([record(3), record(1)]), {application: Move(1, 3)})
    assert rows(engine) == coordinates([1])
    assert store.positions([application]) == {application: 1}


def arrow(records) -> pa.Table:
    schema = contracts.arrow_schema(contracts.table("silver.interactions"))
    whole = [{"received_date": None, **{name: None for name in schema.names}, **r} for r in records]
    return pa.Table.from_pylist(whole, schema=pa.schema([f.with_nullable(True) for f in schema]))


def test_of_two_writers_with_the_same_messages_one_commits(stack, engine):
    table = contracts.table("silver.interactions")
    one, other = (MariaStore(connect(stack.database_url), table, name="interactions") for _ in range(2))
    application = f"cluster/{uuid.uuid4()}/0"
    one.append(arrow([record(1)]), {application: Move(None, 1)})
    for stale in (Move(None, 1), Move(0, 1)):
        with pytest.raises(LostRace):
            other.append(arrow([record(1)]), {application: stale})
    assert other.append(arrow([record(3)]), {application: Move(1, 2)}) == 1
    assert rows(engine) == coordinates([1, 3])


def test_a_position_outside_the_log_is_refused_until_a_person_decides(stack, engine):
    produce(stack, [record(1)])
    before = positions(engine)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE stream_offsets SET next_offset = next_offset + 1000000 WHERE target_table = 'interactions'")
        )
    process = serving_writer_process("--once")
    assert process.wait(DEADLINE_S) == 1
    status = json.loads((stack.run / "serving_writer.json").read_text())["tables"]["interactions"]
    assert status["state"] == "refused"
    assert "outside" in status["error"] or "ends at" in status["error"]
    assert rows(engine) == []
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE stream_offsets SET next_offset = next_offset - 1000000 WHERE target_table = 'interactions'")
        )
    assert positions(engine) == before
    assert run_once(stack) == 0
    assert rows(engine) == coordinates([1])


def test_killed_at_random_and_with_a_second_writer_beside_it_no_row_is_lost_or_doubled(stack, engine, start_writer):
    numbers = range(100_000, 140_000)
    dice = random.Random(3)
    writers = [start_writer(), start_writer()]
    for part in range(8):
        produce(stack, [record(n) for n in numbers[part * 5000 : (part + 1) * 5000]])
        time.sleep(dice.uniform(0.2, 2.0))  # a moment to be killed in; nothing is awaited here
        victim = dice.randrange(2)
        os.kill(writers[victim].pid, signal.SIGKILL)
        writers[victim].wait()
        writers[victim] = start_writer()
    deadline = time.monotonic() + DEADLINE_S
    while len(rows(engine)) < len(numbers) and time.monotonic() < deadline:
        time.sleep(0.5)
    for writer in writers:
        writer.terminate()
        # The last one may be asked to stop while it is still being loaded: then the signal itself ends it.
        assert writer.wait(30) in (0, -signal.SIGTERM)
    assert rows(engine) == coordinates(numbers)


def test_recovers_when_mariadb_is_killed(stack, engine, start_writer):
    from infra.stack import supervisor

    writer = start_writer()
    produce(stack, [record(n) for n in range(2000)])
    os.kill(supervisor.states(stack)["mariadb"]["pid"], signal.SIGKILL)
    produce(stack, [record(n) for n in range(2000, 4000)])
    deadline = time.monotonic() + DEADLINE_S
    found: list = []
    while len(found) < 4000 and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            found = rows(engine)
        except Exception:
            found = []  # not up again yet
    writer.terminate()
    writer.wait(30)
    assert found == coordinates(range(4000))


def test_old_rows_go_in_small_steps(stack, engine):
    table = contracts.table("silver.interactions")
    store = MariaStore(connect(stack.database_url), table, name="interactions")
    ancient = [record(n, received_at=n * 1_000_001 + 1) for n in range(10)]  # 1970: older than any other test's rows
    store.append(arrow(ancient), {f"c/{uuid.uuid4()}/0": Move(None, 1)})
    limit_at = instant(5 * 1_000_001 + 1)  # number 5 was received at exactly that time: it stays
    assert store.delete_received_before(limit_at, rows=3) == 3
    assert store.delete_received_before(limit_at, rows=3) == 2
    assert rows(engine) == coordinates(range(5, 10))


def test_history_is_the_customers_latest_first_over_channels(stack, engine):
    table = contracts.table("silver.interactions")
    store = MariaStore(connect(stack.database_url), table, name="interactions")
    anna, phone = f"c_{uuid.uuid4().hex}", f"ph1_{uuid.uuid4().hex}"
    contacts = [
        record(1, customer_id=anna, channel="phone"),
        record(2, customer_id=anna, channel="app"),
        record(3, customer_id="c_2"),  # somebody else
        record(4, customer_id="p_9" + phone, phone_token=phone),  # before the phone was linked
        record(5, customer_id=anna, phone_token=phone),  # the same phone, linked
    ]
    store.append(arrow(contacts), {f"c/{uuid.uuid4()}/0": Move(None, 1)})
    with engine.connect() as connection:
        assert [c.channel for c in history(connection, anna, 10)] == ["web_chat", "app", "phone"]
        assert [c.event_id for c in history(connection, anna, 1)] == [f"{5:032x}"]
        assert history(connection, "nobody", 10) == []
        by_phone = history_by_phone(connection, [phone], 10)
        assert [c.event_id for c in by_phone] == [f"{n:032x}" for n in (5, 4, 2, 1)]
        assert by_phone[0].occurred_at == instant(contacts[4]["occurred_at"]).replace(tzinfo=UTC)


def test_a_column_new_in_the_contract_is_added(stack, engine):
    whole = contracts.table("silver.interactions")
    name = f"t_{uuid.uuid4().hex[:12]}"
    narrow = contracts.Table(**{**whole.__dict__, "fields": whole.fields[:12]})
    MariaStore(engine, narrow, name=name)
    store = MariaStore(engine, whole, name=name)
    assert store.append(arrow([record(1)]), {f"c/{uuid.uuid4()}/0": Move(None, 1)}) == 1
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT text FROM {name}")).scalar_one() == record(1)["text"]
