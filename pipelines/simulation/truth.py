"""The side file of a simulation: what is true of each message sent. No product code reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.simulation.contact import MARK

# A pool sent once more carries another number in each ID: 7 digits after "sim", or 5 inside WeChat's numeric MsgId.
MESSAGE_NUMBER_MARK = "777700000"
_MARK_BYTES, _MESSAGE_NUMBER_BYTES = MARK.encode(), MESSAGE_NUMBER_MARK.encode()
_PASS = re.compile(rb"sim(\d{7})")
# At most nine more digits: a message cut off in the middle of its MsgId has fewer.
_NUMBER_PASS = re.compile(rb"(?<!\d)7777\d{5}(?=\d{0,9}(?!\d))")


class Truth(NamedTuple):
    """What is true of one message; see the field names of the clean record for the verdicts."""

    #: Hash of the payload as in the first pass: see `truth_id`.
    truth_id: str
    #: 0 for the first message with these bytes, 1 and up for a platform's retries of it.
    copy: int
    topic: str
    #: kept | rejected | review | duplicate
    expect: str
    #: Why, where not kept: the parser's or the cleaning rule; "event_id" and "feedback_window" for duplicates,
    #: "complaint" for whatever unclear complaint goes to review.
    rule: str | None
    #: How it was made: clean, or the kind of dirt.
    how: str
    kind: str
    sender_role: str
    #: Number of the person in the CRM file of the same seed; the same over all channels.
    customer_no: str
    #: True where the message carries an identifier that the CRM file holds and has verified.
    linkable: bool
    response_time_verdict: str | None
    score_verdict: str | None
    #: Personal numbers written into the text, digits only; none may be left in the clear.
    personal: str | None
    #: Same for a feedback and its repeats: exactly one of a group is kept.
    group: str | None


def in_pass(payload: bytes, number: int) -> bytes:
    """The payload with the IDs of another pass over the pool; as long as before.

    >>> in_pass(b'{"id":"w-sim0000000-00000001"}', 12)
    b'{"id":"w-sim0000012-00000001"}'
    """
    if number == 0:
        return payload
    id_of_pass, number_of_pass = _written(number)
    return payload.replace(_MARK_BYTES, id_of_pass).replace(_MESSAGE_NUMBER_BYTES, number_of_pass)


@lru_cache(maxsize=4)
def _written(number: int) -> tuple[bytes, bytes]:
    """A pass number as it stands in IDs; made once a pass, for a generator of 140,000 messages a second."""
    return b"sim%07d" % number, b"7777%05d" % number


def truth_id(payload: bytes) -> str:
    """Hash by which a raw message finds its truth, whichever pass it was sent in.

    >>> truth_id(b'"w-sim0000000-00000001"') == truth_id(b'"w-sim0000012-00000001"')
    True
    """
    first = _PASS.sub(MARK.encode(), payload)
    first = _NUMBER_PASS.sub(MESSAGE_NUMBER_MARK.encode(), first)
    return blake2b(first, digest_size=16).hexdigest()


def write(path: Path, rows: Iterable[Truth], *, passes: int, last_pass_events: int) -> int:
    """Write the truth of a pool that was sent ``passes`` times, the last time only its first ``last_pass_events``.

    Parquet, or JSON lines by the file's ending. Each row is a message of the first pass, in the order sent; the file
    says in ``passes`` how often it was sent. Returns the number of rows.
    """
    records = [row._asdict() | {"passes": passes - (n >= last_pass_events)} for n, row in enumerate(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    else:
        pq.write_table(pa.Table.from_pylist(records), path, compression="zstd")
    return len(records)
