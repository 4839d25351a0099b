"""Pre-encoded messages for all parts of the bench: made once a run by the simulator, sent in as many passes as needed.

Each pass puts other IDs into the same messages (`truth.in_pass`), so the pool may be small and nothing is a duplicate
that the simulator did not mean as one.
"""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pipelines.simulation.traffic import generate
from pipelines.simulation.truth import in_pass

MIXES = {"flat": "flat_json", "mix": "all"}
SEED = 20_260_109
CUSTOMERS = 50_000
FLAT_TEXTS = (
    "message_id", "session_id", "visitor_id", "sender", "sent_at", "text", "page_url", "order_id", "agent_id",
    "member_number", "asked_at", "replied_at", "event",
)  # fmt: skip
FLAT_NUMBERS = ("response_time_s", "score", "score_scale_max")
_HOURS = 20  # contacts of the last 20 hours: received now, none of them from the future


class Record(NamedTuple):
    """What a producer needs of one message."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def make(path: Path, mix: str, events: int) -> dict[str, float]:
    """Writes a pool of `events` messages of ``flat`` (website chat JSON) or ``mix`` (all channels); its measures."""
    start_at = datetime.now(UTC) - timedelta(hours=_HOURS)
    made = generate(SEED, 2 * events, CUSTOMERS, start_at, MIXES[mix], span_s=(_HOURS - 1) * 3600)
    wanted = (tuple(Record(m.topic, m.key, m.value, m.headers)) for m in made if mix == "mix" or readable(m.value))
    records = list(itertools.islice(wanted, events))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(records, protocol=5))
    return {
        "messages": len(records),
        "mean_bytes": round(sum(len(value) for _, _, value, _ in records) / len(records), 1),
        "topics": len({topic for topic, *_ in records}),
    }


def readable(value: bytes) -> bool:
    """True for a JSON object with texts where texts belong: the bare loop, which checks nothing, must be able to parse
    the flat messages. What is wrong in other ways (blank, seen before, impossible time or value) stays in.

    >>> readable(b'{"text":"a"}'), readable(b'{"text":'), readable(b'{"text":7}')
    (True, False, False)
    """
    try:
        found = json.loads(value)
    except ValueError:
        return False
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str | None) for name in FLAT_TEXTS)
        and all(isinstance(found.get(name), float | None) for name in FLAT_NUMBERS)
    )


def load(path: Path) -> list[Record]:
    """The pool as it was made. The file is our own, of this run."""
    return [Record(*row) for row in pickle.loads(path.read_bytes())]  # noqa: S301


def endless(pool: list[Record], first_pass: int) -> Iterator[Record]:
    """The pool again and again from a pass number on, each pass with IDs of its own."""
    number = first_pass
    while True:
        for topic, key, value, headers in pool:
            yield Record(topic, key, in_pass(value, number), headers)
        number += 1
