"""Website-chat traffic whose outcome is known message by message, for the whole way: channel, job, tiering, serving.

Four kinds in every round: a turn (kept), a rating (feedback), the same bytes once more under the same key (duplicate:
same partition, so after the first), and bytes that are no JSON (reject).
"""

from __future__ import annotations

import random
import time

import orjson
from confluent_kafka import Message, Producer

from tests.bench.scripted_cleaning import Coordinate, Truth

TOPIC = "raw.web_chat"
_KINDS = {"interactions.clean": 0.84, "feedback.clean": 0.04, "quarantine.duplicates": 0.07, "quarantine.rejects": 0.05}


class ChatTraffic:
    """Sends rounds of raw messages; the truth grows with every acknowledged one."""

    def __init__(self, bootstrap: str, *, seed: int = 1):
        self._random, self._seed, self._number = random.Random(seed), seed, 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 500_000,
                "message.timeout.ms": 600_000,
                "log_level": 2,
            }
        )
        self._earlier: list[tuple[bytes, bytes]] = []
        self._sent = self._delivered = 0
        self.truth = Truth()

    def round(self, rows: int) -> None:
        """`rows` messages, all acknowledged when it returns."""
        kinds = self._random.choices(list(_KINDS), list(_KINDS.values()), k=rows)
        now_ms = int(time.time() * 1000)
        for kind in kinds:
            if kind == "quarantine.duplicates" and not self._earlier:
                kind = "interactions.clean"
            key, value = self._message(kind, now_ms)
            self._produce(key, value, kind)
        self._producer.flush(600)
        if self._delivered != self._sent:
            raise RuntimeError(f"{self._sent - self._delivered} messages were not acknowledged")

    def _message(self, kind: str, now_ms: int) -> tuple[bytes, bytes]:
        self._number += 1
        number, visitor = self._number, f"v{self._number % 5000}"
        if kind == "quarantine.duplicates":
            return self._random.choice(self._earlier)
        if kind == "quarantine.rejects":
            return visitor.encode(), b'{"message_id": "broken-%d' % number
        record = {
            "message_id": f"m{self._seed}-{number}", "sender": "visitor", "sent_at": now_ms,
            "session_id": f"s{self._seed}-{number // 7}", "visitor_id": visitor,
            "text": f"第{number}次问:我的订单到哪里了",
        }  # fmt: skip
        if kind == "feedback.clean":
            # Each rating by a visitor of its own: two of one customer within the window would be a repeated feedback.
            record |= {"event": "rating", "score": 4, "score_scale_max": 5, "visitor_id": f"r{self._seed}-{number}"}
            return record["visitor_id"].encode(), orjson.dumps(record)
        message = visitor.encode(), orjson.dumps(record)
        if number % 10 == 0:
            self._earlier = [*self._earlier[-500:], message]
        return message

    def _produce(self, key: bytes, value: bytes, kind: str) -> None:
        def delivered(error: object, message: Message) -> None:
            if error is None:
                where: Coordinate = (message.topic(), message.partition(), message.offset())
                self.truth.output_of[where] = kind
                self._delivered += 1

        while True:
            try:
                self._producer.produce(TOPIC, value, key=key, headers={"account": b"shop"}, on_delivery=delivered)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._sent += 1
        self._producer.poll(0)

    def close(self) -> Truth:
        """The truth over all rounds."""
        return self.truth
