"""The joint between Kafka and Delta under ``kill -9``, a second service, lost logs and topics made again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from deltalake import DeltaTable

from infra.stack import lifecycle, ports
from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.ops import positions
from pipelines import contracts
from pipelines.io.committed_log import LogRefused
from pipelines.io.tiering_service import table_stream
from pipelines.privacy.keys import MasterKey
from tests.bench.lake_truth import compare
from tests.bench.scripted_cleaning import Traffic

pytestmark = [pytest.mark.stack, pytest.mark.soak]

RAW_TOPICS = ["raw.web_chat", "raw.app"]
TABLE = "silver.interactions"


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Settings]:
    """A broker of this module's own: these tests delete topics and records."""
    settings = Settings.load(tmp_path_factory.mktemp("tiering"), ports.free_base(26_000))
    try:
        lifecycle.up(settings, only=["kafka"], extra=None, tell=lambda *_: None)
        yield settings
    finally:
        lifecycle.down(settings, lambda *_: None)


@pytest.fixture
def lake(broker, tmp_path, monkeypatch) -> Settings:
    """Empty tables and empty topics (made again) on the running broker."""
    make_again(broker, list(contracts.topics()))
    monkeypatch.setenv("KEFULAKE_KAFKA", broker.bootstrap)
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    MasterKey.create(tmp_path / "keys" / "master.key")
    return replace(broker, home=tmp_path)


def make_again(settings: Settings, names: list[str]) -> None:
    """Deletes and creates topics.

    The controller's answer comes before the broker follows, and until then it takes records into the old topic and
    loses them: wait until the broker itself shows the new IDs with empty logs.
    """
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    old = ids(admin, names)
    for future in admin.delete_topics(names).values():
        future.result(30)
    missing, deadline = set(names), time.monotonic() + 90
    while missing or set(ids(admin, names).values()) & set(old.values()) or ends(admin, names):
        assert time.monotonic() < deadline, missing
        new = [NewTopic(name, contracts.topic(name).partitions, 1) for name in missing]
        for name, future in (admin.create_topics(new) if new else {}).items():
            if future.exception(30) is None:
                missing.discard(name)
        time.sleep(0.1)


def ids(admin: AdminClient, names: list[str]) -> dict[str, str]:
    described = admin.describe_topics(TopicCollection(names))
    return {name: "" if future.exception(30) else str(future.result().topic_id) for name, future in described.items()}


def ends(admin: AdminClient, names: list[str]) -> int:
    """Records in the topics; 1 when it can't be told yet."""
    places = [TopicPartition(name, p) for name in names for p in range(contracts.topic(name).partitions)]
    found = admin.list_offsets({place: OffsetSpec.latest() for place in places}).values()
    return sum(1 if future.exception(30) else future.result().offset for future in found)


def service(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "jobs.services.tiering", *arguments], cwd=PROJECT_ROOT)


def catch_up(*arguments: str) -> None:
    assert service("--once", "--no-upkeep", *arguments).wait(180) == 0


def child(step: str, table: str = TABLE) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.e2e.tiering_child", table, step], cwd=PROJECT_ROOT, timeout=120
    ).returncode


@pytest.mark.parametrize("step", ["rewound", "collected", "file", "written"])
def test_killed_between_any_two_steps_every_row_is_there_once(lake, step):
    traffic = Traffic(lake.bootstrap, RAW_TOPICS, seed=3)
    traffic.round(2000, abort_share=1.0)
    for _ in range(2):  # died, came back, died again at the same step
        traffic.round(1000, abort_share=0.5)
        assert child(step) == -signal.SIGKILL
    truth = traffic.close()
    catch_up()
    assert compare(lake, truth.output_of).exact
    version = DeltaTable(lake.table_path(TABLE)).version()
    catch_up("--tables", TABLE)
    assert DeltaTable(lake.table_path(TABLE)).version() == version, "started once more it writes nothing"


def test_two_services_on_one_table_under_kills(lake):
    """Both read the same records at the same moment, rearrange, and are killed; one commit each wins."""
    traffic = Traffic(lake.bootstrap, RAW_TOPICS, seed=5)
    services = [service("--status-file", str(lake.home / f"{n}.json")) for n in range(2)]
    for number in range(6):
        traffic.round(3000, abort_share=0.3)
        victim = number % 2
        os.kill(services[victim].pid, signal.SIGKILL)
        services[victim].wait()
        services[victim] = service("--status-file", str(lake.home / f"{victim}.json"))
    truth = traffic.close()
    for process in services:
        process.terminate()
    for process in services:
        process.wait(60)
    catch_up()
    verdict = compare(lake, truth.output_of)
    assert verdict.exact, verdict


def test_an_unreadable_record_is_kept_once_though_the_service_dies_in_between(lake):
    producer = Producer({"bootstrap.servers": lake.bootstrap})
    for value in (b"{", b'{"half": ', None):
        producer.produce("interactions.clean", value, partition=0)
    producer.flush(30)
    assert child("kept") == -signal.SIGKILL
    assert child("kept") == -signal.SIGKILL
    catch_up()
    rejects = DeltaTable(lake.table_path("quarantine.rejects")).to_pyarrow_table()
    assert sorted(rejects["raw_offset"].to_pylist()) == [0, 1, 2]
    assert set(rejects["rule"].to_pylist()) == {"tiering.unreadable"}


def stream_of(settings: Settings):
    return table_stream(settings, TABLE, contracts.policy("tiering"), MasterKey.load(settings))


def test_lag_reaches_zero_behind_markers_and_aborted_records(lake):
    traffic = Traffic(lake.bootstrap, RAW_TOPICS, seed=7)
    traffic.round(500, abort_share=1.0)
    traffic._transaction([("interactions.clean", b"k", b"never committed")] * 50, commit=False)
    stream = stream_of(lake)
    stream.rewind()
    deadline = time.monotonic() + 60
    while not stream.caught_up:
        assert time.monotonic() < deadline
        if stream.collect(0.5):
            stream.write()
    assert sum(stream.lag().values()) == 0
    stream.close()


def test_records_removed_before_they_were_read_are_an_error_that_says_what_to_do(lake):
    traffic = Traffic(lake.bootstrap, RAW_TOPICS, seed=9)
    traffic.round(400)
    catch_up("--tables", TABLE)
    traffic.round(400)
    traffic.close()
    admin = AdminClient({"bootstrap.servers": lake.bootstrap})
    (future,) = admin.delete_records([TopicPartition("interactions.clean", 0, -1)]).values()
    low = future.result(30).low_watermark
    stream, before = stream_of(lake), DeltaTable(lake.table_path(TABLE)).version()
    with pytest.raises(LogRefused, match=rf"interactions.clean, partition 0: .* the log begins at {low}.*--set"):
        stream.rewind()
    stream.close()
    assert DeltaTable(lake.table_path(TABLE)).version() == before
    assert positions.main(["--tables", TABLE]) == 1
    assert positions.main(["--set", f"interactions.clean/0={low}"]) == 0
    assert positions.main(["--tables", TABLE]) == 0
    catch_up("--tables", TABLE)


def test_a_log_that_begins_late_for_a_new_table_is_an_error_too(lake):
    producer = Producer({"bootstrap.servers": lake.bootstrap})
    producer.produce("interactions.clean", b"{}", partition=0)
    producer.flush(30)
    admin = AdminClient({"bootstrap.servers": lake.bootstrap})
    (future,) = admin.delete_records([TopicPartition("interactions.clean", 0, 1)]).values()
    future.result(30)
    stream = stream_of(lake)
    with pytest.raises(LogRefused, match="next offset to read is 0, but the log begins at 1"):
        stream.rewind()


def test_a_topic_made_again_is_read_from_its_beginning_and_old_rows_stay(lake, caplog):
    first = Traffic(lake.bootstrap, RAW_TOPICS, seed=11)
    first.round(300)
    catch_up("--tables", TABLE)
    before = DeltaTable(lake.table_path(TABLE)).count()
    make_again(lake, ["interactions.clean"])
    second = Traffic(lake.bootstrap, RAW_TOPICS, seed=12)
    second.round(300)
    stream = stream_of(lake)
    stream.rewind()
    stream.close()
    assert "is new or was made again" in caplog.text
    catch_up("--tables", TABLE)
    assert DeltaTable(lake.table_path(TABLE)).count() == before + second.truth.counts()["interactions.clean"]


def test_a_lost_lake_folder_is_read_again_from_the_topics(lake: Settings):
    traffic = Traffic(lake.bootstrap, RAW_TOPICS, seed=13)
    traffic.round(500)
    truth = traffic.close()
    catch_up()
    Path(lake.lake).rename(lake.home / "gone")
    catch_up()
    assert compare(lake, truth.output_of).exact
