"""Matching in the identity state in MariaDB: what was compared last, how customers stand, pairs proposed and merged.

Nothing personal comes here: pairs of coded records, levels of agreement, hashes of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl
from sqlalchemy import Connection, Engine, text

from pipelines.identity.match_customers import Standing, batches, objections, settled
from pipelines.identity.match_decisions import Decisions
from pipelines.identity.resolve import Decision
from pipelines.io import identity_rows as rows
from pipelines.io import identity_writes as writes
from pipelines.io.identity_lock import alone
from pipelines.io.identity_store import Author, IdentityStore

ORIGIN = "matching"
_NO_REASON = pl.lit(None, pl.String).alias("reason")
_PAIRS_AT_ONCE = 1_000  # a transaction holds the identity lock: loads and the resolver wait no longer than some seconds


@dataclass
class Matched:
    """What a run did, in pairs; `settled` by why there was nothing to do, `demoted` by what spoke against a merge.

    `not_known`: records that the identity state does not know yet.
    """

    merged: int = 0
    customers_merged: int = 0
    identifiers_moved: int = 0
    proposed: int = 0
    withdrawn: int = 0
    not_known: int = 0
    settled: dict[str, int] = field(default_factory=dict)
    demoted: dict[str, int] = field(default_factory=dict)

    def count_settled(self, why: pl.Series) -> None:
        """Adds pairs about which nothing had to be done."""
        for reason, pairs in why.drop_nulls().value_counts().iter_rows():
            self.settled[reason] = self.settled.get(reason, 0) + pairs


def compared_last(engine: Engine) -> dict[str, str]:
    """record_key → fingerprint of what it said when it was compared last."""
    with engine.connect() as connection:
        return dict(
            tuple(row) for row in connection.execute(text("SELECT record_key, profile_hash FROM identity_matched"))
        )


class Matching:
    """Takes the pairs of a run in. `policy`, `identity`: policies matching and identity; `model`: its version."""

    def __init__(
        self, engine: Engine, policy: Mapping[str, Any], identity: Mapping[str, Any], model: str, *, dry_run: bool
    ):
        self._engine, self._policy, self._identity, self._dry_run = engine, policy, identity, dry_run
        self._store = IdentityStore(engine, identity)
        self._author = Author(
            f"policy {policy['version']}",
            f"names, birth date and what confirms them agree, {policy['thresholds']['merge_above']} or more by {model}",
        )
        self._done = Matched()

    def take_in(
        self, found: Decisions, changed: pl.DataFrame, gone: Sequence[str], *, clock: Callable[[], int]
    ) -> Matched:
        """Merge what may be merged, propose the rest, and note what was compared.

        `changed`: record_key and profile_hash of the records that were compared anew; `gone`: those that are no longer
        there. Each batch of merges is a transaction of its own; if the process ends in between, the next run goes on,
        for what was compared is noted last. Records that the identity state does not know yet come with the next run.
        """
        with self._engine.connect() as connection:  # before: who becomes known meanwhile was in no pair
            known = rows.members(connection, changed["record_key"].to_list())
        compared = changed.filter(pl.col("record_key").is_in(list(known)))
        self._done.not_known = len(changed) - len(compared)
        open_pairs = [found.review]
        for batch in batches(found.merge, _PAIRS_AT_ONCE):
            open_pairs.append(self._merge(batch, clock()))
        self._propose(pl.concat(open_pairs), [*changed["record_key"], *gone], clock())
        if not self._dry_run:
            with self._engine.begin() as connection:  # without the identity lock: a million of these take a minute
                note_compared(connection, compared, gone, self._policy["version"], clock())
        return self._done

    def _merge(self, batch: pl.DataFrame, at_us: int) -> pl.DataFrame:
        """One batch; the pairs that a person has to decide about after all, with their ``reason``."""
        limit, demoted = self._policy["merging"]["max_records"], batch.clear().with_columns(_NO_REASON)

        def choose(connection: Connection) -> list[Decision]:
            nonlocal demoted
            standing = standing_of(connection, batch, self._identity["resolution"])
            why = settled(batch, standing)
            self._done.count_settled(why)
            left = batch.filter(why.is_null())
            reason = objections(left, standing, max_records=limit)
            demoted = left.with_columns(reason).filter(reason.is_not_null())
            merging = left.filter(reason.is_null())
            write_reviews(connection, merging.with_columns(_NO_REASON), at_us)
            self._done.merged += len(merging)
            return [Decision("must", *pair) for pair in merging.select("record_id_left", "record_id_right").iter_rows()]

        outcome = self._store.decide_by(choose, at_us=at_us, author=self._author, dry_run=self._dry_run)
        self._done.customers_merged += sum(e.identity_event_type == "merge" for e in outcome.changes.events)
        self._done.identifiers_moved += len(outcome.changes.links)
        for reason, pairs in demoted["reason"].value_counts().iter_rows():
            self._done.demoted[reason] = self._done.demoted.get(reason, 0) + pairs
        return demoted

    def _propose(self, review: pl.DataFrame, touched: Sequence[str], at_us: int) -> None:
        with alone(self._engine, dry_run=self._dry_run) as connection:
            standing = standing_of(connection, review, self._identity["resolution"])
            why = settled(review, standing)
            self._done.count_settled(why)
            proposed = review.filter(why.is_null())
            self._done.withdrawn = withdraw(connection, proposed, touched, self._author, at_us)
            write_reviews(connection, proposed, at_us)
            self._done.proposed = len(proposed)


def standing_of(connection: Connection, pairs: pl.DataFrame, resolution: Mapping[str, Any]) -> Standing:
    """How the records of these pairs stand, and the customers they belong to."""
    named = pl.concat([pairs["record_id_left"], pairs["record_id_right"]]).unique().sort().to_list()
    customer_of = rows.members(connection, named)
    of_customers = rows.records_of_customers(connection, sorted({c for c in customer_of.values() if c is not None}))
    owner = {record: customer for customer, record in of_customers}
    everything = sorted(customer_of.keys() | owner.keys())
    decided, apart = set(), set()
    for decision in rows.decisions_on(connection, everything):
        pair = tuple(sorted(decision[1:]))
        if decision.decision in ("must", "cannot"):
            decided.add(pair)
        customers = tuple(sorted(owner.get(record, record) for record in pair))
        if decision.decision == "cannot" and customers[0] != customers[1]:
            apart.add(customers)
    claims = rows.claims_of_records(connection, everything)
    return Standing(customer_of, decided, apart, _sizes(claims, owner, resolution), _values(claims, owner, resolution))


def _sizes(claims: pl.DataFrame, owner: Mapping[str, str], resolution: Mapping[str, Any]) -> dict[str, int]:
    registered = claims.filter(pl.col("source").is_in(resolution["one_record_per_source"]))["record_key"].unique()
    sizes: dict[str, int] = {}
    for record in registered:
        sizes[owner.get(record, record)] = sizes.get(owner.get(record, record), 0) + 1
    return sizes


def _values(claims: pl.DataFrame, owner: Mapping[str, str], resolution: Mapping[str, Any]) -> pl.DataFrame:
    """(customer_id, kind, token) of what a person has one of; ``kind@channel`` where that holds within the channel."""
    ones = set(resolution["one_per_person"])
    told = [
        (owner.get(record, record), kind if kind in ones else within, token)
        for record, source, token, kind in claims.filter("attested")
        .select("record_key", "source", "token", "token_type").iter_rows()
        if kind in ones or (within := f"{kind}@{source}") in ones
    ]  # fmt: skip
    return pl.DataFrame(told, schema=dict.fromkeys(["customer_id", "kind", "token"], pl.String), orient="row")


def write_reviews(connection: Connection, pairs: pl.DataFrame, at_us: int) -> None:
    """Pairs with probability and evidence, open; one that a person has decided on stays as it was decided."""
    names = ["record_key", "other_record_key", "review_origin", "match_probability", "evidence", "rule_version",
             "review_status", "proposed_at"]  # fmt: skip
    values = [
        (left, right, ORIGIN, probability, _evidence(evidence, reason), version, "open", rows.instant(at_us))
        for left, right, probability, evidence, version, reason in pairs.select(
            "record_id_left", "record_id_right", "match_probability", "evidence", "rule_version", "reason"
        ).iter_rows()
    ]
    # One that was withdrawn waits anew; one that a guard proposed keeps its name, and gets the probability.
    decided = "review_status IN ('accepted', 'rejected')"
    after = ", ".join(
        f"{name} = IF({decided}, {name}, VALUES({name}))" for name in ("match_probability", "evidence", "rule_version")
    )
    after += "".join(
        f", {name} = IF(review_status = 'withdrawn', NULL, {name})" for name in ("decided_at", "actor", "reason")
    )
    again = f"review_status = IF({decided}, review_status, 'open')"  # the last, for the others look at it
    writes.insert(connection, "identity_reviews", names, values, f" ON DUPLICATE KEY UPDATE {after}, {again}")


def _evidence(levels: str, reason: str | None) -> str:
    """Why a person is asked, and how far each comparison agrees; what is missing says nothing."""
    said = {name: level for name, level in orjson.loads(levels).items() if level != "missing"}
    return orjson.dumps(({"asked_because": reason} if reason else {}) | said).decode()


_OPEN = text(
    "SELECT record_key, other_record_key FROM identity_reviews WHERE review_origin = :origin AND review_status = 'open'"
)


def withdraw(connection: Connection, proposed: pl.DataFrame, touched: Sequence[str], author: Author, at_us: int) -> int:
    """Close the open proposals of records compared anew, or gone, that no longer look like one person; how many."""
    compared, still = set(touched), set(proposed.select("record_id_left", "record_id_right").iter_rows())
    waiting = [tuple(row) for row in connection.execute(_OPEN, {"origin": ORIGIN})]
    over = [pair for pair in waiting if pair not in still and not compared.isdisjoint(pair)]
    if over:
        connection.exec_driver_sql(
            "UPDATE identity_reviews SET review_status = 'withdrawn', decided_at = %s, actor = %s, reason = %s"
            " WHERE record_key = %s AND other_record_key = %s AND review_status = 'open'",
            [(rows.instant(at_us), author.actor, "not alike any more", *pair) for pair in over],
        )
    return len(over)


def note_compared(
    connection: Connection, compared: pl.DataFrame, gone: Sequence[str], rule_version: str, at_us: int
) -> None:
    """What these records said when they were compared; of those that are gone nothing stays."""
    names = ["record_key", "profile_hash", "rule_version", "matched_at"]
    values = [(*row, rule_version, rows.instant(at_us)) for row in compared.select(names[:2]).iter_rows()]
    update = ", ".join(f"{name} = VALUES({name})" for name in names[1:])
    writes.insert(connection, "identity_matched", names, values, f" ON DUPLICATE KEY UPDATE {update}")
    for part in rows.chunks(list(gone)):
        marks = ", ".join(["%s"] * len(part))
        connection.exec_driver_sql(f"DELETE FROM identity_matched WHERE record_key IN ({marks})", tuple(part))  # noqa: S608
