"""From one state of the identities to the next: what goes into the state, and what goes out to its readers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from pipelines.identity.evidence import ACCOUNTS, NOBODY_AT_ALL, customer_id_of
from pipelines.identity.resolve import Resolution

LINKS = ("token", "token_type", "stretch", "customer_id", "valid_from_at", "valid_to_at", "link_rule", "evidence")
GONE = "gone"


class Link(NamedTuple):
    """One stretch of one identifier; instants in microseconds, 0 and None are for ever."""

    token: str
    token_type: str
    stretch: int
    customer_id: str | None
    valid_from_at: int
    valid_to_at: int | None
    link_rule: str
    evidence: str


class Event(NamedTuple):
    """A merge (`other_customer_id` became `customer_id`) or a split (part of `customer_id` became the other)."""

    identity_event_id: str
    identity_event_type: str
    customer_id: str
    other_customer_id: str
    record_keys: str


@dataclass
class Changes:
    """What a resolution changes: links by token (an empty list: the token is gone), members, and events."""

    links: dict[str, list[Link]] = field(default_factory=dict)
    members: dict[str, str | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


def links_of(resolution: Resolution, claims: pl.DataFrame) -> dict[str, list[Link]]:
    """The links of every token, in the order of time, with the sources that carried it as evidence."""
    carried = claims.group_by("token").agg(
        pl.col("token_type").first(), pl.col("source").unique().sort().str.join(",").alias("evidence")
    )
    found = {}
    for token, kind, evidence in carried.iter_rows():
        rule = resolution.rules.get(token)
        if rule is None:
            continue
        nobody = NOBODY_AT_ALL if rule == "shared_by_others" and kind in ACCOUNTS else None
        found[token] = [
            Link(token, kind, n, customer_id_of(owner) if owner else nobody, from_us or 0, to_us, rule, evidence)
            for n, (owner, from_us, to_us) in enumerate(resolution.timelines[token])
        ]
    return found


def changes(
    before: Mapping[str, Sequence[Link]],
    members_before: Mapping[str, str | None],
    resolution: Resolution,
    claims: pl.DataFrame,
    *,
    at_us: int,
) -> Changes:
    """What differs between the state `before` (of the tokens and records looked at) and the resolution of `claims`."""
    after = links_of(resolution, claims)
    changed = {token: links for token, links in after.items() if not _same(before.get(token, ()), links)}
    changed |= {token: [] for token in before if token not in after}
    members = {record: _name(resolution, record) for record in members_before}
    moved = {record: name for record, name in members.items() if members_before[record] != name}
    return Changes(changed, moved, list(_events(members_before, members, moved, at_us)))


def _same(before: Sequence[Link], after: Sequence[Link]) -> bool:
    # Of a crowded identifier only part of the evidence is looked at, so its wording may differ and says nothing.
    if before and before[0].link_rule == after[0].link_rule == "crowded":
        return True
    return list(before) == list(after)


def _name(resolution: Resolution, record: str) -> str | None:
    oldest = resolution.members.get(record)
    return oldest and customer_id_of(oldest)


def _events(
    before: Mapping[str, str | None], after: Mapping[str, str | None], moved: Mapping[str, str | None], at_us: int
) -> Iterable[Event]:
    """One event a pair of customers between which records moved; whoever is gone afterwards was merged away."""
    alive = set(after.values())
    ways: dict[tuple[str, str], list[str]] = {}
    for record, name in moved.items():
        if before[record] is not None and name is not None:
            ways.setdefault((before[record], name), []).append(record)
    for (old, new), records in sorted(ways.items()):
        kind, survivor, other = ("split", old, new) if old in alive else ("merge", new, old)
        told = f"{kind}|{survivor}|{other}|{at_us}"
        name = hashlib.sha256(told.encode()).hexdigest()[:24]
        yield Event(name, kind, survivor, other, json.dumps(sorted(records)))


def today(links: Sequence[Link], at_us: int) -> Link | None:
    """The stretch that holds at `at_us`; None for an identifier without links, and one that was given up by then.

    The last stretch is today's, also if a source's clock runs ahead of ours: nothing would tell the map on that day.

    >>> given_up = Link("ph1_0", "phone", 0, "c_a", 0, 50, "attested", "crm")
    >>> today([given_up], 49).customer_id, today([given_up], 50), today([], 50)
    ('c_a', None, None)
    """
    if not links or (links[-1].valid_to_at is not None and links[-1].valid_to_at <= at_us):
        return None
    return links[-1]


def map_record(links: Sequence[Link], rule_version: str, at_us: int) -> dict[str, object] | None:
    """The record of identity.map: whose the identifier is now; None where it is nobody's, or was given up by `at_us`.

    >>> links = [Link("ph1_0", "phone", 0, "c_a", 0, 50, "attested", "crm"),
    ...          Link("ph1_0", "phone", 1, "c_b", 50, None, "attested", "app")]
    >>> map_record(links, "identity-2", 49)["customer_id"], map_record(links[:1], "identity-2", 49)["customer_id"]
    ('c_b', 'c_a')
    >>> map_record(links[:1], "identity-2", 50) is None
    True
    """
    link = today(links, at_us)
    if link is None or link.customer_id is None:
        return None
    return {
        "token": link.token,
        "token_type": link.token_type,
        "customer_id": link.customer_id,
        "evidence": link.evidence,
        "rule_version": rule_version,
        "valid_from_at": link.valid_from_at,
    }


def link_records(token: str, links: Sequence[Link], kind: str, rule_version: str, at_us: int) -> list[dict]:
    """The records of identity.links: all stretches of the token anew; one without a customer where it has none left."""
    rows = links or [Link(token, kind, 0, None, 0, None, GONE, "")]
    return [row._asdict() | {"rule_version": rule_version, "recorded_at": at_us} for row in rows]
