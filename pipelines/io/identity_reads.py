"""What people ask of the identity state: why a customer is one, and what a merge or a split would decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection, bindparam, text

from pipelines.identity.changes import Link
from pipelines.identity.evidence import customer_id_of
from pipelines.identity.resolve import Decision, resolve
from pipelines.io import identity_rows as rows


class NoSuchCustomer(ValueError):
    """Nobody has that ID today; the message says what to do."""


class NotOfCustomer(ValueError):
    """A record is not the customer's, or nothing says where to part it; the message says what to do."""


class Word(NamedTuple):
    """A person's decision on two records."""

    recorded_at: datetime
    decision: str
    record_key: str
    other_record_key: str
    actor: str
    reason: str


class Review(NamedTuple):
    """A pair that waits for a person, with the customers its records have today."""

    proposed_at: datetime
    review_origin: str
    match_probability: float | None
    record_key: str
    customer_id: str | None
    other_record_key: str
    other_customer_id: str | None
    token: str | None
    evidence: str | None


@dataclass(frozen=True)
class Card:
    """Why a customer is one; `claims`: columns as `identity_rows.CLAIM_COLUMNS`, the oldest record first."""

    customer_id: str
    claims: pl.DataFrame
    links: list[Link]
    decisions: list[Word]
    reviews: list[Review]


def card(connection: Connection, customer_id: str) -> Card | None:
    """The customer's card; None where nobody has that ID."""
    records = rows.records_of_customer(connection, customer_id)
    if not records:
        return None
    links = [link for of in rows.links_of_customers(connection, [customer_id]).values() for link in of]
    claims = rows.claims_of_records(connection, records).sort("record_seq", "token")
    return Card(customer_id, claims, links, _words(connection, records), _reviews(connection, records))


def card_of_token(connection: Connection, token: str) -> Card | None:
    """The card of whoever the identifier is today; None where it is nobody's."""
    for link in reversed(rows.links_of_tokens(connection, [token]).get(token, [])):
        if link.customer_id is not None and link.valid_to_at is None:
            return card(connection, link.customer_id)
    return None


_WORDS = text(
    "SELECT recorded_at, decision, record_key, other_record_key, actor, reason FROM identity_decisions"
    " WHERE record_key IN :wanted OR other_record_key IN :wanted ORDER BY recorded_at"
).bindparams(bindparam("wanted", expanding=True))


def _words(connection: Connection, records: Sequence[str]) -> list[Word]:
    found = {Word(*row) for part in rows.chunks(records) for row in connection.execute(_WORDS, {"wanted": part})}
    return sorted(found)


_REVIEWED = (
    "SELECT r.proposed_at, r.review_origin, r.match_probability, r.record_key, a.customer_id, r.other_record_key,"
    " b.customer_id, r.token, r.evidence FROM identity_reviews r"
    " LEFT JOIN identity_members a ON a.record_key = r.record_key"
    " LEFT JOIN identity_members b ON b.record_key = r.other_record_key WHERE r.review_status = 'open'"
    " AND COALESCE(a.customer_id <> b.customer_id, TRUE)"  # one customer by now, otherwise: nothing left to decide
)
_OF_RECORDS = text(
    f"{_REVIEWED} AND (r.record_key IN :wanted OR r.other_record_key IN :wanted)"
).bindparams(bindparam("wanted", expanding=True))  # fmt: skip


def _reviews(connection: Connection, records: Sequence[str]) -> list[Review]:
    found = {Review(*row) for part in rows.chunks(records) for row in connection.execute(_OF_RECORDS, {"wanted": part})}
    return sorted(found, key=lambda review: (review.proposed_at, review.record_key, review.other_record_key))


def open_reviews(connection: Connection, limit: int) -> list[Review]:
    """The pairs that wait for a person: the likeliest first, then the oldest."""
    order = " ORDER BY r.match_probability IS NULL, r.match_probability DESC, r.proposed_at LIMIT :limit"
    return [Review(*row) for row in connection.execute(text(_REVIEWED + order), {"limit": limit})]


def all_evidence(connection: Connection) -> pl.DataFrame:
    """record_key, token, token_type, attested of all evidence."""
    query = text("SELECT record_key, token, token_type, attested FROM identity_claims")
    kinds = {"record_key": pl.String, "token": pl.String, "token_type": pl.String, "attested": pl.Int8}
    return pl.DataFrame([tuple(row) for row in connection.execute(query)], schema=kinds, orient="row")


def merging(connection: Connection, customer_id: str, other_customer_id: str) -> list[Decision]:
    """The decisions that make one customer of two: the records that name them belong together, nothing is kept apart.

    Raises NoSuchCustomer, NotOfCustomer.
    """
    if customer_id == other_customer_id:
        raise NotOfCustomer(f"{customer_id} twice: a merge makes one customer of two; name the other one.")
    mine, theirs = (_records(connection, name) for name in (customer_id, other_customer_id))
    must = Decision("must", _naming(mine, customer_id), _naming(theirs, other_customer_id))
    return [*_freed(connection, mine, theirs), must]


def judging(connection: Connection, record: str, other: str, *, one_person: bool) -> list[Decision]:
    """The decisions that a person's word on a pair of records comes to.

    Where it is one person, what keeps their customers apart no longer does: a split names every pair of records, so
    the word on one pair alone would change nothing. Raises NotOfCustomer.
    """
    known = rows.members(connection, [record, other])
    if record == other or len(known) < 2:
        strangers = sorted({record, other} - known.keys()) or [record]
        raise NotOfCustomer(f"{', '.join(strangers)}: a pair is two source records, as kefulake identity review lists.")
    if not one_person:
        return [Decision("cannot", record, other)]
    mine, theirs = (
        rows.records_of_customer(connection, known[key]) if known[key] else [key] for key in (record, other)
    )
    freed = _freed(connection, mine, theirs) if known[record] is None or known[record] != known[other] else []
    return [*(d for d in freed if {*d[1:]} != {record, other}), Decision("must", record, other)]


def _freed(connection: Connection, mine: Sequence[str], theirs: Sequence[str]) -> list[Decision]:
    """Takes back what keeps records of two customers apart."""
    parted = [d for d in rows.decisions_on(connection, mine) if d.decision == "cannot"]
    return [Decision("may", *d[1:]) for d in parted if {*d[1:]} & {*theirs} and {*d[1:]} <= {*mine, *theirs}]


def splitting(
    connection: Connection, customer_id: str, away: Sequence[str], resolution: Mapping[str, Any]
) -> list[Decision]:  # fmt: skip
    """The decisions that part a customer: `away` leaves, or where that is empty the last merge is taken back.

    Every record of one part is kept apart from every record of the other. Raises NoSuchCustomer, NotOfCustomer.
    """
    records = _records(connection, customer_id)
    if strangers := sorted(set(away) - set(records)):
        raise NotOfCustomer(f"{', '.join(strangers)}: no record of {customer_id}; it has {', '.join(records)}.")
    leaving = list(away) or _merged_last(connection, customer_id, records, resolution)
    staying = [record for record in records if record not in leaving]
    if not staying:
        raise NotOfCustomer(f"All records of {customer_id} would leave; name those that go and keep at least one.")
    if not leaving:
        raise NotOfCustomer(
            f"Rules join what was merged last into {customer_id} as well; say which records leave by --away."
        )
    return [Decision("cannot", stays, leaves) for stays in staying for leaves in leaving]


def _merged_last(
    connection: Connection, customer_id: str, records: Sequence[str], resolution: Mapping[str, Any]
) -> list[str]:  # fmt: skip
    """The records that would not be the customer's without the last decision to merge."""
    decisions = rows.decisions_on(connection, records)
    merged = [d for d in decisions if d.decision == "must" and {*d[1:]} <= {*records}]
    if not merged:
        raise NotOfCustomer(
            f"No person merged {customer_id}: rules did. Say which records leave by --away; "
            f"kefulake identity explain {customer_id} lists them."
        )
    around = rows.neighbourhood(connection, records, [], {}, resolution)
    rest = [d for d in decisions if d != merged[-1]]
    without = resolve(around.claims, rest, resolution, crowded=around.crowded)
    naming = _naming(records, customer_id)
    oldest = without.members.get(naming, naming)  # without a person's word it may be nobody's
    return [record for record in records if record != naming and without.members.get(record) != oldest]


def _naming(records: Sequence[str], customer_id: str) -> str:
    """The record that names the customer; an older one may only follow it, by what somebody typed."""
    return next(record for record in records if customer_id_of(record) == customer_id)


def _records(connection: Connection, customer_id: str) -> list[str]:
    found = rows.records_of_customer(connection, customer_id)
    if not found:
        raise NoSuchCustomer(
            f"Nobody has the ID {customer_id} today. A merged customer has the older ID, a provisional one (p_…) "
            "none to merge; kefulake identity explain --token TOKEN says whose an identifier is."
        )
    return found
