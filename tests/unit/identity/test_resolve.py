"""Who is who, case by case: each says in a line which trap it is about."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.identity import evidence
from pipelines.identity.changes import links_of
from pipelines.identity.resolve import DAY_US, Decision, Resolution, resolve

POLICY = contracts.policy("identity")["resolution"]
TYPES = {
    "p": "phone", "e": "email", "u": "unionid", "o": "openid", "m": "member", "n": "national_id", "h": "user_handle",
    "x": "person_name", "y": "birth_date",
}  # fmt: skip


def rows(*records: tuple) -> pl.DataFrame:
    """Records in the order of arrival: (name, tokens). ``crm…`` are CRM records, still in force. A token is named by
    its type's letter; ``?`` after it: typed. ``@from-to`` gives days, ``*n`` sightings."""
    made = []
    for seq, (name, carried) in enumerate(records):
        for spelt in carried.split():
            spelt, _, sightings = spelt.partition("*")
            spelt, _, days = spelt.partition("@")
            start, _, end = (days or ("0-" if name.startswith("crm") else "0-0")).partition("-")
            made.append(
                {
                    "record_key": name,
                    "source": "crm" if name.startswith("crm") else "app",
                    "token": spelt.rstrip("?"),
                    "token_type": TYPES[spelt[0]],
                    "attested": not spelt.endswith("?"),
                    "first_seen_at": int(start) * DAY_US,
                    "last_seen_at": int(end) * DAY_US if end else None,
                    "sightings": int(sightings or 1),
                    "record_seq": seq,
                }
            )
    return pl.DataFrame(made, schema=evidence.COLUMNS | {"record_seq": pl.Int64})


def customers(found: Resolution) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for record, oldest in found.members.items():
        groups.setdefault(oldest, set()).add(record)
    return {frozenset(group) for group in groups.values()}


def grouped(text: str) -> set[frozenset[str]]:
    return {frozenset(group.split()) for group in text.split("|")}


CASES = {
    "a unionid joins a chat with the CRM": ([("crm1", "u1 p1"), ("s1", "o1 u1")], "crm1 s1"),
    "nothing in common, nothing joined": ([("crm1", "u1"), ("s1", "o1 u2")], "crm1 | s1"),
    "a verified phone joins the app with the CRM": ([("crm1", "p1"), ("s1", "h1 p1")], "crm1 s1"),
    "joined over three channels by different identifiers": (
        [("crm1", "p1 m1"), ("s1", "o1 u1 p1"), ("s2", "o2 u1")], "crm1 s1 s2"),
    "a family's phone: two CRM records hold it at once, and neither it nor the app joins them": (
        [("crm1", "p1 u1"), ("crm2", "p1 u2"), ("s1", "h1 p1")], "crm1 | crm2 | s1"),
    "one in the CRM without unionid, two unionids beside the phone: nobody knows whose the CRM record is": (
        [("crm1", "p1"), ("s1", "o1 u1 p1"), ("s2", "o2 u2 p1")], "crm1 | s1 | s2"),
    "a recycled number: the first holder gave it up 100 days before the second came": (
        [("crm1", "p1@0-10 u1"), ("crm2", "p1@110- u2")], "crm1 | crm2"),
    "two CRM records of one unionid: one a source, so a person must say": ([("crm1", "u1"), ("crm2", "u1")],
                                                                           "crm1 | crm2"),
    "twins: same phone, different national IDs": ([("s1", "n1 p1 h1"), ("s2", "n2 p1 h2")], "s1 | s2"),
    "a typed phone joins nobody": ([("crm1", "p1"), ("crm2", "m2 p1?")], "crm1 | crm2"),
    "a store record with a typed member number follows the member": ([("crm1", "m1"), ("s1", "m1? p9?")], "crm1 s1"),
    "typed member of one, typed phone of another: it follows neither": (
        [("crm1", "m1"), ("crm2", "p2"), ("s1", "m1? p2?")], "crm1 | crm2"),
    "a clerk's phone in the forms of three members: each form follows its member": (
        [("crm1", "m1"), ("crm2", "m2"), ("crm3", "m3"), ("crm9", "p9"),
         ("s1", "m1? p9?"), ("s2", "m2? p9?"), ("s3", "m3? p9?")], "crm1 s1 | crm2 s2 | crm3 s3 | crm9"),
    "a switchboard: four log-ins with four unionless accounts": (
        [("s1", "h1 p1"), ("s2", "h2 p1"), ("s3", "h3 p1"), ("s4", "h4 p1")], "s1 | s2 | s3 | s4"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_customers(case):
    records, expected = CASES[case]
    assert customers(resolve(rows(*records), [], POLICY)) == grouped(expected)


def owners(found: Resolution, token: str) -> list[tuple]:
    days = [None if at is None else at // DAY_US for stretch in found.timelines[token] for at in stretch[1:]]
    return [(stretch[0], *days[2 * n : 2 * n + 2]) for n, stretch in enumerate(found.timelines[token])]


def test_a_recycled_number_has_two_holders_in_turn():
    registered = resolve(rows(("crm1", "p1@5-10 u1"), ("crm2", "p1@110- u2")), [], POLICY)
    assert owners(registered, "p1") == [("crm1", None, 10), ("crm2", 110, None)]  # the CRM says when it was given up
    seen = resolve(rows(("s1", "p1@5-10 u1@5-10"), ("s2", "p1@110-120 u2@110-120")), [], POLICY)
    assert owners(seen, "p1") == [("s1", None, 110), ("s2", 110, None)]  # here only that it was seen last on day 10


def test_89_quiet_days_are_too_few_for_a_new_holder():
    found = resolve(rows(("crm1", "p1@5-10 u1"), ("crm2", "p1@99- u2")), [], POLICY)
    assert owners(found, "p1") == [(None, None, None)]  # both at once, as far as anybody can tell


def test_a_typed_identifier_goes_to_one_customer_from_the_second_sighting_on():
    once = resolve(rows(("crm1", "m1"), ("s1", "m1? p1?")), [], POLICY)
    twice = resolve(rows(("crm1", "m1"), ("s1", "m1? p1?*2")), [], POLICY)
    torn = resolve(rows(("crm1", "m1"), ("crm2", "m2"), ("s1", "m1? p1?*2"), ("s2", "m2? p1?")), [], POLICY)
    assert "p1" not in once.timelines
    assert owners(twice, "p1") == [("crm1", None, None)]
    assert owners(torn, "p1") == [(None, None, None)]  # typed for two customers: it says nothing of either


def test_a_browsers_number_goes_to_whoever_says_once_who_they_are():
    found = resolve(rows(("crm1", "p1"), ("s1", "p1? h1?")), [], POLICY)
    assert owners(found, "h1") == [("crm1", None, None)]


def test_one_person_who_registered_twice_is_told_by_name_and_birth_date():
    same = [("crm1", "p1 x1 y1"), ("crm2", "p1 m2 x1 y1")]
    assert customers(resolve(rows(*same), [], POLICY)) == grouped("crm1 crm2")
    twins = [("crm1", "p1 x1 y1"), ("crm2", "p1 m2 x2 y1")]
    assert customers(resolve(rows(*twins), [], POLICY)) == grouped("crm1 | crm2")
    nameless = [("crm1", "p1 y1"), ("crm2", "p1 y1")]  # a birth date alone says nothing
    assert customers(resolve(rows(*nameless), [], POLICY)) == grouped("crm1 | crm2")
    namesakes = [("crm1", "p1 x1 y1"), ("crm2", "p2 x1 y1")]  # nothing but name and birth date in common
    assert customers(resolve(rows(*namesakes), [], POLICY)) == grouped("crm1 | crm2")


def test_a_clerks_phone_belongs_to_nobody_and_two_forms_are_not_yet_a_clerks():
    members = [(f"crm{n}", f"m{n}") for n in range(3)]
    forms = [(f"s{n}", f"m{n}? p9?") for n in range(3)]
    assert owners(resolve(rows(*members, ("crm9", "p9"), *forms[:2]), [], POLICY), "p9") == [("crm9", None, None)]
    assert owners(resolve(rows(*members, ("crm9", "p9"), *forms), [], POLICY), "p9") == [(None, None, None)]


def test_a_crowded_identifier_is_not_looked_through():
    many = [(f"s{n}", f"o{n} u1") for n in range(POLICY["crowded_above_records"] + 1)]
    found = resolve(rows(*many), [], POLICY)
    assert len(customers(found)) == len(many)
    assert found.rules["u1"] == "crowded"
    assert len(customers(resolve(rows(*many[:-1]), [], POLICY))) == 1


def test_what_was_not_joined_says_why():
    found = resolve(rows(("crm1", "u1"), ("crm2", "u1"), ("s1", "n1 h1 p3"), ("s2", "n2 h2 p3")), [], POLICY)
    assert [(c.token, c.record_key, c.other_record_key, c.guard) for c in found.conflicts] == [
        ("u1", "crm1", "crm2", "one_record_per_source"),
        ("p3", "s1", "s2", "different_national_id"),
    ]


def test_a_person_may_join_what_no_rule_would_and_keep_apart_what_a_rule_joins():
    two = rows(("crm1", "u1"), ("crm2", "p2"))
    assert customers(resolve(two, [Decision("must", "crm2", "crm1")], POLICY)) == grouped("crm1 crm2")
    linked = rows(("crm1", "u1"), ("s1", "u1 o1"))
    assert customers(resolve(linked, [Decision("cannot", "s1", "crm1")], POLICY)) == grouped("crm1 | s1")
    typed = rows(("crm1", "m1"), ("s1", "m1? h1?"))
    assert customers(resolve(typed, [Decision("cannot", "s1", "crm1")], POLICY)) == grouped("crm1")


def test_the_last_word_on_a_pair_counts():
    two = rows(("crm1", "u1"), ("crm2", "p2"))
    merge, split, nothing = (Decision(word, "crm1", "crm2") for word in ("must", "cannot", "may"))
    assert customers(resolve(two, [merge, split], POLICY)) == grouped("crm1 | crm2")
    assert customers(resolve(two, [split, merge], POLICY)) == grouped("crm1 crm2")
    assert customers(resolve(two, [split, nothing], POLICY)) == grouped("crm1 | crm2")


def test_the_oldest_record_names_the_customer_whatever_comes_later():
    before = resolve(rows(("s1", "o1 u1")), [], POLICY)
    after = resolve(rows(("s1", "o1 u1"), ("crm1", "u1 p1")), [], POLICY)
    assert set(before.members.values()) == set(after.members.values()) == {"s1"}


TOKENS = [f"{letter}{n}{mark}" for letter in "peuomnh" for n in range(3) for mark in ("", "?")]
RECORDS = st.lists(
    st.tuples(st.sampled_from(["crm", "s"]), st.lists(st.sampled_from(TOKENS), min_size=1, max_size=4, unique=True)),
    min_size=1, max_size=12,
)  # fmt: skip


def _made(drawn) -> list[tuple[str, str]]:
    made = []
    for n, (source, tokens) in enumerate(drawn):
        unlike = {token.rstrip("?"): token for token in tokens}  # a record carries a token once
        made.append((f"{source}{n}", " ".join(unlike.values())))
    return made


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(drawn, chance: random.Random):
    found = rows(*_made(drawn))
    again = found.sample(fraction=1.0, shuffle=True, seed=chance.randrange(2**32))
    first, second = resolve(found, [], POLICY), resolve(again, [], POLICY)
    assert (first.members, first.timelines) == (second.members, second.timelines)


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.data())
def test_a_merge_and_its_split_give_back_what_was(drawn, data):
    """Whatever the records: after merging two customers and keeping their records apart again, all is as before."""
    found = rows(*_made(drawn))
    before = resolve(found, [], POLICY)
    groups = sorted(map(sorted, customers(before)))
    if len(groups) < 2:
        return
    a, b = data.draw(st.permutations(groups))[:2]
    merge = [Decision("must", before.members[a[0]], before.members[b[0]])]
    split = [Decision("cannot", x, y) for x in a for y in b]
    _, first, second = merge[0]
    merged = resolve(found, merge, POLICY).members
    # Some that only follow may not any more: two who typed a number are one now, too few to call it shared.
    assert merged[first] == merged[second]
    after = resolve(found, merge + split, POLICY)
    assert (after.members, after.timelines) == (before.members, before.timelines)


@settings(max_examples=150, deadline=None)
@given(RECORDS)
def test_no_customer_holds_two_records_of_the_crm_or_two_national_ids(drawn):
    found = rows(*_made(drawn))
    carried = {}
    for record, token, attested in found.select("record_key", "token", "attested").iter_rows():
        if attested and token[0] in "nu":
            carried.setdefault(record, set()).add(token)
    for group in customers(resolve(found, [], POLICY)):
        assert sum(name.startswith("crm") for name in group) <= 1
        own = [record for record in group if len(carried.get(record, ())) <= 2]
        of_kind = {kind: {t for r in own for t in carried.get(r, ()) if t[0] == kind} for kind in "nu"}
        torn = [r for r in group if any(sum(t[0] == k for t in carried.get(r, ())) > 1 for k in "nu")]
        assert torn or all(len(tokens) <= 1 for tokens in of_kind.values())


def test_a_number_the_crm_gave_up_is_nobodys_until_it_has_a_new_holder():
    changed = rows(("crm1", "u1 p1@0-50 p2@50-"))
    assert owners(resolve(changed, [], POLICY), "p1") == [("crm1", None, 50)]
    seen_since = rows(("crm1", "u1 p1@0-50 p2@50-"), ("s1", "u1@20-60 p1@20-60"))
    assert owners(resolve(seen_since, [], POLICY), "p1") == [("crm1", None, None)]  # the app still proves it


def test_a_number_that_many_gave_as_theirs_is_nobodys_even_if_one_has_it_verified():
    typed = [(f"crm{n}", f"m{n} p1?") for n in range(POLICY["shared_by_others"])]
    assert owners(resolve(rows(("crm9", "p1"), *typed[1:]), [], POLICY), "p1") == [("crm9", None, None)]
    assert owners(resolve(rows(("crm9", "p1"), *typed), [], POLICY), "p1") == [(None, None, None)]


def test_an_account_beside_many_members_is_a_tool():
    members = [(f"crm{n}", f"m{n}") for n in range(3)]
    forms = [(f"s{n}", f"m{n}? h9?") for n in range(3)]
    found = resolve(rows(*members, *forms), [], POLICY)
    assert (owners(found, "h9"), found.rules["h9"]) == ([(None, None, None)], "shared_by_others")
    [link] = links_of(found, rows(*members, *forms))["h9"]
    assert link.customer_id == evidence.NOBODY_AT_ALL
