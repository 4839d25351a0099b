"""What the gateway counts: requests and records taken in, refusals at the door by reason, time to the answer."""

from __future__ import annotations

import logging
from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

log = logging.getLogger(__name__)

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Counters:
    """The gateway's metrics in a registry of their own; no label ever carries what a sender wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        accepted = "Records acknowledged by Kafka"
        self._accepted = Counter("kefulake_gateway_accepted_records", accepted, ["channel"], registry=self.registry)
        duplicate = "Records not sent again, because their nonce and bytes were acknowledged before"
        self._duplicate = Counter("kefulake_gateway_duplicate_records", duplicate, ["channel"], registry=self.registry)
        refused = "Requests (and lines of batches) refused at the door"
        self._refused = Counter("kefulake_gateway_refused", refused, ["channel", "error"], registry=self.registry)
        self.seconds = Histogram(
            "kefulake_gateway_seconds", "Request to answer", buckets=SECONDS, registry=self.registry
        )
        self.in_flight_bytes = Gauge(
            "kefulake_gateway_in_flight_bytes", "Taken in, not yet acknowledged", registry=self.registry
        )
        self.refusals: Tally[tuple[str, str]] = Tally()
        self._logged: Tally[tuple[str, str]] = Tally()

    def took(self, channel: str, *, accepted: int, duplicate: int) -> None:
        """Count the records of an answered request."""
        if accepted:
            self._accepted.labels(channel).inc(accepted)
        if duplicate:
            self._duplicate.labels(channel).inc(duplicate)

    def refused(self, channel: str, error: str, count: int = 1) -> None:
        """Count a refusal; ``channel`` is a known one or "unknown"."""
        self._refused.labels(channel, error).inc(count)
        self.refusals[(channel, error)] += count

    def by_reason(self) -> dict[str, dict[str, int]]:
        """Refusals since start: channel, then error code."""
        table: dict[str, dict[str, int]] = {}
        for (channel, error), count in sorted(self.refusals.items()):
            table.setdefault(channel, {})[error] = count
        return table

    def log_new_refusals(self) -> None:
        """One log line for all refusals since the last call; none when there were none."""
        new = self.refusals - self._logged
        if new:
            self._logged = self.refusals.copy()
            counts = ", ".join(f"{channel} {error} {count}" for (channel, error), count in sorted(new.items()))
            log.warning("refused at the door: %s", counts)

    def prometheus(self) -> bytes:
        """The metrics as Prometheus text."""
        return generate_latest(self.registry)
