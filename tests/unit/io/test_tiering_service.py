"""What the service does when nothing works: for ever when it is a service, with an end when somebody waits for it."""

from __future__ import annotations

import threading

import pytest

from pipelines.io import tiering_service
from pipelines.io.stream_health import Health

POLICY = {"retry_after_error_s": [1, 10], "once_gives_up_after_s": 60}


class Away:
    """A stream whose broker is away; each try to connect takes 5 s of the test's clock."""

    name = "silver.interactions"

    def __init__(self, clock, stop, stops_at_try):
        self.clock, self.stop, self.stops_at_try, self.tries = clock, stop, stops_at_try, 0

    def rewind(self):
        self.tries += 1
        self.clock.now += 5
        if self.tries == self.stops_at_try:
            self.stop.set()
        raise ConnectionError("no broker at 127.0.0.1:1")


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
    # Tries end at 5, 11, 18, 27, 40, 55 and 70 s: pauses of 1, 2, 4, 8, 10, 10 s. The first at or after 60 is the last.
    assert (stream.tries, clock.now) == (7, 1070.0)
    assert (health.state, health.error) == ("gave_up", "ConnectionError: no broker at 127.0.0.1:1")


def test_a_service_tries_for_ever(clock):
    stream, health = Away(clock, stop := Stop(clock), stops_at_try=100), Health()
    tiering_service.serve(stream, health, stop, POLICY)
    assert (stream.tries, health.state) == (100, "retrying")
