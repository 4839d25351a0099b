"""Raw messages into a backup and back to their offsets, on a real broker."""

from __future__ import annotations

import time
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipelines.backup import store
from pipelines.backup.manifest_writer import Writer
from pipelines.io import backup_topics, kafka_erasure, progress, raw_rewrite
from pipelines.io.backup_topics import Record, TopicTail
from pipelines.io.committed_log import Collected, CommittedLog
from pipelines.privacy.keys import MasterKey

HEADERS = [("account", b"shop"), ("account", b"\xff not text"), ("empty", None)]


@pytest.fixture
def topic(stack):
    name = f"test.{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    # Messages of the past, as a restore writes them: the broker's own look for old segments must not come in between.
    wanted = NewTopic(name, 1, 1, config={"retention.ms": "-1"})
    for future in admin.create_topics([wanted], operation_timeout=30).values():
        future.result(30)
    deadline = time.monotonic() + 30
    while name not in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.1)
    return name


def send(stack, topic, *values):
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    for n, value in enumerate(values):
        producer.produce(topic, value, key=b"k", headers=HEADERS, timestamp=1_767_960_000_000 + n)
    producer.flush(30)


def read(stack, topic):
    """Offset, time, key, headers and value of all that readers of committed records see."""
    log = CommittedLog(stack.bootstrap, [topic])
    (source,) = log.sources()
    log.start_at({source: log.bounds(source)[0]})
    found = Collected()
    deadline = time.monotonic() + 30
    while not log.at_end() and time.monotonic() < deadline:
        log.collect(found, max_rows=1000, max_bytes=1 << 20, wait_s=1)
    low, high = log.bounds(source)
    log.close()
    told = [Record(m.offset(), m.timestamp()[1], m.key(), m.headers(), m.value()) for m in found.messages]
    return told, low, high


def test_a_tail_comes_back_byte_by_byte_and_goes_when_bronze_has_it(stack, topic, tmp_path):
    key, covered = MasterKey({1: bytes(32)}), 0
    tail = TopicTail(stack.bootstrap, [topic], key)

    def ship(number):
        writer = Writer.open(tmp_path)
        told = tail.ship(writer, lambda sources: dict.fromkeys(sources, covered), wait_s=5, round_=number)
        return told, writer.seal(at=float(number), tables={}, ends=told.ends, facts={})

    send(stack, topic, b"one", b"two", None)
    told, state = ship(1)
    assert (told.records, told.ends, told.newest_ms) == (3, {f"{topic}/0": 3}, 1_767_960_000_002)
    ((path, line),) = state.of("tail").items()
    assert backup_topics.opened(store.read_out(tmp_path, line), key, path) == [
        Record(n, 1_767_960_000_000 + n, b"k", HEADERS, value) for n, value in enumerate((b"one", b"two", None))
    ]
    assert b"two" not in (tmp_path / path).read_bytes()

    send(stack, topic, b"four")
    told, state = ship(2)
    assert (told.records, told.ends) == (1, {f"{topic}/0": 4})
    covered = 3
    told, state = ship(3)
    assert (told.records, told.ends) == (0, {f"{topic}/0": 4})  # nothing new, and the end stays what it was
    assert [line["first"] for line in state.of("tail").values()] == [3]
    assert state.ends == {f"{topic}/0": 4}
    assert not (tmp_path / path).exists()


def test_the_tails_of_two_tables_leave_each_other_alone(stack, topic, tmp_path):
    key, covered = MasterKey({1: bytes(32)}), {"tail": 0, "vault_tail": 0}
    tails = {what: TopicTail(stack.bootstrap, [topic], key, what) for what in covered}
    send(stack, topic, b"one", b"two")
    for number in (1, 2):
        writer = Writer.open(tmp_path)
        for what, tail in tails.items():
            tail.ship(writer, lambda sources, at=covered[what]: dict.fromkeys(sources, at), wait_s=5, round_=number)
        state = writer.seal(at=float(number), tables={}, ends={}, facts={})
        covered["tail"] = 2  # bronze has them now, the vault's table has not
    assert (len(state.of("tail")), len(state.of("vault_tail"))) == (0, 1)
    ((path, line),) = state.of("vault_tail").items()
    records = backup_topics.opened(store.read_out(tmp_path, line), key, path)
    assert [record.value for record in records] == [b"one", b"two"]


def test_an_entry_of_an_open_transaction_is_in_the_vaults_tail_and_holds_an_erasure(stack, topic, tmp_path):
    key = MasterKey({1: bytes(32)})
    producer = Producer({"bootstrap.servers": stack.bootstrap, "transactional.id": f"open-{uuid.uuid4().hex}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"an entry", key=b"ph1_aa", partition=0)
    producer.flush(30)
    shipped = {}
    for what in ("tail", "vault_tail"):
        writer = Writer.open(tmp_path / what)
        TopicTail(stack.bootstrap, [topic], key, what).ship(
            writer, lambda sources: dict.fromkeys(sources, 0), wait_s=5, round_=1
        )
        shipped[what] = len(writer.seal(at=1.0, tables={}, ends={}, facts={}).of(what))
    assert shipped == {"tail": 0, "vault_tail": 1}
    (source,) = CommittedLog(stack.bootstrap, [topic]).sources()
    assert not kafka_erasure.sees_nothing_before(stack.bootstrap, source, 0, 1)
    producer.abort_transaction(30)
    assert kafka_erasure.sees_nothing_before(stack.bootstrap, source, 0, 1)


def test_what_ends_a_segment_is_no_entry(stack, topic, tmp_path):
    """As an erasure rolls a log: the record counts for no file, or it would stay until the table is past it."""
    key, source = MasterKey({1: bytes(32)}), CommittedLog(stack.bootstrap, [topic]).sources()
    send(stack, topic, b"one")
    kafka_erasure.roll(stack.bootstrap, source)
    writer = Writer.open(tmp_path)
    tail = TopicTail(stack.bootstrap, [topic], key, "vault_tail")
    tail.ship(writer, lambda sources: dict.fromkeys(sources, 0), wait_s=5, round_=1)
    state = writer.seal(at=1.0, tables={}, ends={}, facts={})
    assert [(line["first"], line["end"]) for line in state.of("vault_tail").values()] == [(0, 1)]


def test_a_command_that_was_taken_back_is_not_the_newest_copy_of_its_topic(stack, topic, tmp_path):
    """As the command of an erasure: there while it runs, then a tombstone; the topic is again as it was before."""
    key = MasterKey({1: bytes(32)})
    for number, value in enumerate((None, b"forget ph1_aa", None, None), start=1):
        send(stack, topic, value)
        writer = Writer.open(tmp_path)
        backup_topics.ship_compacted(writer, stack.bootstrap, topic, key, number)
        state = writer.seal(at=float(number), tables={}, ends={}, facts={})
    assert len(state.of("topic")) == 3  # the fourth round found nothing new
    newest = backup_topics.newest_copies(state)[topic]
    assert backup_topics.opened(store.read_out(tmp_path, newest), key, newest["path"]) == []


def test_messages_land_at_their_offsets_and_gaps_are_seen_by_nobody(stack, topic):
    # 2 and 3 were erased, 5 alone was a marker, and so was what stood at the end.
    records = [Record(n, 1_767_960_000_000 + n, b"k", HEADERS, f"message {n}".encode()) for n in (0, 1, 4, 6, 7)]
    assert raw_rewrite.rewrite(stack.bootstrap, f"{topic}/0", records, 0, 11, lambda _: None) == 5
    found, low, high = read(stack, topic)
    assert found == records
    assert (low, high) == (0, 11)
    send(stack, topic, b"the next")
    assert read(stack, topic)[0][-1].offset == 11


def test_a_log_that_does_not_begin_there_is_noticed(stack, topic):
    send(stack, topic, b"somebody else's")
    with pytest.raises(raw_rewrite.OffsetMissed, match="a message of offset 0 landed at 1"):
        raw_rewrite.rewrite(stack.bootstrap, f"{topic}/0", [Record(0, 1, None, None, b"v")], 0, 1, lambda _: None)


def test_a_job_that_has_read_nothing_stands_where_the_log_begins(stack, topic):
    send(stack, topic, b"gone", b"gone as well", b"left")
    (source,) = CommittedLog(stack.bootstrap, [topic]).sources()
    kafka_erasure.delete_before(stack.bootstrap, {source: 2})
    group = f"test-{topic}"
    assert progress.committed(stack.bootstrap, group, [source.place]) == {}
    assert progress.positions_of(stack.bootstrap, group, [source.place]) == {f"{topic}/0": 2}
