"""Small worlds whose identities go a random way and back: records, messages, orders, and the links the resolver tells.

Many stand side by side in one lake: the world's number is in every key, so that one build checks them all.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st

from pipelines import contracts
from pipelines.identity.changes import Link, changes, link_records
from pipelines.identity.evidence import customer_id_of
from pipelines.identity.resolve import Decision
from pipelines.io import identity_reads as reads
from tests.unit.identity.test_decisions_on_customers import POLICY, State, database
from tests.unit.identity.test_resolve import TYPES

FIRST_DAY = datetime(2026, 1, 5, 2, tzinfo=UTC)
TOLD_FROM = datetime(2026, 6, 1, tzinfo=UTC)
VERSION = contracts.policy("identity")["version"]
_TOKENS = [f"{letter}{n}{mark}" for letter in "peuomh" for n in range(3) for mark in ("", "?")]
SPLIT, WORDS = "each merge is split again, the last first", "every word is taken back"


class Step(NamedTuple):
    """Something that happens to a world; ``one`` and ``other`` choose among what is there."""

    kind: str
    one: int
    other: int


@dataclass(frozen=True)
class Plan:
    """A world as drawn: its records in the order of arrival (the last ``late`` come amid the steps), and its way."""

    records: tuple[tuple[str, tuple[str, ...]], ...]
    late: int
    steps: tuple[Step, ...]
    way_back: str


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Two to six records; merges, splits by a person's word, accepted and rejected reviews, links that come late."""
    tokens = st.lists(st.sampled_from(_TOKENS), min_size=1, max_size=3, unique_by=lambda token: token[:2])
    records = draw(st.lists(st.tuples(st.sampled_from(["crm", "s", "s"]), tokens.map(tuple)), min_size=2, max_size=6))
    way_back = draw(st.sampled_from([SPLIT, WORDS]))
    kinds = ["merge", "accept"] if way_back == SPLIT else ["merge", "accept", "reject", "split", "late"]
    number = st.integers(0, 5)
    steps = draw(st.lists(st.builds(Step, st.sampled_from(kinds), number, number), min_size=1, max_size=6))
    late = 0 if way_back == SPLIT else draw(st.integers(0, min(2, len(records) - 1)))
    return Plan(tuple(records), late, tuple(steps), way_back)


class World(State):
    """A plan's identities by the resolver's own rules; ``told`` is what it would publish to silver.identity_links."""

    def __init__(self, number: int, plan: Plan):
        self.number, self.plan = number, plan
        self.links: dict[str, list[Link]] = {}
        self.told: list[dict[str, Any]] = []
        self._turns = 0
        self.names = [f"{source}/{number:08x}{n:016x}" for n, (source, _) in enumerate(plan.records)]
        self._engine = database()
        super().__init__(self._engine.connect(), *self._records(len(plan.records)))

    def _records(self, count: int) -> list[tuple[str, str]]:
        return [(name, " ".join(tokens)) for name, (_, tokens) in zip(self.names, self.plan.records, strict=True)][
            :count
        ]

    def decide(self, decisions: list[Decision]) -> None:
        """As State; what changes is told, each time a second later: of an identifier the newest recording counts."""
        super().decide(decisions)
        self._turns += 1
        at_us = int((TOLD_FROM + timedelta(seconds=self._turns)).timestamp() * 1_000_000)
        changed = changes(self.links, {}, self.found, self.claims, at_us=at_us).links
        for token, links in changed.items():
            self.told += link_records(token, links, TYPES[token[0]], VERSION, at_us)
        self.links = {token: links for token, links in (self.links | changed).items() if links}

    def go(self) -> None:
        """The way there: what comes late is not there at first, and all of it in the end."""
        here = len(self.plan.records) - self.plan.late
        self.tell(*self._records(here))
        for step in self.plan.steps:
            if step.kind == "late":
                here = min(here + 1, len(self.names))
                self.tell(*self._records(here))
            elif any(self.customers().values()):
                self.decide(self._decisions(step))
        self.tell(*self._records(len(self.names)))

    def _decisions(self, step: Step) -> list[Decision]:
        members = self.customers()
        one, other = (list(members)[n % len(members)] for n in step[1:])
        customers = sorted(set(filter(None, members.values())))
        if self.plan.way_back == SPLIT:
            # A record that only follows would move alone, and a split of its customers since would hold it back.
            one, other = (self._naming(customers[n % len(customers)]) for n in step[1:])
        # Who is one already is not merged, and who can't be parted is not split: the command says so, and so be it.
        with suppress(reads.NotOfCustomer, reads.NoSuchCustomer):
            match step.kind:
                case "merge":
                    return reads.merging(self.connection, *(customers[n % len(customers)] for n in step[1:]))
                case "split":
                    return reads.splitting(self.connection, customers[step.one % len(customers)], [other], POLICY)
                case "reject":
                    return reads.judging(self.connection, one, other, one_person=False)
                case "accept" if members[one] is None or members[one] != members[other]:
                    return reads.judging(self.connection, one, other, one_person=True)
        return []

    def _naming(self, customer_id: str) -> str:
        return next(name for name in self.names if customer_id_of(name) == customer_id)

    def come_back(self) -> None:
        """The way back, as the plan says."""
        if self.plan.way_back == WORDS:
            self.decide([Decision("may", *pair) for pair in sorted({tuple(sorted(d[1:])) for d in self.words})])
            return
        for _, one, other in [word for word in reversed(self.words) if word.decision == "must"]:
            customers = self.customers()
            if customers[one] == customers[other] is not None:  # else it went with one after it
                self.decide(reads.splitting(self.connection, customers[one], [], POLICY))

    def close(self) -> None:
        """Ends the state's database."""
        self.connection.close()
        self._engine.dispose()
