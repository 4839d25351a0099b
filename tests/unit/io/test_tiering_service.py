"""What the service does when nothing works: for ever when it is a service, with an end when somebody waits for it."""

from __future__ import annotations

import threading

import pytest

from pipelines.io import tiering_service
from pipelines.io.stream_health import Health

POLICY = {"retry_after_error_s": [1, 10], "once_gives_up_after_s": 60}


class Away:
    """A stream whose broker is away; each try to connect takes 5 s of the test's clock."""

    name, rows_waiting, log_at_end, rows_written = "silver.interactions", 0, False, 0

    def __init__(self, clock, stop, stops_at_try):
        self.clock, self.stop, self.stops_at_try, self.tries = clock, stop, stops_at_try, 0

    def rewind(self):
        self.tries += 1
        self.clock.now += 5
        if self.tries == self.stops_at_try:
            self.stop.set()
        self.connect()

    def connect(self):
        raise ConnectionError("no broker at 127.0.0.1:1")


class FullDisk(Away):
    """The broker answers and messages come; writing them fails."""

    def connect(self):
        pass

    def collect(self, *_):
        return True

    def write(self):
        raise OSError("no space left on device")


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


class Stop(threading.Event):
    """Waits on the test's clock."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def wait(self, timeout=None):
        self.clock.now += timeout
        return self.is_set()


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(tiering_service.time, "monotonic", found.monotonic)
    return found


def test_who_waits_for_the_end_gets_an_error_after_a_minute(clock):
    stream, health = Away(clock, stop := Stop(clock), stops_at_try=100), Health()
    tiering_service.serve(stream, health, stop, POLICY, until_caught_up=True)
    # Tries end at 5, 11, 18, 27, 40 and 55 s, with pauses of 1, 2, 4, 8, 10 and 10 s: the seventh would begin at 65.
    assert (stream.tries, clock.now) == (6, 1065.0)
    assert (health.state, health.error) == ("gave_up", "ConnectionError: no broker at 127.0.0.1:1")


def test_so_it_does_where_reading_works_and_writing_fails(clock):
    stream, health = FullDisk(clock, stop := Stop(clock), stops_at_try=100), Health()
    tiering_service.serve(stream, health, stop, POLICY | {"reader": {"idle_poll_s": 0.25}}, until_caught_up=True)
    # Each try connects, so each pause is 1 s: they end at 5, 11, 17, … 59, and the eleventh would begin at 60.
    assert (stream.tries, clock.now) == (10, 1060.0)
    assert (health.state, health.error) == ("gave_up", "OSError: no space left on device")


def test_a_service_tries_for_ever(clock):
    stream, health = Away(clock, stop := Stop(clock), stops_at_try=100), Health()
    tiering_service.serve(stream, health, stop, POLICY)
    assert (stream.tries, health.state) == (100, "retrying")
