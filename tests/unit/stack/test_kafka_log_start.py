"""Logs that begin at an offset: only logs that hold nothing are moved."""

import pytest

from infra.stack.kafka_log_start import LogNotEmpty, begin_logs_at
from infra.stack.settings import Ports, Settings


@pytest.fixture
def broker(tmp_path):
    settings = Settings(tmp_path, Ports(31000))
    for name in ("raw.app-0", "raw.web_chat-1"):
        folder = tmp_path / "kafka" / name
        folder.mkdir(parents=True)
        for suffix in (".log", ".index", ".timeindex"):
            (folder / f"{0:020}{suffix}").touch()
        (folder / "partition.metadata").write_text("topic id")
    return settings


def test_the_first_segment_is_named_by_the_offset(broker):
    begin_logs_at(broker, {"raw.app/0": 12345})
    folder = broker.home / "kafka" / "raw.app-0"
    assert sorted(path.name for path in folder.iterdir()) == ["00000000000000012345.log", "partition.metadata"]
    begin_logs_at(broker, {"raw.app/0": 12345})  # again, after an interruption


def test_a_log_with_records_is_refused_before_anything_is_changed(broker):
    (broker.home / "kafka" / "raw.web_chat-1" / f"{0:020}.log").write_bytes(b"records")
    with pytest.raises(LogNotEmpty, match=r"raw\.web_chat/1"):
        begin_logs_at(broker, {"raw.app/0": 5, "raw.web_chat/1": 7})
    assert (broker.home / "kafka" / "raw.app-0" / f"{0:020}.log").exists()


def test_a_partition_that_is_not_there_is_named(broker):
    with pytest.raises(FileNotFoundError, match=r"raw\.app/3"):
        begin_logs_at(broker, {"raw.app/3": 5})
