"""Matching in the product, on a real MariaDB and broker: merged, proposed, taken back, and never asked twice."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.ops import identity_match
from jobs.ops.auditing import audit_log
from pipelines import contracts
from pipelines.identity.evidence import frame
from pipelines.io import identity_reads as reads
from pipelines.io import identity_rows as rows
from pipelines.io import mariadb_erasure
from pipelines.io.identity_store import Author, IdentityStore
from pipelines.privacy.erasure import Person
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import VaultWriter
from tests.unit.io import lake

POLICY = contracts.policy("identity")
SOMEBODY = Author("li.hua", "asked them on the phone")
HOME = "杭州市西湖区文三路12号3栋201室"
KINDS = {"name": "person_name", "birth_date": "birth_date", "address": "address", "phone": "phone", "email": "email"}
LILEI = {"name": "李雷", "birth_date": "1988-04-17", "address": HOME, "phone": "13812345671"}
AGAIN = LILEI | {"birth_date": "1988-04-18", "phone": None}  # one digit mistyped, registered without a phone
TWIN = LILEI | {"name": "李霆", "phone": None}
STRANGER = {"name": "韩梅梅", "birth_date": "1990-11-02", "address": "上海市长宁区古北路7号", "phone": "13912345678"}


class Crm:
    """silver.customers and the vault as the stream would have written them, and the claims as the resolver would."""

    def __init__(self, stack, engine):
        self.stack, self.store = stack, IdentityStore(engine, POLICY)
        self._key = MasterKey.create(stack.keys_file)
        self._vault, self._offset, self._at_us = VaultWriter(self._key), itertools.count(), itertools.count(1_000)
        self._tokeniser = Tokeniser(self._key, placeholders=POLICY["placeholders"], on_new=self._vault.add)

    def says(self, name: str, values: dict, *, status: str = "active", unionid: str | None = None) -> None:
        """A revision of record crm/<name>."""
        nth = next(self._offset)
        tokens = {kind: self._tokeniser.token(values[kind], KINDS[kind]) for kind in KINDS if values.get(kind)}
        row = lake.interaction(nth, channel="crm") | {f"{kind}_token": token for kind, token in tokens.items()}
        row |= {"record_key": f"crm/{name}", "crm_status": status, "updated_at": lake.AT.replace(minute=nth)}
        lake.write(self.stack.lake, "silver.customers", [row])
        lake.write(self.stack.lake, "identity.vault", [json.loads(entry) for _, entry in self._vault.drain()])
        # In the form of tokens: what a merge sends out is read by the workers of other tests.
        told = [
            (tokens["name"], "person_name"),
            (f"mb1_{name * 32}", "member"),
            *([(f"un1_{unionid * 32}", "unionid")] if unionid else []),
        ]
        claim = {"record_key": f"crm/{name}", "source": "crm", "attested": True, "first_seen_at": 5, "sightings": 1}
        self.store.learn(frame([claim | {"token": t, "token_type": k} for t, k in told]), at_us=nth, author=SOMEBODY)

    def matched(self, **options):
        return identity_match.run(self.stack, **({"anew": False, "learn": False, "dry_run": False} | options),
                                  clock=lambda: next(self._at_us))  # fmt: skip


@pytest.fixture
def crm(stack, engine):
    tables = [stack.table_path(name) for name in ("silver.customers", "identity.vault")]
    for path in tables:
        shutil.rmtree(path, ignore_errors=True)
    yield Crm(stack, engine)
    for path in tables:
        shutil.rmtree(path, ignore_errors=True)


def customers(engine) -> dict[str, str]:
    """record → customer, by their short names."""
    with engine.connect() as connection:
        found = rows.members(connection, [f"crm/{name}" for name in "abcde"])
    return {record.removeprefix("crm/"): customer.removeprefix("c_") for record, customer in found.items()}


def waiting(engine) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        return [(r.record_key, r.other_record_key, json.loads(r.evidence).get("asked_because"))
                for r in reads.open_reviews(connection, 10)]  # fmt: skip


def test_one_person_is_merged_and_twins_wait_for_a_person(crm, engine):
    for name, who in (("a", LILEI), ("b", AGAIN), ("c", TWIN), ("d", STRANGER)):
        crm.says(name, who)
    before = crm.matched(dry_run=True)
    assert (before.matched.merged, customers(engine)["b"], waiting(engine)) == (1, "b", [])
    report = crm.matched()
    assert (report.records, report.changed, report.matched.merged, report.matched.customers_merged) == (4, 4, 1, 1)
    assert customers(engine) == {"a": "a", "b": "a", "c": "c", "d": "d"}
    assert ("crm/a", "crm/c", "differs: given_name") in waiting(engine)
    with engine.connect() as connection:
        [word] = reads.card(connection, "c_a").decisions
        kept = connection.exec_driver_sql(
            "SELECT review_status, actor, evidence, rule_version FROM identity_reviews WHERE other_record_key = 'crm/b'"
        ).one()
    model = contracts.policy("matching_model")["version"]
    assert (word.actor, word.decision, word.record_key) == ("policy matching-1", "must", "crm/a")
    assert model in word.reason
    assert (kept[0], kept[1], json.loads(kept[2])["birth_date"], kept[3]) == (
        "accepted", "policy matching-1", "typo", model,
    )  # fmt: skip
    nothing = crm.matched()  # nothing has changed: nothing is opened, nothing compared
    assert (nothing.changed, nothing.values_opened, nothing.matched.proposed) == (0, 0, 0)
    assert ("crm/a", "crm/c", "differs: given_name") in waiting(engine)


def test_what_a_person_has_said_is_not_asked_again(crm, engine):
    for name, who in (("a", LILEI), ("b", AGAIN), ("c", TWIN)):
        crm.says(name, who)
    crm.matched()
    with engine.connect() as connection:
        parting = reads.splitting(connection, "c_a", [], POLICY["resolution"])
        rejecting = reads.judging(connection, "crm/a", "crm/c", one_person=False)
    crm.store.decide(parting, at_us=2_000, author=SOMEBODY)
    crm.store.decide(rejecting, at_us=2_001, author=SOMEBODY)
    assert customers(engine) == {"a": "a", "b": "b", "c": "c"}
    report = crm.matched(anew=True)
    assert (report.matched.merged, report.matched.settled["said to be two"]) == (0, 2)
    assert customers(engine) == {"a": "a", "b": "b", "c": "c"}
    assert [pair[:2] for pair in waiting(engine)] == [("crm/b", "crm/c")]  # nobody has spoken of these


def test_a_new_record_is_compared_with_all_and_nothing_else_is(crm, engine):
    crm.says("a", LILEI)
    crm.says("d", STRANGER)
    crm.says("e", STRANGER, status="deleted")
    assert crm.matched().records == 2
    crm.says("b", LILEI)
    report = crm.matched()
    assert (report.changed, report.matched.merged) == (1, 1)
    assert customers(engine)["b"] == "a"


def test_two_who_hold_what_a_person_has_one_of_wait_for_a_person(crm, engine):
    crm.says("a", LILEI, unionid="a")
    crm.says("b", LILEI, unionid="b")
    assert crm.matched().matched.demoted == {"two different: unionid": 1}
    assert (customers(engine), waiting(engine)) == (
        {"a": "a", "b": "b"}, [("crm/a", "crm/b", "two different: unionid")],
    )  # fmt: skip


def test_a_proposal_whose_records_are_not_alike_any_more_is_withdrawn_and_may_come_back(crm, engine):
    crm.says("a", LILEI)
    crm.says("c", TWIN)
    crm.matched()
    crm.says("c", STRANGER)  # the form was another customer's
    assert (crm.matched().matched.withdrawn, waiting(engine)) == (1, [])
    crm.says("c", TWIN)
    assert (crm.matched().matched.proposed, len(waiting(engine))) == (1, 1)


def test_the_command_is_for_who_may_and_says_nothing_personal(crm, stack):
    crm.says("a", LILEI)
    crm.says("b", AGAIN)
    ask = ["identity", "match", "--reason", "nightly matching", "--role"]
    refused = CliRunner().invoke(cli.build(ask), [*ask, "agent"])
    assert (refused.exit_code, "data_engineer" in refused.output) == (1, True)
    ran = CliRunner().invoke(cli.build(ask), [*ask, "data_engineer"])
    assert ran.exit_code == 0, ran.output
    assert not any(value in ran.output for value in (*LILEI.values(), "1988", "1381234"))
    acts = [(row.act, row.actor_role, row.act_subject) for row in list(audit_log(stack).rows())[-2:]]
    assert acts == [("refused", "agent", "silver.customers"), ("consult", "data_engineer", "silver.customers")]


def test_what_was_learned_is_used_from_then_on(crm, monkeypatch):
    shipped = contracts.policy("matching_model")
    crm.says("a", LILEI)
    crm.says("b", AGAIN)
    assert crm.matched(learn=True).model == shipped["version"]  # two records are too few
    learned = shipped | {"version": "matching-1/learned", "population": 2}
    monkeypatch.setattr(identity_match.match_model, "train", lambda features, policy, default: learned)
    tried = crm.matched(learn=True, dry_run=True)
    assert (tried.model, crm.matched().model) == (learned["version"], shipped["version"])
    assert (crm.matched(learn=True).changed, crm.matched().model, crm.matched().changed) == (2, learned["version"], 0)


def test_nothing_of_an_erased_person_is_left_of_matching(crm, engine):
    """Reviews and what was compared name records, no identifiers: they go with the customer of these records."""
    for name, who in (("a", LILEI), ("c", TWIN), ("d", STRANGER), ("e", STRANGER | {"name": "韩雪"})):
        crm.says(name, who)
    crm.matched()
    assert {pair[:2] for pair in waiting(engine)} == {("crm/a", "crm/c"), ("crm/d", "crm/e")}
    who = Person(frozenset(), frozenset({"c_a"}))
    tables = mariadb_erasure.telling_tables(engine)
    before = {name: mariadb_erasure.count_rows(engine, name, columns, who) for name, columns in tables.items()}
    wanted = {"identity_claims": 2, "identity_members": 1, "identity_reviews": 1, "identity_matched": 1}
    assert {name: before[name] for name in wanted} == wanted
    assert mariadb_erasure.delete_rows(engine, tables, who) == sum(before.values())
    with engine.connect() as connection:
        left = {table: connection.exec_driver_sql(f"SELECT record_key FROM {table}").scalars().all()
                for table in wanted}  # fmt: skip
    assert {table: set(keys) for table, keys in left.items()} == {
        "identity_claims": {"crm/c", "crm/d", "crm/e"}, "identity_members": {"crm/c", "crm/d", "crm/e"},
        "identity_reviews": {"crm/d"}, "identity_matched": {"crm/c", "crm/d", "crm/e"},
    }  # fmt: skip


def test_a_record_that_the_resolver_has_not_seen_yet_comes_with_the_next_run(crm, engine):
    crm.says("a", LILEI)
    crm.says("b", AGAIN)
    with engine.begin() as connection:  # the table of records is ahead of the identity state
        kept = connection.exec_driver_sql("SELECT * FROM identity_members WHERE record_key = 'crm/b'").one()
        connection.exec_driver_sql("DELETE FROM identity_members WHERE record_key = 'crm/b'")
    early = crm.matched().matched
    assert (early.merged, early.not_known, early.settled) == (0, 1, {"not in the identity state yet": 1})
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO identity_members VALUES (%s, %s, %s)", tuple(kept))
    assert (crm.matched().matched.merged, customers(engine)["b"]) == (1, "a")
