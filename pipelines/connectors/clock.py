"""The time of the connectors, passed in: backoff, pacing and answers that take too long are tested without waiting."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds of a clock that never goes back, for waiting; the connectors read no other clock of ours.

    When a record changed is said by the source, how late it is there by its Date header.
    """

    def monotonic(self) -> float:
        """Seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Return when they are over."""


class RealClock:
    """The machine's."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
