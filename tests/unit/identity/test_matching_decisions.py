"""Who decides about a pair. Each row is a pair that a probability alone would merge."""

import json

import polars as pl
import pytest

from pipelines import contracts
from pipelines.identity.match_decisions import decide

POLICY = contracts.policy("matching")
AGREED = dict.fromkeys(POLICY["comparisons"], "missing") | {
    "given_name": "exact",
    "family_name": "exact",
    "birth_date": "exact",
    "address_line_1": "exact",
    "area": "exact",
}


def pair(left, right, probability=0.9999, **changed):
    evidence = json.dumps(AGREED | changed)
    return {"record_id_left": left, "record_id_right": right, "match_probability": probability, "evidence": evidence}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"given_name": "different"}, "differs: given_name"),  # twins: surname, birthday and home are one
        ({"given_name": "close"}, "differs: given_name"),  # twins called jianguo and jianguang
        ({"given_name": "typo"}, None),
        ({"given_name": "missing"}, "unknown: given_name"),  # may be the twin's
        ({"given_name": "missing", "phone": "exact"}, "unknown: given_name"),  # the parents' phone
        ({"given_name": "missing", "national_id": "exact"}, None),
        ({"given_name": "different", "national_id": "exact"}, None),  # a new name; ID and birthday stay
        ({"given_name": "different", "national_id": "exact", "birth_date": "typo"}, "differs: given_name"),
        ({"birth_date": "different"}, "differs: birth_date"),  # father and son of one name
        ({"birth_date": "missing"}, "unknown: birth_date"),
        ({"birth_date": "missing", "phone": "exact"}, None),
        ({"family_name": "different"}, "differs: family_name"),
        ({"national_id": "conflict"}, "differs: national_id"),  # both check digits right, two people
        ({"national_id": "different"}, "differs: national_id"),
        ({"national_id": "typo"}, None),  # one of them can't be right
        ({"address_line_1": "missing", "area": "missing"}, "only names and birth date agree"),  # many 王伟
        ({"address_line_1": "different"}, "only names and birth date agree"),  # a town is no confirmation
        ({"address_line_1": "different", "email": "exact"}, None),
        ({"phone": "different"}, "one home, other phone"),  # a twin whose name was taken for the other's
        ({"phone": "different", "national_id": "exact"}, None),  # and a person with a new number
        ({"probability": 0.99}, "not probable enough"),
    ],
)
def test_the_guards_stand_above_the_probability(changed, reason):
    decided = decide(pl.DataFrame([pair("a", "b", **changed)]), POLICY)
    assert decided.review["reason"].to_list() == [reason] * (reason is not None)
    assert len(decided.merge) == (reason is None)


def test_improbable_pairs_are_dropped_and_none_is_lost():
    pairs = pl.DataFrame([pair("a", "b"), pair("c", "d", probability=0.7), pair("e", "f", probability=0.4)])
    merge, review, dropped = decide(pairs, POLICY)
    assert [f["record_id_left"].to_list() for f in (merge, review, dropped)] == [["a"], ["c"], ["e"]]


def test_two_ids_in_one_group_stop_all_its_merges():
    """a–b and b–c agree, b has no ID; a and c have two: merging both would make them one person through b."""
    pairs = pl.DataFrame([pair("a", "b"), pair("b", "c"), pair("x", "y")])
    ids = pl.DataFrame({"record_id": ["a", "c", "x", "y"], "national_id": ["id1_1", "id1_2", "id1_3", "id1_3"]})
    merge, review, _ = decide(pairs, POLICY, ids)
    assert merge["record_id_left"].to_list() == ["x"]
    assert review["reason"].to_list() == ["a group with two IDs"] * 2


def test_a_pair_at_odds_inside_a_group_stops_it():
    pairs = pl.DataFrame([pair("a", "b"), pair("b", "c"), pair("a", "c", birth_date="different")])
    merge, review, _ = decide(pairs, POLICY)
    assert merge.is_empty()
    assert sorted(review["reason"]) == ["a group at odds", "a group at odds", "differs: birth_date"]


def test_a_group_too_large_is_a_person_s_business():
    limit = POLICY["merging"]["max_records"]
    chain = [pair(f"{n:02d}", f"{n + 1:02d}") for n in range(limit)]  # one record more than the limit
    assert decide(pl.DataFrame(chain), POLICY).merge.is_empty()
    assert len(decide(pl.DataFrame(chain[:-1]), POLICY).merge) == limit - 1


def test_no_pairs_no_decisions():
    empty = pl.DataFrame([pair("a", "b")])[:0]
    assert [len(frame) for frame in decide(empty, POLICY)] == [0, 0, 0]
