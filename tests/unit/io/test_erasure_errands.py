"""Erasures are errands of a table's one writer: not before it has caught up, again after a failure, told when done."""

from __future__ import annotations

import threading

import orjson
import pytest

from infra.stack.settings import Settings
from pipelines.io import erasure_errands, tiering_service
from pipelines.io.erasure_errands import Command, Errands, erase_rows
from pipelines.io.stream_health import Health
from pipelines.privacy.erasure import Person
from tests.unit.io.lake import interaction, write

TABLE = "silver.interactions"
WHO = Person(frozenset({"ph1_1"}), frozenset({"c_1"}))
POLICY = {"retry_after_error_s": [0, 0], "once_gives_up_after_s": 60, "reader": {"idle_poll_s": 0}}


@pytest.fixture
def settings(tmp_path):
    settings = Settings.load(tmp_path, 20_000)
    write(settings.lake, TABLE, [interaction(1, customer_id="c_1"), interaction(2, customer_id="c_2")])
    return settings


@pytest.fixture
def told(monkeypatch) -> list:
    found = []
    monkeypatch.setattr(
        erasure_errands, "publish", lambda _, topic, records: found.extend((topic, orjson.loads(v)) for _, v in records)
    )
    return found


class Stream:
    """Caught up only at its third turn; ends at the sixth."""

    name, rows_waiting, log_at_end, rows_written, commits, unreadable_kept = TABLE, 0, True, 0, 0, 0

    def __init__(self, stop):
        self.stop, self.turns, self.rewinds, self.ran_at = stop, 0, 0, []

    def rewind(self):
        self.rewinds += 1

    def collect(self, *_):
        self.turns += 1
        if self.turns >= 6:
            self.stop.set()
        return False

    @property
    def caught_up(self):
        return self.turns >= 3

    def lag(self):
        return {}

    def check_topics(self):
        pass

    def close(self):
        pass


def serve(errands) -> Stream:
    stop = threading.Event()
    stream = Stream(stop)
    tiering_service.serve(stream, Health(), stop, POLICY, errands=errands)
    return stream


def given(settings, *commands: Command) -> Errands:
    errands = Errands(settings, [TABLE])
    errands._take({one.key: one.encoded() for one in commands})
    return errands


def test_a_command_runs_when_caught_up_and_the_table_is_opened_anew(settings, told, monkeypatch):
    errands, ran_at = given(settings, Command("e_1", TABLE, WHO)), []
    real = errands.run
    monkeypatch.setattr(errands, "run", lambda command: (ran_at.append(stream_turns()), real(command))[1])
    stop = threading.Event()
    stream = Stream(stop)

    def stream_turns() -> int:
        return stream.turns

    tiering_service.serve(stream, Health(), stop, POLICY, errands=errands)
    assert ran_at == [3]
    assert stream.rewinds == 2
    ((topic, result),) = told
    assert (topic, result["erasure_id"], result["rows_before"], result["rows_removed"]) == (
        "privacy.erasure_results", "e_1", 2, 1,
    )  # fmt: skip


def test_a_failure_leaves_the_command_waiting(settings, told, monkeypatch):
    errands, tries = given(settings, Command("e_1", TABLE, WHO)), []
    real = erasure_errands.erase

    def fails_once(*arguments):
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no space left on device")
        return real(*arguments)

    monkeypatch.setattr(erasure_errands, "erase", fails_once)
    serve(errands)
    assert len(tries) == 2
    assert len(told) == 1


def test_what_is_no_command_or_was_taken_back_or_is_for_another_writer_is_passed_over(settings, told):
    errands = Errands(settings, [TABLE])
    other = Command("e_2", "silver.feedback", WHO)
    errands._take({"e_0 x": b"{}", "e_1 y": None, "e_3 z": b"no json", other.key: other.encoded()})
    assert errands.next(TABLE) is None
    assert errands.next("silver.feedback") is None


def test_a_command_carries_the_whole_person(settings):
    who = Person(frozenset({"ph1_1"}), frozenset({"c_1"}), frozenset({"raw.sms/0/1"}), frozenset({"sms/a/s"}))
    assert Command.decoded(Command("e", TABLE, who).encoded()) == Command("e", TABLE, who)


def test_rows_of_every_table_are_found_by_its_own_columns(settings):
    write(settings.lake, "quarantine.duplicates", [
        {"raw_topic": "raw.web_chat", "raw_partition": 0, "raw_offset": 9, "rule": "event_id", "event_id": "e",
         "duplicate_of_topic": "raw.web_chat", "duplicate_of_partition": 0, "duplicate_of_offset": 1},
    ])  # fmt: skip
    who = Person(frozenset(), frozenset(), frozenset({"raw.web_chat/0/1"}))
    assert erase_rows(settings, "quarantine.duplicates", who).rows_removed == 1
