"""Records of a simulated CRM: the people of the traffic, as the customer base knows them, with their revisions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import orjson

from pipelines.simulation import crm
from pipelines.simulation.clock import local
from pipelines.simulation.people import customer

DAY_US = 86_400_000_000
RETRY_SHARE, BROKEN_SHARE = 0.01, 0.01


class SourceMessage(NamedTuple):
    """One record for Kafka; whose it is and what must become of it are the truth."""

    topic: str
    key: bytes
    value: bytes
    updated_us: int
    customer_no: str
    #: kept | rejected | duplicate
    expect: str


def crm_records(seed: int, customers: int, until_at: datetime) -> list[SourceMessage]:
    """Every customer's record as it stood, oldest change first; a fifth of them changed once more before ``until_at``.

    What it says of a person is what the CRM file of the same seed says; consents and state are added.

    >>> from datetime import UTC
    >>> first = crm_records(7, 3, datetime(2026, 1, 9, tzinfo=UTC))[0]
    >>> first.topic, orjson.loads(first.value)["customer_no"] == first.customer_no
    ('raw.crm', True)
    """
    until_us = int(until_at.timestamp() * 1_000_000)
    made = [m for number, row in enumerate(crm.rows(seed, customers)) for m in _of_one(seed, number, row, until_us)]
    return sorted(made, key=lambda one: (one.updated_us, one.key))  # stable: a retry stays behind its record


def _of_one(seed: int, number: int, row: dict[str, str], until_us: int) -> Iterator[SourceMessage]:
    chance = random.Random(f"{seed}/{number}/crm")  # noqa: S311
    person = customer(seed, number)
    first_us = until_us - chance.randrange(30 * DAY_US, 700 * DAY_US)
    record = {name: value for name, value in row.items() if value != ""}
    record |= {"birth_year": person.birth_year, "national_id": person.national_id, "updated_at": local(first_us)}
    record["consent"] = {
        what: {"given": chance.random() < share, "at": local(first_us)}
        for what, share in (("marketing", 0.6), ("profiling", 0.5), ("recorded_calls", 0.9))
        if chance.random() < 0.8  # a fifth was never asked
    }
    yield message("raw.crm", person.customer_no, record, first_us)
    if chance.random() < 0.2:
        later_us = chance.randrange(first_us + DAY_US, until_us)
        record |= {"updated_at": local(later_us), "phone_verified": "1" if "phone" in record else "0"}
        record["status"] = "closed" if chance.random() < 0.1 else "active"
        yield from with_dirt(chance, message("raw.crm", person.customer_no, record, later_us), drop="updated_at")


def message(topic: str, customer_no: str, record: dict, updated_us: int, key: str | None = None) -> SourceMessage:
    """A record in wire form; its key is a hash, since no key is personal."""
    hashed = blake2b((key or customer_no).encode(), digest_size=8).hexdigest().encode()
    return SourceMessage(topic, hashed, orjson.dumps(record), updated_us, customer_no, "kept")


def with_dirt(chance: random.Random, clean: SourceMessage, *, drop: str) -> Iterator[SourceMessage]:
    """The record, now and then with a retry of the same bytes behind it, or with one that lacks a field before it."""
    if chance.random() < BROKEN_SHARE:
        broken = {name: value for name, value in orjson.loads(clean.value).items() if name != drop}
        yield clean._replace(value=orjson.dumps(broken), expect="rejected")
    yield clean
    if chance.random() < RETRY_SHARE:
        yield clean._replace(expect="duplicate")
