"""The load generator, a process of its own: messages of a pool into the raw topics, at a steady rate or flat out.

``python -m tests.bench.load --bootstrap HOST:PORT --pool FILE --events N [--rate R | --seconds S]``. The last line of
its output is JSON: ``{"sent", "acknowledged", "took_s", "per_s", "behind_ms_max"}``. A message's record time is the
moment it is handed to the client, so what the client, broker and job do with it all counts as latency.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Producer

from infra.stack.settings import PROJECT_ROOT
from tests.bench import load_pool

_BATCH_S = 0.005  # a steady load goes out in ticks of 5 ms


class Sender:
    """Hands messages to the client and counts what the broker acknowledged."""

    def __init__(self, bootstrap: str, linger_ms: int):
        self.refused = self.sent = self.waiting = 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": linger_ms,
                "batch.size": 262_144,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 400_000,
                "queue.buffering.max.kbytes": 262_144,
                "message.max.bytes": 6_291_456,
                "delivery.report.only.error": True,
                "log_level": 3,  # a coordinator that still loads is asked again, no need to read of it
            }
        )

    def send(self, record: load_pool.Record) -> None:
        """Waits while the client's queue is full: flat out means as fast as the broker takes it."""
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, headers=record.headers, on_delivery=self._refused
                )
                self.sent += 1
                return
            except BufferError:
                self._producer.poll(0.05)

    def poll(self) -> None:
        """Let the client tell what was refused."""
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until the broker has acknowledged or refused everything."""
        self.waiting = self._producer.flush(120)

    @property
    def acknowledged(self) -> int:
        """What was sent, less what was refused and, after `finish`, what nobody answered for."""
        return self.sent - self.refused - self.waiting

    def _refused(self, error: object, _: object) -> None:
        self.refused += error is not None


def run(sender: Sender, records: itertools.islice, rate_per_s: float, seconds: float) -> float:
    """Sends until the records or the time end; the most it ever was behind its plan, in ms."""
    began, behind_s, done = time.perf_counter(), 0.0, False
    while not done:
        now = time.perf_counter() - began
        if seconds and now >= seconds:
            break
        due = int(min(now + _BATCH_S, seconds or now + _BATCH_S) * rate_per_s) - sender.sent if rate_per_s else 1000
        if due <= 0:
            time.sleep(_BATCH_S)
            continue
        if rate_per_s:
            behind_s = max(behind_s, (due / rate_per_s) - _BATCH_S)
        done = True
        for record in itertools.islice(records, due):
            done = False
            sender.send(record)
        sender.poll()
        spare = sender.sent / rate_per_s - (time.perf_counter() - began) if rate_per_s else 0.0
        if spare > 0:
            time.sleep(min(spare, _BATCH_S))
    return behind_s * 1000


def main(argv: list[str] | None = None) -> None:
    """Send and report."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--first-pass", type=int, default=0, help="IDs of this pass and the following ones")
    parser.add_argument("--events", type=int, default=0, help="0: until the time is over")
    parser.add_argument("--seconds", type=float, default=0, help="0: until the events are sent")
    parser.add_argument("--rate", type=float, default=0, help="events a second; 0: flat out")
    args = parser.parse_args(argv)
    if not args.events and not args.seconds:
        parser.error("say --events or --seconds")
    pool = load_pool.load(args.pool)
    records = itertools.islice(load_pool.endless(pool, args.first_pass), args.events or None)
    sender = Sender(args.bootstrap, linger_ms=20 if args.rate else 50)  # 20: as pipelines.io.publisher
    began = time.perf_counter()
    behind_ms = run(sender, records, args.rate, args.seconds)
    sender.finish()
    took_s = time.perf_counter() - began
    report = {
        "sent": sender.sent,
        "acknowledged": sender.acknowledged,
        "took_s": round(took_s, 2),
        "per_s": round(sender.acknowledged / took_s),
        "behind_ms_max": round(behind_ms, 1),
        "passes": -(-sender.sent // len(pool)),
    }
    sys.stdout.write(json.dumps(report) + "\n")


class LoadFailed(RuntimeError):
    """The generator ended badly or not every message was acknowledged."""


class Load:
    """A generator running beside the bench."""

    def __init__(
        self, bootstrap: str, pool: Path, first_pass: int, *, rate: float = 0, events: int = 0, seconds: float = 0
    ):
        command = [sys.executable, "-m", "tests.bench.load", "--bootstrap", bootstrap, "--pool", str(pool)]
        command += ["--first-pass", str(first_pass), "--rate", str(rate)]
        command += ["--events", str(events), "--seconds", str(seconds)]
        self._process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)

    def stop(self) -> None:
        """End it before its time."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def report(self, timeout_s: float) -> dict:
        """Waits for its end. Raises LoadFailed, or subprocess.TimeoutExpired (and then it is stopped)."""
        try:
            told, _ = self._process.communicate(timeout=timeout_s)
        finally:
            self.stop()
        if self._process.returncode:
            raise LoadFailed(f"the load generator ended with code {self._process.returncode}")
        report = json.loads(told.splitlines()[-1])
        if report["acknowledged"] != report["sent"]:
            raise LoadFailed(f"{report['sent'] - report['acknowledged']} of {report['sent']} were not acknowledged")
        return report


if __name__ == "__main__":
    main()
