"""Website-chat messages at a steady pace: of each acknowledged one the place, time and fate are known."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import orjson
from confluent_kafka import Message, Producer

from infra.stack.settings import Settings
from tests.bench.chat_traffic import TOPIC, ChatTraffic
from tests.bench.scripted_cleaning import Coordinate

ROUND_S = 0.25
_SAMPLE = 20


@dataclass
class Sent:
    """Acknowledged messages by place: when that was known (epoch seconds), what each has to become, bytes of a few."""

    at: dict[Coordinate, float] = field(default_factory=dict)
    output_of: dict[Coordinate, str] = field(default_factory=dict)
    bytes_of: dict[Coordinate, tuple[bytes, bytes]] = field(default_factory=dict)

    def without(self, lost: set[Coordinate]) -> None:
        """Forget what was lost: its places are given out again."""
        for where in lost:
            for known in (self.at, self.output_of, self.bytes_of):
                known.pop(where, None)


class PacedTraffic(ChatTraffic):
    """Sends on until `stop`, or until its broker is gone; `sent` grows with every acknowledgement."""

    def __init__(self, bootstrap: str, sent: Sent, *, seed: int, rate: int):
        super().__init__(bootstrap, seed=seed)
        self.sent, self._rows = sent, max(1, int(rate * ROUND_S))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        began, n = time.monotonic(), 0
        while not self._stop.is_set():
            self.round(self._rows)
            n += 1
            self._stop.wait(max(0.0, began + n * ROUND_S - time.monotonic()))

    def stop(self, wait_s: float = 30) -> None:
        """No more messages; waits for the round at hand (in vain, where the broker is dead)."""
        self._stop.set()
        self._thread.join(wait_s)

    def _produce(self, key: bytes, value: bytes, kind: str) -> None:
        sample = kind == "interactions.clean" and self._number % _SAMPLE == 0

        def delivered(error: object, message: Message) -> None:
            if error is None:
                where: Coordinate = (message.topic(), message.partition(), message.offset())
                self.sent.at[where], self.sent.output_of[where] = time.time(), kind
                if sample:
                    self.sent.bytes_of[where] = (key, value)
                self._delivered += 1

        self._producer.produce(TOPIC, value, key=key, headers={"account": b"shop"}, on_delivery=delivered)
        self._sent += 1
        self._producer.poll(0)


def repeat(settings: Settings, sent: Sent, rows: int) -> dict[Coordinate, Coordinate]:
    """Sends some messages from before once more; place of each repetition → place of what it repeats."""
    known = sorted(sent.bytes_of)
    chosen = known[:: max(1, len(known) // rows)]  # from long before the kill to the last that came back
    producer, placed = Producer({"bootstrap.servers": settings.bootstrap, "enable.idempotence": True}), {}
    for where in chosen:
        key, value = sent.bytes_of[where]

        def landed(error: object, message: Message, where: Coordinate = where) -> None:
            if error is None:
                placed[message.topic(), message.partition(), message.offset()] = where

        producer.produce(TOPIC, value, key=key, partition=where[1], headers={"account": b"shop"}, on_delivery=landed)
    producer.flush(60)
    now = time.time()
    for where in placed:
        sent.at[where], sent.output_of[where] = now, "quarantine.duplicates"
    return placed


def rate(settings: Settings, sent: Sent, run: str, turn: str, kind: str) -> dict[str, Coordinate]:
    """Complaints of a few visitors, in the same words whatever the turn; place by visitor."""
    producer, placed = Producer({"bootstrap.servers": settings.bootstrap, "enable.idempotence": True}), {}
    for n in range(20):
        visitor = f"w{run}-{n}"
        told = {"message_id": f"{turn}-{visitor}", "sender": "visitor", "sent_at": int(time.time() * 1000),
                "session_id": visitor, "visitor_id": visitor, "event": "rating", "score": 2, "score_scale_max": 5,
                "text": f"送得太慢了,等了{n + 2}天还没有到"}  # fmt: skip

        def landed(error: object, message: Message, visitor: str = visitor) -> None:
            if error is None:
                placed[visitor] = (message.topic(), message.partition(), message.offset())

        producer.produce(TOPIC, orjson.dumps(told), key=visitor, headers={"account": b"shop"}, on_delivery=landed)
    producer.flush(60)
    now = time.time()
    for where in placed.values():
        sent.at[where], sent.output_of[where] = now, kind
    return placed
