"""Sends hostile messages with honest ones between them: straight into Kafka, or through the gateway's door."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import count, cycle

from confluent_kafka import KafkaException, Producer

from infra.stack.settings import Settings
from tests.bench.honest_forms import CHANNELS, honest
from tests.bench.hostile_door import Answer, Door
from tests.bench.hostile_payloads import YEAR_2099, Hostile
from tests.bench.lake_truth import Coordinate

HONEST = "well-formed, between the others"
_HONEST_EVERY = 5


class Honest:
    """Well-formed messages with numbers of their own, channel after channel; give each source another `prefix`."""

    def __init__(self, at_s: int, prefix: int = 9):
        self._numbers, self._channels, self._at_s = count(prefix * 10**6), cycle(CHANNELS), at_s

    def one(self, channel: str | None = None) -> Hostile:
        """The next one, of the next channel unless told."""
        channel = channel or next(self._channels)
        return Hostile(HONEST, channel, honest(channel, next(self._numbers), self._at_s), "kept")

    def between(self, hostile: Iterable[Hostile]) -> Iterator[Hostile]:
        """The hostile ones with an honest one after every fifth, and one of each channel at the end."""
        for number, one in enumerate(hostile, 1):
            yield one
            if number % _HONEST_EVERY == 0:
                yield self.one()
        yield from (self.one(channel) for channel in CHANNELS)


def renumbered(message: Hostile) -> Hostile:
    """IDs of its own, so that it is no duplicate of the one that went straight into Kafka."""
    payload = message.payload
    return message if payload is None else message._replace(payload=payload.replace(b"honest-1", b"honest-3"))


def into_kafka(
    settings: Settings, messages: Iterable[Hostile], *, compression: str = "none"
) -> dict[Coordinate, Hostile]:
    """Produce them and wait for all; where each stands. Raises RuntimeError when the broker refuses one."""
    placed: dict[Coordinate, Hostile] = {}
    refused: list[str] = []

    def reported(hostile: Hostile, error, message) -> None:
        if error is not None:
            refused.append(f"{hostile.kind}, {hostile.channel}: {error}")
        else:
            placed[message.topic(), message.partition(), message.offset()] = hostile

    producer = _producer(settings, compression)
    for one in messages:
        topic, stamp = f"raw.{one.channel}", {"timestamp": one.record_ms} if one.record_ms else {}
        while True:
            try:
                producer.produce(
                    topic,
                    one.payload,
                    headers=list(one.headers) or None,
                    on_delivery=lambda error, message, one=one: reported(one, error, message),
                    **stamp,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(120)
    if refused:
        raise RuntimeError(f"{len(refused)} messages were not taken by Kafka, the first: {refused[0]}")
    return placed


def refused_by_kafka(settings: Settings) -> list[str]:
    """Tries a record time in 2099 and a record over the topic's size; what the broker took all the same."""
    taken: list[str] = []
    for what, payload, stamp in (
        ("a record time in 2099", b"{}", {"timestamp": YEAR_2099 * 1000}),
        ("a record over the topic's size", bytes(7_000_000), {}),
    ):
        producer = _producer(settings, compression="none")
        try:
            producer.produce(
                "raw.app", payload, on_delivery=lambda e, _, w=what: None if e else taken.append(w), **stamp
            )
        except KafkaException:
            continue
        producer.flush(30)
    return taken


def _producer(settings: Settings, compression: str = "none") -> Producer:
    return Producer(
        {
            "bootstrap.servers": settings.bootstrap,
            "acks": "all",
            "message.max.bytes": 8_000_000,
            "queue.buffering.max.kbytes": 65_536,
            "compression.type": compression,
            "log_level": 3,
        }
    )


def through_gateway(door: Door, messages: Iterable[Hostile]) -> tuple[list[Hostile], list[str]]:
    """Post them, correctly signed; those taken in, and the answers that were not 200."""
    taken, wrong = [], []
    for one in messages:
        answer = door.send(door.signed(one.channel, one.payload or b""))
        if answer.status_code == 200:
            taken.append(one)
        else:
            wrong.append(f"{one.kind}, {one.channel}: the gateway says {answer.status_code} {answer.text[:200]}")
    return taken, wrong


def at_the_door(
    door: Door, channels: Iterable[str], honest_ones: Honest, too_large: bytes
) -> tuple[list[Hostile], list[Answer], list[str]]:
    """Everything the door must turn away, and used nonces; the honest messages taken in, the answers, what was wrong.

    Each refusal must have been counted under its channel and reason.
    """
    before, taken, answers, wrong = door.refusals(), [], [], []
    for channel in channels:
        answers += [door.try_refused(case) for case in door.cases(channel, too_large)]
        one, other = honest_ones.one(channel), honest_ones.one(channel)
        faults, reused = door.nonces(channel, one.payload or b"", other.payload or b"")
        taken.append(one)
        wrong += faults
        answers.append(door.try_refused(reused))
    wrong += [f"{a.wanted.kind}, {a.wanted.counted}: {a.status} {a.error}" for a in answers if not a.right]
    counted = door.refusals() - before
    wanted: dict[tuple[str, str], int] = {}
    for answer in answers:
        name = (answer.wanted.counted, answer.wanted.error)
        wanted[name] = wanted.get(name, 0) + 1
    if dict(counted) != wanted:
        differing = {name for name in {*counted, *wanted} if counted[name] != wanted.get(name, 0)}
        wrong.append(f"refusals are not counted as they were told: {sorted(differing)}")
    return taken, answers, wrong


def now_s() -> int:
    """A minute ago: the business time of honest messages."""
    return int(time.time()) - 60
