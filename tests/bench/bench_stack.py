"""A stack of its own for each step of the bench: fresh home, only the parts the step needs, gone afterwards."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from infra.stack import lifecycle, ports
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines import contracts

log = logging.getLogger(__name__)

FLINK = ["flink-jobmanager", "flink-taskmanager"]
JOB = "clean_interactions"
FIRST_PORT_BASE = 28_000
# The bench measures the embedded stack on this machine; a broker or database of somebody else stays out of it.
_ELSEWHERE = ("KEFULAKE_KAFKA", "KEFULAKE_DATABASE_URL", "KEFULAKE_MASTER_KEY")


def _tell(part: str, doing: str) -> None:
    log.debug("%s: %s", part, doing)


class StepFailed(RuntimeError):
    """A step of the bench did not get through; the message says which and why. Its figures stay null."""


class BenchStack:
    """A stack in a home of its own; `with` brings it down and removes the home when all went well."""

    def __init__(self, home: Path, *, keep: bool = False):
        if home.exists():
            raise StepFailed(f"{home} is there already: a bench begins with nothing. Remove it or name another --home")
        for name in _ELSEWHERE:
            os.environ.pop(name, None)
        self.settings = Settings.load(home, os.environ.get("KEFULAKE_PORT_BASE") or ports.free_base(FIRST_PORT_BASE))
        self._keep = keep
        self._consumer: Consumer | None = None

    def __enter__(self) -> BenchStack:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.down()
        if kind is None and not self._keep:
            shutil.rmtree(self.settings.home, ignore_errors=True)

    @property
    def lake(self) -> Path:
        """Root of the Delta tables."""
        return self.settings.lake

    @property
    def environment(self) -> dict[str, str]:
        """For programs that work on this stack."""
        return os.environ | {
            "KEFULAKE_HOME": str(self.settings.home),
            "KEFULAKE_PORT_BASE": str(self.settings.ports.base),
        }

    def up(self, *parts: str) -> None:
        """Start these parts, or all of them when none is named; what runs already stays."""
        lifecycle.up(
            self.settings,
            only=list(parts) or None,
            extra=None,
            tell=lambda part, doing: log.debug("%s %s", part, doing),
        )

    def down(self) -> None:
        """Stop everything."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        lifecycle.down(self.settings, _tell)

    def deploy(self, *options: str) -> None:
        """The cleaning job, by the product's own command; returns when it runs."""
        command = [sys.executable, "-m", "jobs.cli", "deploy", JOB, *options]
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, env=self.environment, capture_output=True, text=True, timeout=420, check=False
        )
        if done.returncode:
            raise StepFailed(f"kefulake deploy {JOB}: {done.stderr.strip()[-800:]}")

    def written(self, prefix: str | Sequence[str]) -> int:
        """Offsets ever written to the topics that begin so (or are named); markers of transactions count."""
        wanted = [prefix] if isinstance(prefix, str) else list(prefix)
        names = [n for n in contracts.topics() if any(n == w or (w.endswith(".") and n.startswith(w)) for w in wanted)]
        if self._consumer is None:
            # Read committed, an open transaction would hide what a job writes until its first checkpoint.
            settings = {"bootstrap.servers": self.settings.bootstrap, "isolation.level": "read_uncommitted"}
            self._consumer = Consumer(settings | {"group.id": "bench-offsets"})
        return sum(
            self._consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=20)[1]
            for name in names
            for partition in range(contracts.topic(name).partitions)
        )

    def service_status(self, name: str) -> dict[str, dict]:
        """What a service says of its tables; empty before it has said anything."""
        try:
            return json.loads((self.settings.run / f"{name}.json").read_text(encoding="utf-8"))["tables"]
        except (OSError, ValueError):
            return {}

    def rows_in_delta(self, tables: Sequence[str]) -> int:
        """Rows the tiering service has committed to these tables since it started."""
        status = self.service_status("tiering")
        return sum(status.get(name, {}).get("rows_written", 0) for name in tables)

    def wait_for_rows(self, wanted: dict[str, tuple[Sequence[str], int]], limit_s: float) -> None:
        """Waits until each named group of tables holds so many rows.

        Raises StepFailed with the counts when they are not there in time.
        """
        deadline = time.monotonic() + limit_s
        while True:
            found = {what: self.rows_in_delta(tables) for what, (tables, _) in wanted.items()}
            if all(found[what] >= rows for what, (_, rows) in wanted.items()):
                return
            if time.monotonic() > deadline:
                told = ", ".join(f"{found[what]:,} of {rows:,} in {what}" for what, (_, rows) in wanted.items())
                raise StepFailed(f"not drained within {limit_s:.0f} s: {told}")
            time.sleep(0.5)
