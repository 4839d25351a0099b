"""Traffic with known truth for the tiering tests: raw messages, and what a cleaning job would have written for each.

No product rule runs here: which output a message goes to is drawn from a seed, so the truth is known before anything is
read back. Outputs are written in Kafka transactions, some of them aborted and sent again, as a job that restarts does.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from confluent_kafka import KafkaException, Message, Producer

log = logging.getLogger(__name__)

OUTPUTS = {  # output topic: share of the raw messages
    "interactions.clean": 0.72,
    "feedback.clean": 0.10,
    "quarantine.duplicates": 0.08,
    "quarantine.rejects": 0.05,
    "review.queue": 0.03,
    "ticket_events.clean": 0.02,
}
Coordinate = tuple[str, int, int]


@dataclass
class Truth:
    """Where each raw message must stand afterwards."""

    output_of: dict[Coordinate, str] = field(default_factory=dict)
    aborted: int = 0

    def counts(self) -> Counter[str]:
        """Messages by output topic."""
        return Counter(self.output_of.values())


class Traffic:
    """Sends raw messages and their outputs in rounds; `close` flushes both."""

    def __init__(self, bootstrap: str, raw_topics: Sequence[str], *, seed: int = 1, payload_bytes: int = 350):
        self._random, self._raw_topics = random.Random(seed), list(raw_topics)
        self._payload = bytes(self._random.getrandbits(7) | 32 for _ in range(payload_bytes))
        shared = {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 20, "compression.type": "lz4"}
        shared |= {"queue.buffering.max.messages": 500_000, "message.timeout.ms": 300_000, "log_level": 2}
        self._raw = Producer(shared | {"enable.idempotence": True})
        self._options = shared | {"transaction.timeout.ms": 300_000}
        self._bootstrap, self._clean, self._transactions = bootstrap, None, 0
        self._delivered: list[tuple[Coordinate, int]] = []
        self.truth = Truth()

    def round(self, rows: int, *, abort_share: float = 0.1) -> None:
        """`rows` raw messages, then their outputs in one committed transaction (sometimes after an aborted one)."""
        self._delivered.clear()
        for number in range(rows):
            topic = self._random.choice(self._raw_topics)
            self._produce_raw(topic, number)
        self._raw.flush(600)
        if len(self._delivered) != rows:
            raise RuntimeError(f"{rows - len(self._delivered)} raw messages were not acknowledged")
        choices = self._random.choices(list(OUTPUTS), list(OUTPUTS.values()), k=rows)
        records = [
            (output, *self._record(c, ms, output)) for output, (c, ms) in zip(choices, self._delivered, strict=True)
        ]
        if self._random.random() < abort_share:
            self._transaction(records[: rows // 2], commit=False)
            self.truth.aborted += rows // 2
        while not self._transaction(records, commit=True):
            time.sleep(0.5)
        self.truth.output_of |= {c: output for output, (c, _) in zip(choices, self._delivered, strict=True)}

    def _produce_raw(self, topic: str, number: int) -> None:
        value = b"%d %s" % (number, self._payload)
        while True:
            try:
                self._raw.produce(
                    topic,
                    value,
                    key=b"%d" % (number % 97),
                    headers={"account": b"default"},
                    on_delivery=self._on_delivery,
                )
                break
            except BufferError:
                self._raw.poll(0.1)
        self._raw.poll(0)

    def _on_delivery(self, error: object, message: Message) -> None:
        if error is None:
            where = (message.topic(), message.partition(), message.offset())
            self._delivered.append((where, message.timestamp()[1]))

    @staticmethod
    def _record(coordinate: Coordinate, received_ms: int, output: str) -> tuple[bytes, bytes]:
        topic, partition, offset = coordinate
        record = {
            "raw_topic": topic, "raw_partition": partition, "raw_offset": offset, "attempt": 0,
            "received_at": received_ms * 1000,
        }  # fmt: skip
        if output.endswith(".clean") or output == "review.queue":
            record |= {"event_id": f"{topic}-{partition}-{offset}", "channel": topic[4:], "kind": "message"}
            record |= {
                "occurred_at": received_ms * 1000,
                "processed_at": received_ms * 1000,
                "text": "你好，我的订单到哪里了",
            }
        if output == "quarantine.duplicates":
            record |= {"event_id": f"{topic}-{partition}-{offset}", "duplicate_of_topic": topic}
            record |= {"duplicate_of_partition": 0, "duplicate_of_offset": 0, "channel": topic[4:]}
        if not output.endswith(".clean"):
            record |= {"rule": "scripted", "reason": "scripted", "processed_at": received_ms * 1000}
            if output == "quarantine.duplicates":
                del record["reason"], record["processed_at"]
        return b"%d" % (offset % 97), orjson.dumps(record)

    def _transaction(self, records: Sequence[tuple[str, bytes, bytes]], *, commit: bool) -> bool:
        """One Kafka transaction; False when it could not be committed and must be sent again."""
        try:
            if self._clean is None:
                self._clean = Producer(self._options | {"transactional.id": "scripted-cleaning"})
                self._clean.init_transactions(120)
            self._clean.begin_transaction()
            for topic, key, value in records:
                self._clean.produce(topic, value, key=key)
                self._clean.poll(0)
            if not commit:
                self._clean.flush(60)
                self._clean.abort_transaction(60)
                return True
            return self._committed()
        except KafkaException as failed:
            log.info("transaction is sent again: %s", failed)
            self._clean = None  # fenced or in an unknown state: the next init_transactions aborts what is open
            return False

    def _committed(self) -> bool:
        while True:
            try:
                self._clean.commit_transaction(60)
                return True
            except KafkaException as failed:
                error = failed.args[0]
                if error.txn_requires_abort():
                    self._clean.abort_transaction(60)
                    return False
                if not error.retriable():
                    raise

    def close(self) -> Truth:
        """Waits until everything is acknowledged; gives the truth."""
        self._raw.flush(600)
        return self.truth
