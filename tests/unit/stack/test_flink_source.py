"""What the metrics of a job's source say of its position; Flink's REST answers written by hand."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from infra.stack import flink, flink_source
from infra.stack.settings import Settings

READER = "Source__KafkaSource-raw_events.KafkaSourceReader"
METRICS = {
    f"0.{READER}.topic.raw_web_chat.partition.0.currentOffset": "41",
    f"1.{READER}.topic.raw_web_chat.partition.1.currentOffset": "-1",  # nothing read since the run began
    f"1.{READER}.topic.raw_sms.partition.0.currentOffset": "7",
    f"1.{READER}.topic.raw_sms.partition.0.committedOffset": "3",  # another metric
    f"0.{READER}.topic.other.partition.0.currentOffset": "9",  # not asked for
    "0.numRecordsIn": "12",
}
JOB = {
    "jid": "j1",
    "timestamps": {"RESTARTING": 17_500},
    "vertices": [{"id": "s1", "name": "Source: raw_events -> Calc"}, {"id": "o1", "name": "OverAggregate"}],
}


@pytest.fixture
def asked(monkeypatch):
    """The addresses asked for; only the source's metrics may be among them."""
    paths: list[str] = []

    def rest(_settings, path):
        paths.append(path)
        if path == "/jobs/j1":
            return JOB
        base, _, names = unquote(path).partition("?get=")
        assert base == "/jobs/j1/vertices/s1/metrics"
        return [{"id": name, "value": METRICS[name]} for name in (names.split(",") if names else METRICS)]

    monkeypatch.setattr(flink, "rest", rest)
    monkeypatch.setattr(flink_source, "FETCHED_AFTER_S", 0.0)  # these answers are never old
    return paths


def test_the_next_offset_of_what_was_read_and_of_nothing_else(asked, tmp_path):
    found = flink_source.read_up_to(Settings.load(tmp_path), "j1", ["raw.web_chat", "raw.sms"])
    # offset 41 was handed on, so 42 is next; of web_chat/1 nothing was, so 0 says nothing
    assert found.next_offset == {"raw.web_chat/0": 42, "raw.web_chat/1": 0, "raw.sms/0": 8}
    assert found.restarted_at_s == 17.5  # Flink counts in ms


def test_many_partitions_are_asked_for_in_addresses_flink_takes(asked, tmp_path, monkeypatch):
    many = {f"0.{READER}.topic.raw_app.partition.{n}.currentOffset": "0" for n in range(23)}
    monkeypatch.setitem(globals(), "METRICS", many)
    found = flink_source.read_up_to(Settings.load(tmp_path), "j1", ["raw.app"])
    assert len(found.next_offset) == 23
    assert max(len(path) for path in asked) < 4096


def test_what_was_fetched_for_the_one_who_asked_before_does_not_count(monkeypatch, tmp_path):
    """Flink gives what it has, 41, and only then looks at the source, which is at 99; that takes a moment."""
    name, told = f"0.{READER}.topic.raw_web_chat.partition.0.currentOffset", {"now": "41", "looks": False}

    def rest(_settings, path):
        if path == "/jobs/j1":
            return JOB
        told["looks"] = "?get=" in path
        return [{"id": name, "value": told["now"]}]

    def sleep(_s):
        told["now"] = "99" if told["looks"] else told["now"]

    monkeypatch.setattr(flink, "rest", rest)
    monkeypatch.setattr(flink_source.time, "sleep", sleep)
    found = flink_source.read_up_to(Settings.load(tmp_path), "j1", ["raw.web_chat"])
    assert found.next_offset == {"raw.web_chat/0": 100}
