"""Pairs of records: what is proposed, with which evidence, and that new records get the pairs a full run gives them."""

import json
import sys
from functools import cache

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import contracts
from pipelines.identity import match_model, match_profiles, matching
from tests.bench.identity_people import people
from tests.bench.identity_truth import pairwise

POLICY = contracts.policy("matching")
PLACEHOLDERS = contracts.policy("identity")["placeholders"]
MODEL = contracts.policy("matching_model")


def features(rows):
    return match_profiles.features(pl.DataFrame(rows), POLICY, PLACEHOLDERS)


@cache
def synthetic():
    profiles, truth = people(3_000, seed=5)
    return match_profiles.features(profiles, POLICY, PLACEHOLDERS), truth


LI_LEI = {
    "given_name": "雷",
    "family_name": "李",
    "birth_date": "1988-04-17",
    "address_line_1": "文三路12号",
    "locality": "杭州",
    "phone": "13812345671",
}


@pytest.mark.parametrize(
    ("changed", "evidence"),
    [
        ({}, {"given_name": "exact", "family_name": "exact", "birth_date": "exact", "phone": "exact"}),
        ({"given_name": "李", "family_name": "雷"}, {"given_name": "swapped", "family_name": "missing"}),  # one slip
        ({"birth_date": "19880471"}, {"birth_date": "near"}),  # two neighbours swapped are two edits
        ({"birth_date": "19880418"}, {"birth_date": "typo"}),
        ({"given_name": "霆"}, {"given_name": "different"}),  # one Chinese character is another name, not a slip
        ({"phone": "测试"}, {"phone": "missing"}),  # what hands type to get past a form
        ({"birth_date": "1900-01-01"}, {"birth_date": "missing"}),
        ({"locality": None}, {"area": "missing"}),  # no postcode either
    ],
)
def test_each_comparison_says_how_far_a_pair_agrees(changed, evidence):
    rows = [{"record_id": "a"} | LI_LEI, {"record_id": "b"} | LI_LEI | changed]
    pairs = matching.match_all(features(rows), MODEL, POLICY)
    assert pairs.select("record_id_left", "record_id_right").rows() == [("a", "b")]
    assert evidence.items() <= json.loads(pairs["evidence"][0]).items()
    assert pairs["rule_version"][0] == MODEL["version"]


def test_bytes_are_not_letters():
    """DuckDB gives 建国 and 建军 a Jaro-Winkler of 0.93, because half of their bytes are the same."""
    rows = [{"record_id": "a"} | LI_LEI | {"given_name": "建国"}, {"record_id": "b"} | LI_LEI | {"given_name": "建军"}]
    pairs = matching.match_all(features(rows), MODEL, POLICY)
    assert json.loads(pairs["evidence"][0])["given_name"] == "different"


def test_a_family_is_not_proposed_but_its_double_is():
    home = {"address_line_1": "12 tulip street", "street_number": "12", "postcode": "2600", "locality": "lyneham"}
    rows = [
        {"record_id": "father", "given_name": "peter", "family_name": "waller", "birth_date": "19600210"} | home,
        {"record_id": "mother", "given_name": "susan", "family_name": "waller", "birth_date": "19620703"} | home,
        {"record_id": "again", "given_name": "petre", "family_name": "waller", "birth_date": "19600210"} | home,
    ]
    families = MODEL | {"household_bits": -2.0}  # as learned where one pair in five of a household is one person
    pairs = matching.match_all(features(rows), families, POLICY)
    assert pairs.select("record_id_left", "record_id_right").rows() == [("again", "father")]


def test_a_key_of_many_records_brings_no_pair():
    """31 records share surname and birthday, one more than the rule allows; 30 of them would be compared."""
    rows = [{"record_id": f"{n:02d}", "family_name": "李", "birth_date": "19880417"} for n in range(31)]
    few, many = (
        matching.match_all(features(rows[:n]), MODEL | {"prior": 0.4, "population": n}, POLICY) for n in (30, 31)
    )
    assert (len(few), len(many)) == (30 * 29 // 2, 0)


def test_the_same_bound_holds_for_a_new_record():
    rows = [{"record_id": f"{n:02d}", "family_name": "李", "birth_date": "19880417"} for n in range(31)]
    likely = MODEL | {"prior": 0.4, "population": 30}
    new = features(rows[:1])
    few, many = (matching.match_new(new, features(rows[1:n]), likely, POLICY) for n in (30, 31))
    assert (len(few), len(many)) == (29, 0)


def test_a_record_that_changed_is_not_its_own_double():
    before = features([{"record_id": "a"} | LI_LEI, {"record_id": "b"} | LI_LEI])
    changed = features([{"record_id": "a"} | LI_LEI | {"locality": "上海"}])
    pairs = matching.match_new(changed, before, MODEL, POLICY)
    assert pairs.select("record_id_left", "record_id_right").rows() == [("a", "b")]


def test_new_records_get_the_pairs_of_a_full_run():
    frame, _ = synthetic()
    new, existing = frame[:400], frame[400:]
    ids = new["record_id"].implode()
    full = matching.match_all(frame, MODEL, POLICY)
    expected = full.filter(pl.col("record_id_left").is_in(ids) | pl.col("record_id_right").is_in(ids))
    assert len(expected) > 50
    found = matching.match_new(new, existing, MODEL, POLICY)
    assert_frame_equal(found, expected, abs_tol=1e-9)  # a sum of logarithms beside the logarithm of Splink's product


def test_nobody_new_and_nobody_at_all_give_no_pairs():
    frame, _ = synthetic()
    assert matching.match_new(frame[:0], frame, MODEL, POLICY).is_empty()
    assert matching.match_all(frame[:0], MODEL, POLICY).is_empty()


def test_a_trained_model_is_the_same_twice_and_finds_people_it_was_not_trained_on(monkeypatch):
    # igraph is under the GPL: Splink asks for it and imports it only for metrics of graphs, so it is not installed.
    # Here any import of it fails.
    monkeypatch.setitem(sys.modules, "igraph", None)
    frame, _ = synthetic()
    policy = POLICY | {"training": POLICY["training"] | {"max_random_pairs": 200_000}}  # enough here, and quicker
    model = match_model.train(frame, policy, MODEL)
    assert match_model.train(frame, policy, MODEL) == model
    assert model["comparisons"]["phone"] == MODEL["comparisons"]["phone"]  # nobody told a phone: the default's numbers
    others, truth = people(3_000, seed=6)
    found = matching.match_all(match_profiles.features(others, POLICY, PLACEHOLDERS), model, POLICY)
    assert pairwise(found, truth)["f"] > 0.98
    assert sys.modules["igraph"] is None


def test_too_few_records_take_the_shipped_model():
    frame, _ = synthetic()
    assert match_model.train(frame[:999], POLICY, MODEL) is MODEL
    with pytest.raises(ValueError, match="999 records are too few"):
        match_model.train(frame[:999], POLICY)


def test_the_prior_follows_the_number_of_records():
    """Twice as many records: four times the pairs, but each record has as many doubles as before."""
    assert match_model.prior({"prior": 1e-4, "population": 1_000}, 2_000) == pytest.approx(5e-5)


def test_nothing_personal_can_reach_a_disk():
    with match_model.duckdb_in_memory() as connection:
        settings = dict(connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())
        assert settings["temp_directory"] == ""
        with pytest.raises(Exception, match="disabled"):
            connection.execute("COPY (SELECT 1) TO '/tmp/people.csv'")


@pytest.mark.parametrize(
    ("other", "level"),
    [
        ("11010519491231002X", "exact"),
        ("110105194912310038", "conflict"),  # two digits away, and its check digit is right: another person
        ("110105194912310029", "typo"),  # a wrong check digit: somebody slipped
    ],
)
def test_a_right_check_digit_tells_another_person_from_a_slip(other, level):
    rows = [{"record_id": r} | LI_LEI | {"national_id": i} for r, i in (("a", "11010519491231002X"), ("b", other))]
    pairs = matching.match_all(features(rows), MODEL, POLICY)
    assert json.loads(pairs["evidence"][0])["national_id"] == level
