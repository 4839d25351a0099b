"""`kefulake simulate` and `replay` against a real broker: what was said to be sent is what lies in the topics."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from infra.stack import lifecycle, ports
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines import contracts
from pipelines.simulation.truth import truth_id

pytestmark = [pytest.mark.stack, pytest.mark.soak]
RAW_TOPICS = sorted(name for name in contracts.topics() if name.startswith("raw."))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A broker alone, with all topics."""
    settings = Settings.load(tmp_path_factory.mktemp("replay") / "home", ports.free_base(28_200))
    lifecycle.up(settings, only=["kafka"], extra=None, tell=lambda part, doing: None)
    yield settings
    lifecycle.down(settings, lambda part, doing: None)


def kefulake(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def everything_in(settings: Settings, topics: list[str]) -> list[Message]:
    """All records of the topics, read to their ends."""
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": uuid.uuid4().hex})
    try:
        there = consumer.list_topics(timeout=30).topics
        parts = [TopicPartition(topic, number, 0) for topic in topics for number in there[topic].partitions]
        wanted = sum(consumer.get_watermark_offsets(part, timeout=30)[1] for part in parts)
        consumer.assign(parts)
        found: list[Message] = []
        while len(found) < wanted:
            batch = consumer.consume(wanted - len(found), timeout=30)
            assert batch, f"only {len(found)} of {wanted} records can be read"
            found += batch
        return found
    finally:
        consumer.close()


def test_simulated_traffic_is_in_the_topics_as_often_as_the_truth_says(broker: Settings, tmp_path: Path) -> None:
    file = tmp_path / "truth.parquet"
    # 2,500 out of a pool of 1,000: two whole passes and half of a third
    ran = kefulake(broker, "simulate", "--events", "2500", "--pool", "1000", "--customers", "50", "--truth", str(file))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = Counter()
    for row in pq.read_table(file).to_pylist():
        told[row["topic"], row["truth_id"]] += row["passes"]
    found = Counter((message.topic(), truth_id(message.value())) for message in everything_in(broker, RAW_TOPICS))
    assert found == told
    assert sum(told.values()) == 2_500


def test_replay_sends_every_line_and_says_where_it_came_from(broker: Settings, tmp_path: Path) -> None:
    before = len(everything_in(broker, ["raw.web_chat"]))
    file = tmp_path / "chat.ndjson"
    file.write_bytes(b'{"message_id":"m1","sender":"visitor","sent_at":"2026-01-09 08:00:00"}\n\nnot json\n')
    ran = kefulake(broker, "replay", str(file), "--channel", "web_chat", "--account", "www")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "payload.not_json" in ran.stdout  # announced, and sent all the same
    found = everything_in(broker, ["raw.web_chat"])
    assert len(found) == before + 2
    replayed = {}
    for message in found:
        headers = dict(message.headers() or [])
        if headers.get("account") == b"www":
            replayed[message.value()] = headers["source_ref"].split(b"#")[0]
    assert set(replayed.values()) == {b"chat.ndjson:1", b"chat.ndjson:3"}
    assert b"not json" in replayed


def test_a_message_no_broker_takes_fails_the_replay(broker: Settings, tmp_path: Path) -> None:
    file = tmp_path / "large.ndjson"
    file.write_bytes(b'{"text":"' + b"a" * 7_000_000 + b'"}\n')
    ran = kefulake(broker, "replay", str(file), "--channel", "web_chat")
    assert ran.returncode == 1
    assert "not sent" in ran.stdout


def test_without_a_broker_it_says_what_to_do(broker: Settings, tmp_path: Path) -> None:
    nowhere = Settings.load(tmp_path / "nowhere", ports.free_base(28_400))
    ran = kefulake(nowhere, "simulate", "--events", "10")
    assert ran.returncode == 2
    assert "kefulake up" in ran.stdout
    assert "Traceback" not in ran.stderr
