"""Sends many records over many topics at a set pace, and says how many of them the broker acknowledged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

# A tick is short against a second, so that a rate holds within it, and long against the cost of looking at a clock.
_TICK_S = 0.01
_BROKER_TIMEOUT_S = 15
_QUEUE_MESSAGES = 500_000


class NoBroker(ConnectionError):
    """Nothing answers at the broker's address; the message says where and what to do."""


class Record(NamedTuple):
    """One record to send; ``timestamp_ms`` 0 means the moment it is sent, which is what a collector would write."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp_ms: int = 0


class SendResult(NamedTuple):
    """What became of the records: ``sent`` = ``acknowledged`` only if nothing failed or still waits."""

    sent: int
    acknowledged: int
    seconds: float
    failures: Counter[str]

    @property
    def complete(self) -> bool:
        """True if the broker has every record."""
        return self.acknowledged == self.sent


def send(
    bootstrap: str,
    records: Iterable[Record],
    *,
    rate: float | None = None,
    chunk: int = 2_000,
    timeout_s: float = 120.0,
    told: Callable[[int], None] = lambda sent: None,
    clock: Callable[[], float] = time.monotonic,
) -> SendResult:
    """Send records at ``rate`` a second (None: as fast as the broker takes them), then wait for the last answer.

    Idempotent, acks=all, lz4. Without a rate, records are taken ``chunk`` at a time: 1 lets their source set the
    pace. ``told(sent)`` is called every tick. A record the broker refuses is counted, by reason, and the rest goes on.
    Only failures are called back: counting a success in Python would cost as much as sending it. A broker that goes
    away is waited for; one that is not there at the start raises NoBroker.
    """
    failures: Counter[str] = Counter()

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures[error.str()] += 1

    producer = _connected(bootstrap, timeout_s)
    began = clock()
    sent = 0
    for due in _paced(iter(records), rate, chunk, clock, began):
        for topic, key, value, headers, timestamp_ms in due:
            while True:
                try:
                    producer.produce(topic, value, key, -1, on_delivery, None, timestamp_ms, headers or None)
                    break
                except BufferError:  # the queue is full: the broker sets the pace
                    producer.poll(0.05)
                except KafkaException as refused:  # too large, or a topic that is not there
                    failures[str(refused.args[0].str())] += 1
                    break
        sent += len(due)
        producer.poll(0)
        told(sent)
    left = producer.flush(timeout_s)
    if left:
        failures[f"no answer within {timeout_s:.0f} s"] += left
    return SendResult(sent, sent - sum(failures.values()), clock() - began, failures)


def _connected(bootstrap: str, timeout_s: float) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 10,
            "batch.size": 262_144,
            "message.max.bytes": 8_388_608,
            "queue.buffering.max.messages": _QUEUE_MESSAGES,
            "queue.buffering.max.kbytes": 262_144,
            "message.timeout.ms": int(timeout_s * 1000),
            "delivery.report.only.error": True,
            "log_level": 0,  # a broker that is away is reported once, by NoBroker or as a failure, not 50 times
        }
    )
    try:
        producer.list_topics(timeout=_BROKER_TIMEOUT_S)
    except KafkaException as error:
        raise NoBroker(f"No broker answers at {bootstrap}: is the stack up (kefulake up)?") from error
    return producer


def _paced(
    records: Iterator[Record], rate: float | None, chunk: int, clock: Callable[[], float], began: float
) -> Iterator[list[Record]]:
    """The records in chunks, each when it is due; behind schedule, the next one at once."""
    if rate is None:
        while taken := list(islice(records, chunk)):
            yield taken
        return
    given = 0
    while True:
        due = int((clock() - began + _TICK_S) * rate)
        if due <= given:
            time.sleep(_TICK_S)
            continue
        # At most a tenth of a second at once: after a pause the rate is made up for without flooding the queue.
        taken = list(islice(records, min(due - given, max(1, int(rate / 10)))))
        if not taken:
            return
        given += len(taken)
        yield taken
