"""What a merge, a split or an accepted review decides, on a state of a few rows; SQLite stands in for the server."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import Connection, Engine, create_engine

from pipelines import contracts
from pipelines.identity.evidence import customer_id_of
from pipelines.identity.resolve import Decision, resolve
from pipelines.io import identity_reads as reads
from pipelines.io.identity_rows import CLAIM_COLUMNS, instant
from tests.unit.identity.test_resolve import rows as evidence_rows

POLICY = contracts.policy("identity")["resolution"]
MADE = (
    f"CREATE TABLE identity_claims ({', '.join(f'{n} timestamp' if n.endswith('_at') else n for n in CLAIM_COLUMNS)})",
    "CREATE TABLE identity_members (record_key, record_seq, customer_id)",
    "CREATE TABLE identity_decisions (record_key, other_record_key, decision, recorded_at)",
)


def database() -> Engine:
    """A state's database in memory; instants come back as instants, as from the server."""
    return create_engine("sqlite://", connect_args={"detect_types": sqlite3.PARSE_DECLTYPES})


class State:
    """Records as in test_resolve and the decisions so far, resolved anew after each."""

    def __init__(self, connection: Connection, *records: tuple[str, str]):
        self.connection, self.words = connection, []
        for statement in MADE:
            connection.exec_driver_sql(statement)
        self.tell(*records)

    def tell(self, *records: tuple[str, str]) -> None:
        """These records are all there is."""
        self.claims = evidence_rows(*records)
        marks = ", ".join(["?"] * len(CLAIM_COLUMNS))
        values = [tuple(instant(v) if n.endswith("_at") else v for n, v in zip(CLAIM_COLUMNS, r, strict=True))
                  for r in self.claims.select(list(CLAIM_COLUMNS)).rows()]  # fmt: skip
        self.connection.exec_driver_sql("DELETE FROM identity_claims")
        self.connection.exec_driver_sql(f"INSERT INTO identity_claims VALUES ({marks})", values)
        self.decide([])

    def decide(self, decisions: list[Decision]) -> None:
        self.words += decisions
        last = {tuple(sorted(d[1:])): (n, d.decision) for n, d in enumerate(self.words)}
        run = self.connection.exec_driver_sql
        run("DELETE FROM identity_decisions")
        for (a, b), (n, word) in last.items():
            run("INSERT INTO identity_decisions VALUES (?, ?, ?, ?)", (a, b, word, n))
        self.found = resolve(self.claims, self.words, POLICY)
        run("DELETE FROM identity_members")
        for seq, key in enumerate(self.claims["record_key"].unique(maintain_order=True)):
            oldest = self.found.members.get(key)
            run("INSERT INTO identity_members VALUES (?, ?, ?)", (key, seq, oldest and customer_id_of(oldest)))

    def customers(self) -> dict[str, str | None]:
        return dict(tuple(row) for row in self.connection.exec_driver_sql(
            "SELECT record_key, customer_id FROM identity_members"))  # fmt: skip


@pytest.fixture
def connection():
    with database().connect() as connection:
        yield connection


def test_a_record_that_only_follows_does_not_stand_for_its_customer(connection):
    """A form with a typed member number came before the CRM told the member: it is older, and names nobody."""
    state = State(connection, ("s/01", "m1? h1?"), ("crm/02", "m1"), ("crm/03", "p3"))
    before = state.customers()
    assert before == {"s/01": "c_02", "crm/02": "c_02", "crm/03": "c_03"}
    state.decide(reads.merging(connection, "c_02", "c_03"))
    assert state.customers() == dict.fromkeys(before, "c_02")
    state.decide(reads.splitting(connection, "c_02", [], POLICY))
    assert state.customers() == before


def test_an_accepted_pair_becomes_one_customer_although_a_split_keeps_other_records_apart(connection):
    state = State(connection, ("crm/01", "u1"), ("s/02", "u1 o1"), ("crm/03", "u3"), ("s/04", "u3 o3"))
    state.decide([Decision("cannot", a, b) for a in ("crm/01", "s/02") for b in ("crm/03", "s/04")])
    state.decide(reads.judging(connection, "crm/01", "crm/03", one_person=True))
    assert set(state.customers().values()) == {"c_01"}


def test_a_rejected_pair_is_that_pair_and_no_more(connection):
    State(connection, ("crm/01", "u1"), ("crm/03", "u3"))
    assert reads.judging(connection, "crm/03", "crm/01", one_person=False) == [Decision("cannot", "crm/03", "crm/01")]


def test_a_record_that_nobody_knows_is_not_decided_on(connection):
    State(connection, ("crm/01", "u1"))
    for pair in (("crm/01", "crm/0l"), ("crm/01", "crm/01")):  # a slip of the hand; one record twice
        with pytest.raises(reads.NotOfCustomer, match=pair[1]):
            reads.judging(connection, *pair, one_person=True)


def test_what_would_decide_nothing_is_said(connection):
    state = State(connection, ("crm/01", "u1"), ("s/02", "u1? o1?"))
    with pytest.raises(reads.NotOfCustomer, match="c_01 twice"):
        reads.merging(connection, "c_01", "c_01")
    state.decide([Decision("must", "crm/01", "s/02")])  # it follows by what was typed, too: nobody leaves
    with pytest.raises(reads.NotOfCustomer, match="--away"):
        reads.splitting(connection, "c_01", [], POLICY)


def test_a_merge_of_a_record_that_was_nobodys_is_taken_back(connection):
    """A caller nobody knew, named after the oldest record since a person said who it was: without that word, nobody."""
    state = State(connection, ("s/01", "p1"), ("crm/02", "p2"))
    before = state.customers()
    assert before == {"s/01": None, "crm/02": "c_02"}
    state.decide(reads.judging(connection, "s/01", "crm/02", one_person=True))
    assert state.customers() == dict.fromkeys(before, "c_01")
    state.decide(reads.splitting(connection, "c_01", [], POLICY))
    assert state.customers() == before
