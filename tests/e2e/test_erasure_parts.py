"""What an erasure relies on, on a real broker and MariaDB: bytes leave the files, nobody else's are touched."""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from sqlalchemy import text

from infra.stack import kafka, mariadb
from pipelines.io import kafka_erasure, mariadb_erasure
from pipelines.io.committed_log import Collected, CommittedLog
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish
from pipelines.privacy.erasure import Person
from tests.bench.erasure_search import patterns, search

LIMIT_S = 60
NOT_YET = SimpleNamespace(partitions=())
SECRET = "梧桐路五号院"


@pytest.fixture
def admin(stack):
    return AdminClient({"bootstrap.servers": stack.bootstrap})


def new_topic(admin, **settings: str) -> str:
    name = f"test.{uuid.uuid4().hex[:8]}"
    for future in admin.create_topics([NewTopic(name, 2, 1, config=settings)], operation_timeout=30).values():
        future.result(30)
    assert until(lambda: len(admin.list_topics(timeout=10).topics.get(name, NOT_YET).partitions) == 2)
    return name


def until(done) -> bool:
    deadline = time.monotonic() + LIMIT_S
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def on_disk(stack, topic: str) -> bool:
    return any(topic in name for name in search(kafka.data_folder(stack).parent, patterns([SECRET])))


def settings_of(admin, topic: str) -> dict:
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(30).items()}


def test_a_quiet_topic_loses_what_was_passed_and_its_readers_see_no_gap(stack, admin):
    topic = new_topic(admin)
    before = settings_of(admin, topic)
    producer = Producer({"bootstrap.servers": stack.bootstrap, "compression.type": "zstd"})
    for number in range(50):
        producer.produce(topic, f"{SECRET} {number}".encode() * 10, partition=number % 2)
    producer.flush(30)
    assert on_disk(stack, topic)  # compressed: found only by who takes batches apart
    sources = CommittedLog(stack.bootstrap, [topic]).sources()
    ends = kafka_erasure.roll(stack.bootstrap, sources)
    assert set(ends.values()) == {25}  # where the aborted record stands, the first of its segment
    for source in sources:
        assert kafka_erasure.sees_nothing_before(stack.bootstrap, source, 25, 26)
        assert not kafka_erasure.sees_nothing_before(stack.bootstrap, source, 24, 26)
    with kafka_erasure.hasty(stack.bootstrap, [topic], kafka_erasure.DELETING):
        kafka_erasure.delete_before(stack.bootstrap, ends)
        assert until(lambda: not kafka_erasure.segments_before(kafka.data_folder(stack), ends))
    assert not on_disk(stack, topic)
    assert settings_of(admin, topic) == before
    producer.produce(topic, b"after", partition=0)
    producer.flush(30)
    reader = CommittedLog(stack.bootstrap, [topic])
    reader.start_at(ends)
    taken = reader.collect(Collected(), max_rows=9, max_bytes=9999, wait_s=10)
    reader.close()
    assert [message.value() for message in taken.messages] == [b"after"]


def test_a_keyed_topic_loses_one_key_with_its_removal_and_keeps_the_others(stack, admin):
    topic = new_topic(admin, **{"cleanup.policy": "compact"})
    told = [(f"k{n}", f"{SECRET if n == 7 else 'other'} {n}".encode()) for n in range(20)]
    publish(stack.bootstrap, topic, told, partitions=[1] * 20)  # where no hash of ours would put all of them
    assert on_disk(stack, topic)
    sources = CommittedLog(stack.bootstrap, [topic]).sources()
    with kafka_erasure.hasty(stack.bootstrap, [topic], kafka_erasure.COMPACTING):
        assert kafka_erasure.remove_keys(stack.bootstrap, sources, ["k7"]) == 2  # whichever partition it stands in

        def gone() -> bool:
            kafka_erasure.roll(stack.bootstrap, sources)
            time.sleep(2.5)  # the cleaner looks every 2 s
            return kafka_erasure.records_of(stack.bootstrap, topic, ["k7"]) == (0, 0)

        assert until(gone)
    assert until(lambda: not on_disk(stack, topic))
    assert kafka_erasure.records_of(stack.bootstrap, topic, [f"k{n}" for n in range(20)]) == (19, 0)


def test_mariadb_loses_rows_by_every_way_they_are_theirs_and_its_files_too(stack):
    engine, name = connect(stack.database_url), f"t_{uuid.uuid4().hex[:8]}"
    with engine.begin() as connection:
        connection.execute(
            text(
                f"CREATE TABLE {name} (raw_topic VARCHAR(64), raw_partition INT, raw_offset BIGINT, customer_id"
                " VARCHAR(64), phone_token VARCHAR(64), said LONGTEXT, INDEX (customer_id), INDEX (phone_token))"
            )
        )
        rows = [
            ("raw.sms", 0, 1, "c_1", None, SECRET),  # by customer
            ("raw.sms", 0, 2, "p_9", "ph1_7", SECRET),  # by token
            ("raw.sms", 0, 3, None, None, SECRET),  # by coordinates
            ("raw.sms", 1, 3, "c_2", "ph1_8", "other"),  # the offset of another partition
            ("raw.app", 0, 3, None, None, "other"),
            *(("raw.app", 0, 100 + n, f"c_{n + 10}", f"ph1_{n + 10}", "other") for n in range(2000)),
        ]
        names = ("t", "p", "o", "c", "ph", "s")
        connection.execute(
            text(f"INSERT INTO {name} VALUES (:t, :p, :o, :c, :ph, :s)"),
            [dict(zip(names, r, strict=True)) for r in rows],
        )
    who = Person(frozenset({"ph1_7"}), frozenset({"c_1"}), frozenset({"raw.sms/0/3"}))
    columns = mariadb_erasure.telling_tables(engine)[name]
    assert columns == ["raw_topic", "raw_partition", "raw_offset", "customer_id", "phone_token"]
    folder = mariadb.data_folder(stack)
    assert search(folder, patterns([SECRET]))  # the redo log has it from the moment of the commit
    assert mariadb_erasure.count_rows(engine, name, columns, who) == 3
    assert mariadb_erasure.delete_rows(engine, {name: columns}, who) == 3
    assert search(folder, patterns([SECRET]))  # deleted and still there
    root = connect(mariadb.root_url(stack))
    with root.connect() as connection:
        before = connection.exec_driver_sql("SELECT @@innodb_log_file_size, @@innodb_max_dirty_pages_pct").one()
    mariadb_erasure.scrub(root, [name])
    assert search(folder, patterns([SECRET])) == {}
    with root.connect() as connection:
        after = connection.exec_driver_sql("SELECT @@innodb_log_file_size, @@innodb_max_dirty_pages_pct").one()
        assert after == before
        assert connection.execute(text(f"SELECT COUNT(*) FROM {name} WHERE said = 'other'")).scalar_one() == 2002
        connection.execute(text(f"DROP TABLE {name}"))
