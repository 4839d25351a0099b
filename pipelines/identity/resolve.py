"""Who is who: customers out of evidence and decisions, a pure function of both. See DECISIONS.md, "One customer".

Attested identifiers build customers: those a person has for good (unionid, member number) join records first, then
those that change hands (phone, e-mail), tenure by tenure. What somebody typed joins nobody; it follows a customer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from pipelines.identity.clusters import KEPT_APART, Clusters
from pipelines.identity.evidence import COLUMNS
from pipelines.identity.ownership import NOBODY, Typed, owners_of
from pipelines.identity.tenures import Claim, Owned, tenures, timeline

DAY_US = 86_400_000_000


class Conflict(NamedTuple):
    """A link that was not made: two records that share an identifier, and the guard that kept them apart."""

    token: str
    record_key: str
    other_record_key: str
    guard: str


@dataclass
class Resolution:
    """What `resolve` found.

    `members`: record_key → the oldest record_key of its customer; a record that only typed identifiers carried and that
    follows nobody is left out. `timelines`: token → stretches, whose owner is an oldest record_key or None (shared).
    """

    members: dict[str, str]
    timelines: dict[str, list[tuple[str | None, int | None, int | None]]]
    rules: dict[str, str]
    conflicts: list[Conflict]


class Decision(NamedTuple):
    """A person's word on two records (`must` be one customer, `cannot` be, `may`: no word any more)."""

    decision: str
    record_key: str
    other_record_key: str


def resolve(
    evidence: pl.DataFrame,
    decisions: Sequence[Decision],
    policy: Mapping[str, Any],
    *,
    crowded: frozenset[str] = frozenset(),
) -> Resolution:
    """Customers and owners of tokens.

    Args:
        evidence: see `pipelines.identity.evidence`, and `record_seq`: the order in which records arrived.
        decisions: oldest first; the last on a pair counts.
        policy: part `resolution` of policy identity.
        crowded: tokens known to be so, of which `evidence` holds a part only.

    The oldest record of a customer names it, so a merge keeps the older name and a split gives the other one back; and
    the answer for records that share nothing with others does not depend on the others.
    """
    return _Resolver(evidence, decisions, policy, crowded).resolution()


class _Resolver:
    def __init__(
        self, evidence: pl.DataFrame, decisions: Sequence[Decision], policy: Mapping[str, Any], crowded: frozenset[str]
    ):
        self._policy = policy
        ordered = evidence.sort("record_seq", "token")
        self._keys: list[str] = ordered["record_key"].unique(maintain_order=True).to_list()
        self._number = {key: n for n, key in enumerate(self._keys)}
        self._claims: dict[str, list[tuple[Claim, bool]]] = defaultdict(list)
        self._kinds: dict[str, str] = {}
        self._tokens: dict[int, list[str]] = defaultdict(list)
        exclusive, values = self._read(ordered)
        apart, self._must = self._decided(decisions)
        self._clusters = Clusters(
            len(self._keys), exclusive=exclusive, values=values, apart=apart, max_records=policy["max_records"]
        )
        limit = policy["crowded_above_records"]
        self._crowded = crowded | {token for token, claims in self._claims.items() if len(claims) > limit}
        self._conflicts: list[Conflict] = []

    def _read(self, ordered: pl.DataFrame) -> tuple[dict[int, str], dict[int, dict[str, str]]]:
        exclusive, values = {}, defaultdict(dict)
        self._core: set[int] = set()
        sources, ones = set(self._policy["one_record_per_source"]), set(self._policy["one_per_person"])
        for_good = set(self._policy["for_good"])
        for key, source, token, kind, attested, start, end, seen in ordered.select(list(COLUMNS)).iter_rows():
            record = self._number[key]
            self._claims[token].append((Claim(record, start, end, seen, source in sources), attested))
            self._kinds[token] = kind
            self._tokens[record].append(token)
            if source in sources:
                exclusive[record] = source
            if attested and kind in ones:
                values[record][kind] = token
            if source in sources or (attested and kind in for_good):
                self._core.add(record)
        return exclusive, values

    def _decided(self, decisions: Sequence[Decision]) -> tuple[dict[int, frozenset[int]], list[tuple[int, int]]]:
        last: dict[tuple[int, int], str] = {}
        for decision, key, other in decisions:
            if key in self._number and other in self._number:
                pair = tuple(sorted((self._number[key], self._number[other])))
                last.pop(pair, None)  # a later word on a pair also comes later in turn
                last[pair] = decision
        apart = defaultdict(set)
        for (a, b), decision in last.items():
            if decision == "cannot":
                apart[a].add(b)
                apart[b].add(a)
        return {r: frozenset(o) for r, o in apart.items()}, [p for p, d in last.items() if d == "must"]

    def resolution(self) -> Resolution:
        self._join_by_rules()
        if self._must:
            self._conflicts.clear()
            for a, b in self._must:
                self._core |= {a, b}  # a person vouches for what they join
                self._join(a, b, "", forced=True)
            self._join_by_rules()  # what was ambiguous between two customers is clear once they are one
        return self._answer()

    def _join_by_rules(self) -> None:
        for token in self._in_turn(self._policy["for_good"]):
            self._join_for_good(token)
        for token in self._in_turn(self._policy["changes_hands"]):
            self._join_tenures(token)

    def _in_turn(self, kinds: Sequence[str]) -> list[str]:
        """Usable tokens of these kinds, kind by kind in the policy's order, then the earliest claim, then the token."""
        rank = {kind: n for n, kind in enumerate(kinds)}
        usable = [
            (rank[kind], self._claims[token][0][0].record, token)
            for token, kind in self._kinds.items()
            if kind in rank and token not in self._crowded and len(self._claims[token]) > 1
        ]
        return [token for *_, token in sorted(usable)]

    def _join(self, a: int, b: int, token: str, *, forced: bool = False) -> None:
        if refused := self._clusters.join(a, b, forced=forced):
            self._conflicts.append(Conflict(token, self._keys[a], self._keys[b], refused))

    def _join_for_good(self, token: str) -> None:
        attested = [claim.record for claim, vouched in self._claims[token] if vouched]
        for record in attested[1:]:
            self._join(attested[0], record, token)

    def _join_tenures(self, token: str) -> None:
        """All holders of a tenure become one, or none of them where any two may not: then the identifier is shared."""
        for tenure in tenures(self._attested_cores(token), quiet_us=self._policy["quiet_days"] * DAY_US):
            roots = sorted({self._clusters.find(claim.record) for claim in tenure})
            if len(roots) > self._policy["max_holders"]:
                self._conflicts.append(Conflict(token, self._keys[roots[0]], self._keys[roots[1]], "too_many_holders"))
                continue
            refused = [(a, b, why) for n, a in enumerate(roots) for b in roots[n + 1 :] if (why := self._refusal(a, b))]
            for a, b, why in refused:
                self._conflicts.append(Conflict(token, self._keys[a], self._keys[b], why))
            for other in roots[1:] if not refused else ():
                self._join(roots[0], other, token)

    def _refusal(self, a: int, b: int) -> str | None:
        return self._clusters.refusal(a, b)

    def _attested_cores(self, token: str) -> list[Claim]:
        return [claim for claim, vouched in self._claims[token] if vouched and claim.record in self._core]

    def _answer(self) -> Resolution:
        owned, rules = self._attested_owners()
        find, records = self._clusters.find, range(len(self._keys))
        typed = Typed({r: self._tokens[r] for r in records if r not in self._core}, owned, rules)
        typed.take_from_owner_what_many_share(others=self._policy["shared_by_others"])
        members = {record: find(record) for record in self._core}
        members |= {r: oldest for r, oldest in typed.followed().items() if self._refusal(r, oldest) != KEPT_APART}
        usable = {token: claims for token, claims in self._claims.items() if token not in self._crowded}
        typed.give_away(usable, members.get, self._policy)
        key = self._keys
        return Resolution(
            members={key[record]: key[oldest] for record, oldest in members.items()},
            timelines={
                token: [(None if s.owner is None else key[s.owner], s.from_us, s.to_us) for s in stretches]
                for token, stretches in owned.items()
            },
            rules=rules,
            conflicts=self._conflicts,
        )

    def _attested_owners(self) -> tuple[dict[str, list[Owned]], dict[str, str]]:
        quiet_us, changes_hands = self._policy["quiet_days"] * DAY_US, set(self._policy["changes_hands"])
        owned: dict[str, list[Owned]] = {}
        rules: dict[str, str] = {}
        for token, kind in self._kinds.items():
            if token in self._crowded:
                owned[token], rules[token] = NOBODY, "crowded"
            elif claims := self._attested_cores(token):
                held = tenures(claims, quiet_us=quiet_us) if kind in changes_hands else [claims]
                owned[token] = timeline(owners_of(held, self._clusters.find))
                rules[token] = "attested" if owned[token][-1].owner is not None else "shared"
        return owned, rules
