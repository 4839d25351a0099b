"""The identity state on a real MariaDB: whatever comes in which order, it stands as if all had come at once."""

from __future__ import annotations

import json
import random

import polars as pl
import pytest

from pipelines import contracts
from pipelines.identity.changes import links_of
from pipelines.identity.evidence import customer_id_of
from pipelines.identity.register_records import Revision
from pipelines.identity.resolve import Decision, resolve
from pipelines.io import identity_reads as reads
from pipelines.io import identity_rows as rows
from pipelines.io import identity_store
from pipelines.io.identity_store import LINKS_TOPIC, MAP_TOPIC, Author, IdentityStore
from tests.unit.identity.test_resolve import rows as evidence_rows

POLICY = contracts.policy("identity")
AUTHOR = Author("li.hua", "one person, two registrations")


def evidence(*records: tuple) -> pl.DataFrame:
    return evidence_rows(*records).drop("record_seq")


def told(store: IdentityStore) -> list[tuple[str, str, bytes | None]]:
    """What goes out, topic by topic, in order."""
    out = []
    store.drain(lambda topic, records: out.extend((topic, key, value) for key, value in records))
    return out


def links(engine) -> dict[str, list[tuple]]:
    """Whose each identifier is: token → (customer, from, to) of each stretch."""
    with engine.connect() as connection:
        tokens = rows.claims_of_source(connection, "crm")["token"].to_list()
        tokens += rows.claims_of_source(connection, "app")["token"].to_list()
        found = rows.links_of_tokens(connection, sorted(set(tokens)))
    return {token: [link[3:7] for link in of] for token, of in found.items()}


def test_a_person_over_three_channels_and_the_card_that_says_why(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("crm/01", "p1 m1"), ("s/02", "o1 u1 p1")), at_us=10, author=AUTHOR)
    outcome = store.learn(evidence(("s/03", "o2 u1")), at_us=11, author=AUTHOR)
    assert outcome.records_looked_at == 3  # the new one, and what it shares an identifier with
    with engine.connect() as connection:
        card = reads.card_of_token(connection, "o2")
    assert card.customer_id == "c_01"
    assert card.claims["record_key"].unique(maintain_order=True).to_list() == ["crm/01", "s/02", "s/03"]
    assert {link.token: link.link_rule for link in card.links} == dict.fromkeys(
        ["p1", "m1", "o1", "u1", "o2"], "attested"
    )


def test_merge_and_split_give_back_what_was_and_say_who_decided(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("crm/01", "u1 p1"), ("crm/02", "p2"), ("s/03", "h1 p2")), at_us=10, author=AUTHOR)
    before = links(engine)
    told(store)
    with engine.connect() as connection:
        merge = reads.merging(connection, "c_02", "c_01")
    merged = store.decide(merge, at_us=20, author=AUTHOR)
    [event] = merged.changes.events
    assert (event.identity_event_type, event.customer_id, event.other_customer_id) == ("merge", "c_01", "c_02")
    assert event.record_keys == '["crm/02", "s/03"]'
    out = told(store)
    assert sorted(key for topic, key, _ in out if topic == MAP_TOPIC) == ["h1", "p2"]
    assert all(b'"c_01"' in value for topic, _, value in out if topic in (MAP_TOPIC, LINKS_TOPIC))
    assert b'"actor":"li.hua"' in next(value for topic, _, value in out if topic == "identity.events")

    with engine.connect() as connection:
        parting = reads.splitting(connection, "c_01", [], POLICY["resolution"])
    split = store.decide(parting, at_us=30, author=AUTHOR)
    [event] = split.changes.events
    assert (event.identity_event_type, event.customer_id, event.other_customer_id) == ("split", "c_01", "c_02")
    assert links(engine) == before


def test_a_dry_run_changes_nothing(engine):
    store = IdentityStore(engine, POLICY)
    assert store.learn(evidence(("crm/01", "u1")), at_us=10, author=AUTHOR, dry_run=True).changes.links.keys() == {"u1"}
    store.learn(evidence(("crm/01", "u1"), ("crm/02", "p2")), at_us=10, author=AUTHOR)
    told(store)
    before = links(engine)
    outcome = store.decide([Decision("must", "crm/01", "crm/02")], at_us=20, author=AUTHOR, dry_run=True)
    assert len(outcome.changes.events) == 1
    assert (links(engine), told(store)) == (before, [])


def test_splitting_says_what_it_cannot_do(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("crm/01", "u1"), ("s/02", "u1 o1")), at_us=10, author=AUTHOR)
    with engine.connect() as connection:
        for away, says in (
            ([], "No person merged"),
            (["crm/09"], "crm/09: no record"),
            (["crm/01", "s/02"], "All rec"),
        ):
            with pytest.raises(reads.NotOfCustomer, match=says):
                reads.splitting(connection, "c_01", away, POLICY["resolution"])
        with pytest.raises(reads.NoSuchCustomer, match="p_1"):
            reads.merging(connection, "c_01", "p_1")
        parting = reads.splitting(connection, "c_01", ["s/02"], POLICY["resolution"])
    store.decide(parting, at_us=20, author=AUTHOR)
    assert links(engine)["o1"] == [("c_02", 0, None, "attested")]


def test_two_crm_records_of_one_unionid_wait_for_a_person(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("crm/01", "u1 p1"), ("crm/02", "u1 p2")), at_us=10, author=AUTHOR)
    with engine.connect() as connection:
        [review] = reads.open_reviews(connection, 10)
    assert (review.review_origin, review.customer_id, review.other_customer_id) == (
        "one_record_per_source", "c_01", "c_02",
    )  # fmt: skip
    store.decide([Decision("must", review.record_key, review.other_record_key)], at_us=20, author=AUTHOR)
    with engine.connect() as connection:
        assert reads.open_reviews(connection, 10) == []
    assert {stretch[0] for of in links(engine).values() for stretch in of} == {"c_01"}


def test_a_pair_that_became_one_otherwise_waits_for_nobody(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("crm/01", "u1"), ("crm/02", "u1 p2"), ("crm/03", "u1 p2")), at_us=10, author=AUTHOR)
    with engine.connect() as connection:
        assert len(reads.open_reviews(connection, 10)) == 3
    # 1 is 2 and 1 is 3, so 2 is 3, although nobody was asked about that pair
    store.decide([Decision("must", "crm/01", "crm/02"), Decision("must", "crm/01", "crm/03")], at_us=20, author=AUTHOR)
    with engine.connect() as connection:
        assert reads.open_reviews(connection, 10) == []


def test_what_the_crm_no_longer_says_ends(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("crm/01", "u1 p1"), ("crm/02", "u2")), at_us=10, author=AUTHOR, complete="crm")
    store.learn(evidence(("crm/01", "u1 p2")), at_us=50, author=AUTHOR, complete="crm")
    found = links(engine)
    assert found["p1"] == [("c_01", 0, 50, "attested")]
    assert found["p2"] == [("c_01", 0, None, "attested")]
    assert found["u2"] == [("c_02", 0, 50, "attested")]  # the customer is not in the file any more
    out = told(store)
    assert [value for topic, key, value in out if topic == MAP_TOPIC and key == "p1"][-1] is None


def test_a_revision_of_the_crm_replaces_and_one_that_comes_late_changes_nothing(engine):
    store = IdentityStore(engine, POLICY)

    def says(updated_at: int, *records: tuple) -> int:
        told = {record: Revision(updated_at, updated_at, 0) for record, _ in records}
        held = evidence(*[(record, tokens) for record, tokens in records if tokens])
        return store.learn(held, at_us=900, author=AUTHOR, revisions=told).claims_changed

    says(10, ("crm/01", "u1 p1"), ("crm/02", "u2"))
    assert says(30, ("crm/01", "u1 p2")) == 2
    assert says(20, ("crm/01", "u1 p3")) == 0  # older than what is known
    assert says(30, ("crm/01", "u1 p2")) == 0  # the same again, after a restart
    found = links(engine)
    assert (found["p1"], found["p2"]) == ([("c_01", 0, 30, "attested")], [("c_01", 0, None, "attested")])
    assert says(40, ("crm/02", "")) == 1  # deleted
    assert links(engine)["u2"] == [("c_02", 0, 40, "attested")]
    store.learn(evidence(("crm/01", "u1 p4")), at_us=50, author=AUTHOR, complete="crm")  # a file of the whole CRM
    assert says(45, ("crm/01", "u1 p2"), ("crm/02", "u2")) == 0  # from before the file
    assert says(60, ("crm/02", "u2")) == 1
    assert [stretch[2] for of in ("p2", "p4", "u2") for stretch in links(engine)[of]] == [50, None, None]


@pytest.mark.parametrize("at_once", [2, 2_000])  # in several transactions, and in one
def test_a_changed_policy_is_applied_to_everybody_when_asked(engine, monkeypatch, at_once):
    monkeypatch.setattr(identity_store, "_RECORDS_AT_ONCE", at_once)
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("s/01", "o1 p1"), ("s/02", "o2 p1"), ("crm/03", "u3"), ("s/04", "o4 u3")), at_us=10,
                author=AUTHOR)  # fmt: skip
    assert {stretch[0] for stretch in links(engine)["p1"]} == {"c_01"}
    told(store)
    strict = IdentityStore(engine, POLICY | {"resolution": POLICY["resolution"] | {"max_holders": 1}})
    seen = strict.resolve_again(clock=lambda: 20, author=AUTHOR, dry_run=True)
    assert ([e.identity_event_type for e in seen.changes.events], told(store)) == (["split"], [])
    done = strict.resolve_again(clock=lambda: 30, author=AUTHOR)
    assert (done.records_looked_at, [e.other_customer_id for e in done.changes.events]) == (4, ["c_02"])
    assert sorted({key for topic, key, _ in told(store) if topic == LINKS_TOPIC}) == ["o2", "p1"]
    assert not strict.resolve_again(clock=lambda: 40, author=AUTHOR).changes.events  # the same again changes nothing


def test_what_was_committed_goes_out_after_a_crash(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("crm/01", "u1")), at_us=10, author=AUTHOR)
    with pytest.raises(RuntimeError, match="broker away"):
        store.drain(lambda topic, records: (_ for _ in ()).throw(RuntimeError("broker away")))
    assert {(topic, key) for topic, key, _ in told(store)} == {(MAP_TOPIC, "u1"), (LINKS_TOPIC, "u1")}
    assert told(store) == []


def test_an_identifier_that_becomes_crowded_parts_whom_it_had_joined(engine):
    store = IdentityStore(engine, POLICY)
    limit = POLICY["resolution"]["crowded_above_records"]
    many = [(f"s/{n:03}", f"o{n} u1") for n in range(limit + 2)]
    store.learn(evidence(*many[:limit]), at_us=10, author=AUTHOR)
    assert {stretch[0] for of in links(engine).values() for stretch in of} == {"c_000"}
    store.learn(evidence(many[limit]), at_us=20, author=AUTHOR)
    found = links(engine)
    assert found["u1"] == [(None, 0, None, "crowded")]
    assert {found[f"o{n}"][0][0] for n in range(limit)} == {f"c_{n:03}" for n in range(limit)}
    assert store.learn(evidence(many[limit + 1]), at_us=30, author=AUTHOR).records_looked_at == 1


def test_a_common_name_connects_nobody(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(*[(f"crm/{n:02}", f"p{n} x1 y1") for n in range(20)]), at_us=10, author=AUTHOR)
    assert store.learn(evidence(("crm/90", "p90 x1 y1")), at_us=20, author=AUTHOR).records_looked_at == 1
    again = store.learn(evidence(("crm/91", "p90 x1 y1")), at_us=30, author=AUTHOR)  # the same phone: one person twice
    assert again.records_looked_at == 2
    assert links(engine)["p90"] == [("c_90", 0, None, "attested")]


def test_identifiers_of_an_erased_person_may_be_seen_together_again(engine):
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("s/01", "p1? m1?")), at_us=10, author=AUTHOR)  # typed, nobody's: no customer to erase by
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM identity_claims")
    assert store.learn(evidence(("s/01", "p1? m1?")), at_us=20, author=AUTHOR).claims_changed == 2


def test_a_change_that_waited_for_the_lock_is_recorded_after_what_it_replaces(engine):
    """Its clock was read before the wait: readers, who take the newest recording, would keep the older state."""
    store = IdentityStore(engine, POLICY)
    store.learn(evidence(("s/01", "o1 u1"), ("crm/02", "u2")), at_us=500, author=AUTHOR)
    told(store)
    store.decide([Decision("must", "s/01", "crm/02")], at_us=300, author=AUTHOR)
    [recorded] = [json.loads(value)["recorded_at"] for topic, key, value in told(store)
                  if (topic, key) == (LINKS_TOPIC, "u2")]  # fmt: skip
    assert recorded == 501


@pytest.mark.parametrize("seed", range(3))
def test_step_by_step_as_if_all_at_once(engine, seed):
    """Sixty random steps of evidence, merges and splits: the state is what `resolve` says of everything."""
    chance, store, known = random.Random(seed), IdentityStore(engine, POLICY), []
    for step in range(60):
        at_us = 1_000 + step
        if known and chance.random() < 0.3:
            pair = chance.sample(known, 2) if len(known) > 1 else [known[0]] * 2
            if pair[0] != pair[1]:
                store.decide([Decision(chance.choice(["must", "cannot", "may"]), *pair)], at_us=at_us, author=AUTHOR)
            continue
        made = []
        for _ in range(chance.randint(1, 3)):
            name = f"{chance.choice(['crm', 's'])}/{step:02}{len(made)}"
            if name.startswith("crm") and known and chance.random() < 0.2:
                name = chance.choice([record for record in known if record.startswith("crm")] or [name])
            letters = {letter: f"{letter}{chance.randrange(6)}{chance.choice(['', '', '?'])}" for letter in "phmounexy"}
            tokens = chance.sample(sorted(letters.values()), chance.randint(1, 4))
            made.append((name, " ".join(tokens)))
        made = list(dict(made).items())
        known += [name for name, _ in made if name not in known]
        store.learn(evidence(*made), at_us=at_us, author=AUTHOR)
    with engine.connect() as connection:
        claims = pl.concat([rows.claims_of_source(connection, source) for source in ("crm", "app")])
        everybody = rows.members(connection, known)
        whole = resolve(claims, rows.decisions_on(connection, known), POLICY["resolution"])
        stored = rows.links_of_tokens(connection, claims["token"].unique().to_list())
    assert stored == links_of(whole, claims)
    assert everybody == {r: (oldest := whole.members.get(r)) and customer_id_of(oldest) for r in known}
