"""What the look-up service counts: answers by status and reason, time to the answer, look-ups a batch."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Counters:
    """Metrics in a registry of their own; no label carries who asked or who was asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "kefulake_lookup_answers", "Look-ups by status and reason", ["status", "error"], registry=self.registry
        )
        self._seconds = Histogram(
            "kefulake_lookup_seconds", "Request to answer", buckets=SECONDS, registry=self.registry
        )

    def answered(self, status: int, error: str, seconds: float) -> None:
        """Count one answer; `error` is a key of REFUSALS, '' for none."""
        self._answers.labels(str(status), error).inc()
        self._seconds.observe(seconds)

    def prometheus(self) -> bytes:
        """As Prometheus text."""
        return generate_latest(self.registry)
