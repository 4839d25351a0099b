"""The state of the identities in MariaDB: evidence, decisions, and whose each identifier is; one writer at a time.

A change is one transaction: evidence or decision in, the records it touches resolved anew, links and events into the
state and into the outbox. What the outbox holds goes to the topics afterwards, and again after a crash in between.
Only records that share identifiers with what came in are read, so a day's records cost what a day's records cost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl
from sqlalchemy import Connection, Engine

from pipelines.identity.changes import Changes, changes, link_records, map_record
from pipelines.identity.register_records import Revision
from pipelines.identity.resolve import Conflict, Decision, resolve
from pipelines.io import identity_revisions
from pipelines.io import identity_rows as rows
from pipelines.io import identity_writes as writes
from pipelines.io.identity_lock import alone
from pipelines.io.mariadb_positions import Positions

log = logging.getLogger(__name__)

_RECORDS_AT_ONCE = 2_000
MAP_TOPIC, LINKS_TOPIC, EVENTS_TOPIC = "identity.map", "identity.links", "identity.events"


@dataclass
class Outcome:
    """What a change did: new or changed claims and their identifiers, records looked at, and the differences."""

    claims_changed: int = 0
    tokens_changed: frozenset[str] = frozenset()
    records_looked_at: int = 0
    changes: Changes = field(default_factory=Changes)
    conflicts: list[Conflict] = field(default_factory=list)


@dataclass(frozen=True)
class Author:
    """Who decides, and why; a rule's name where new evidence does."""

    actor: str
    reason: str


class IdentityStore:
    """`policy` is policy identity as a whole."""

    def __init__(self, engine: Engine, policy: Mapping[str, Any]):
        self._engine, self._policy = engine, policy
        with engine.begin() as connection:
            rows.create_tables(connection)
            Positions.create(connection)

    def learn(
        self,
        evidence: pl.DataFrame,
        *,
        at_us: int,
        author: Author,
        complete: str | None = None,
        revisions: Mapping[str, Revision] | None = None,
        check: Callable[[pl.DataFrame], None] = lambda known: None,
        beside: Callable[[Connection], None] = lambda connection: None,
        before_commit: Callable[[frozenset[str]], None] = lambda tokens: None,
        dry_run: bool = False,
    ) -> Outcome:
        """Take evidence in and resolve what it touches; `beside` joins the transaction, `dry_run` changes nothing.

        `check` gets the claims as they stand, `before_commit` the tokens of new and changed ones; where one of them
        fails nothing is taken in.

        A record of a register (policy `one_record_per_source`) is told whole: what it held and is not told any more
        ends; with `complete` so does all of that source's records that are not in `evidence`. It ends at `at_us`, or
        where `revisions` (record_key → what was told of it) says when; a record that was told later is left as it is.
        """
        registers = self._policy["resolution"]["one_record_per_source"]
        with alone(self._engine, dry_run=dry_run) as connection:
            beside(connection)
            told = revisions or {}
            if stale := identity_revisions.told_later(connection, told):
                evidence = evidence.filter(~pl.col("record_key").is_in(list(stale)))
                told = {record: revision for record, revision in told.items() if record not in stale}
            known = rows.claims_of_records(connection, sorted({*evidence["record_key"], *told}))
            if complete is not None:
                known = pl.concat([known, rows.claims_of_source(connection, complete)]).unique(["record_key", "token"])
                told = {complete: Revision(at_us, at_us, 0)}
            check(known)
            ended_at = {record: revision.first_at for record, revision in told.items()}
            changed = writes.merged(evidence, known, registers=registers, at_us=at_us, ended_at=ended_at)
            identity_revisions.write(connection, told)
            outcome = Outcome(changed.height, frozenset(changed["token"]))
            if changed.height:
                writes.write_claims(connection, changed)
                fresh = writes.fresh_claims(changed, known)
                says_who = pl.col("token_type").is_in(self._policy["resolution"]["same_person"])
                tokens = changed.filter(~says_who)["token"]
                self._resolve(connection, changed["record_key"], tokens, fresh, outcome, at_us, author)
                if not dry_run:
                    before_commit(outcome.tokens_changed)
        return outcome

    def decide(
        self, decisions: Sequence[Decision], *, at_us: int, author: Author, dry_run: bool = False
    ) -> Outcome:  # fmt: skip
        """Take a person's word on pairs of records and resolve what it touches; `dry_run` changes nothing."""
        return self.decide_by(lambda connection: decisions, at_us=at_us, author=author, dry_run=dry_run)

    def decide_by(
        self,
        choose: Callable[[Connection], Sequence[Decision]],
        *,
        at_us: int,
        author: Author,
        dry_run: bool = False,
    ) -> Outcome:
        """`decide` what `choose` says when nobody else changes the identities any more; it may read and write."""
        outcome = Outcome()
        with alone(self._engine, dry_run=dry_run) as connection:
            decisions = choose(connection)
            if not decisions:
                return outcome
            records = pl.Series(sorted({key for d in decisions for key in d[1:]}), dtype=pl.String)
            writes.write_decisions(connection, decisions, author.actor, author.reason, at_us)
            writes.close_reviews(connection, decisions, author.actor, author.reason, at_us)
            self._resolve(connection, records, pl.Series([], dtype=pl.String), {}, outcome, at_us, author)
        return outcome

    def resolve_again(self, *, clock: Callable[[], int], author: Author, dry_run: bool = False) -> Outcome:
        """Resolve everybody by the policy as it is, some records a transaction; evidence and decisions stay.

        `clock`: microseconds since the epoch.
        """
        whole, after = Outcome(), 0
        while True:
            with alone(self._engine, dry_run=dry_run) as connection:
                records, after = rows.records_after(connection, after, _RECORDS_AT_ONCE)
                part, none = Outcome(), pl.Series([], dtype=pl.String)
                if not records:
                    break
                self._resolve(connection, pl.Series(records, dtype=pl.String), none, {}, part, clock(), author)
            whole.records_looked_at += len(records)
            whole.changes.links |= part.changes.links
            whole.changes.members |= part.changes.members
            # A dry run meets what reaches over several of its transactions in each of them.
            told = {event[1:]: event for event in [*whole.changes.events, *part.changes.events]}
            whole.changes.events = list(told.values())
        return whole

    def _resolve(
        self,
        connection: Connection,
        records: pl.Series,
        tokens: pl.Series,
        fresh: Mapping[str, int],
        outcome: Outcome,
        at_us: int,
        author: Author,
    ) -> None:
        policy = self._policy["resolution"]
        around = rows.neighbourhood(connection, records.unique().to_list(), tokens.unique().to_list(), fresh, policy)
        decisions = rows.decisions_on(connection, list(around.members))
        resolution = resolve(around.claims, decisions, policy, crowded=around.crowded)
        before = rows.links_of_tokens(connection, around.claims["token"].unique().to_list())
        found = changes(before, around.members, resolution, around.claims, at_us=at_us)
        outcome.changes, outcome.records_looked_at = found, len(around.members)
        outcome.conflicts = resolution.conflicts
        self._write(connection, found, around, at_us, author)
        writes.propose(connection, resolution.conflicts, self._policy["version"], at_us)

    def _write(
        self, connection: Connection, found: Changes, around: rows.Neighbourhood, at_us: int, author: Author
    ) -> None:
        version = self._policy["version"]
        at_us = rows.after_what_is_told(connection, list(found.links), at_us)
        writes.write_links(connection, found.links, version, at_us)
        writes.write_members(connection, found.members)
        out: list[tuple[str, str, bytes | None]] = []
        kinds = dict(around.claims.select("token", "token_type").unique().iter_rows())
        for token, links in found.links.items():
            told = link_records(token, links, kinds.get(token, ""), version, at_us)
            out += [(LINKS_TOPIC, token, orjson.dumps(record)) for record in told]
            current = map_record(links, version, at_us)
            out.append((MAP_TOPIC, token, None if current is None else orjson.dumps(current)))
        who = {"actor": author.actor, "reason": author.reason, "rule_version": version, "recorded_at": at_us}
        for event in found.events:
            out.append((EVENTS_TOPIC, event.customer_id, orjson.dumps(event._asdict() | who)))
        writes.write_outbox(connection, out)

    def drain(self, publish: Callable[[str, list[tuple[str, bytes | None]]], object]) -> int:
        """Hand what the outbox holds to `publish(topic, records)` and forget it; the number of records."""
        total = 0
        with alone(self._engine) as connection:
            while batch := writes.outbox(connection):
                for topic in (LINKS_TOPIC, EVENTS_TOPIC, MAP_TOPIC):
                    if told := [(key, value) for _, of, key, value in batch if of == topic]:
                        publish(topic, told)
                writes.forget_outbox(connection, batch[-1][0])
                total += len(batch)
        return total
