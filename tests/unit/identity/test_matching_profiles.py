"""Person records in normal form: what is one value, what is none."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.identity import match_profiles

POLICY = contracts.policy("matching")
PLACEHOLDERS = contracts.policy("identity")["placeholders"]


def normal(column, value):
    profiles = pl.DataFrame({"record_id": ["a"], column: [value]})
    return match_profiles.features(profiles, POLICY, PLACEHOLDERS)[column][0]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("given_name", " Anna-Maria ", "annamaria"),  # hands put blanks and hyphens where they like
        ("given_name", "ＡＮＮＡ", "anna"),  # full width
        ("given_name", "先生", None),  # a title is no name
        ("family_name", "O'Brien", "obrien"),
        ("family_name", "测试", None),
        ("birth_date", "1990-01-07", "19900107"),
        ("birth_date", "1990年1月7日", "19900107"),
        ("birth_date", "1990/1/7", "19900107"),
        ("birth_date", "1990-01-07T00:00:00Z", "19900107"),
        ("birth_date", "19901340", "19901340"),  # no day, but evidence: it may be a slip
        ("birth_date", "1900-01-01", None),  # the default of a form
        ("birth_date", "1880-05-01", None),  # nobody alive
        ("birth_date", "0000", None),
        ("postcode", "000000", None),
        ("postcode", "310 012", "310012"),
        ("phone", "138 1234-5671", "+8613812345671"),
        ("phone", "+1 650 253 0000", "+16502530000"),
        ("phone", "13800138000", None),  # policy identity: typed to get past a form
        ("phone", "无", None),
        ("email", " Li.Lei@Example.COM", "li.lei@example.com"),
        ("email", "test@test.com", None),
        ("national_id", "110105 19491231 002x", "11010519491231002X"),
        ("national_id", "110105491231002", "11010519491231002X"),  # the old form gets its century and check digit
        ("national_id", "111111111111111111", None),
        ("national_id", "6988048", "6988048"),  # an ID of another country, without a check digit
    ],
)
def test_normal_form(column, value, expected):
    assert normal(column, value) == expected


TYPED = st.text(alphabet="aZé9 -·/.李雷０ａ\u3000", max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({c: st.none() | TYPED for c in match_profiles.COLUMNS}), min_size=1, max_size=4))
def test_a_normal_form_is_its_own_normal_form(rows):
    """So that features may be kept and made again from what was kept."""
    numbered = pl.DataFrame(rows, schema=dict.fromkeys(match_profiles.COLUMNS, pl.String)).with_columns(
        record_id=pl.int_range(pl.len()).cast(pl.String)
    )
    once = match_profiles.features(numbered, POLICY, PLACEHOLDERS)
    again = match_profiles.features(once.select("record_id", *match_profiles.COLUMNS), POLICY, PLACEHOLDERS)
    assert again.equals(once)


def test_only_a_right_check_digit_makes_an_id_valid():
    ids = ["11010519491231002X", "110105194912310021", "6988048", None]
    profiles = pl.DataFrame({"record_id": list("abcd"), "national_id": ids})
    made = match_profiles.features(profiles, POLICY, PLACEHOLDERS)
    assert made["national_id_valid"].to_list() == [True, False, False, False]


def test_swapped_names_have_one_key_and_a_missing_part_has_none():
    names = {"given_name": ["lei", "li", None], "family_name": ["li", "lei", "li"]}
    made = match_profiles.features(pl.DataFrame({"record_id": list("abc")} | names), POLICY, PLACEHOLDERS)
    rules = [rule["share"] for rule in POLICY["blocking"]["rules"]]
    key = made[f"key_{rules.index(['given_name', 'family_name']):02d}"].to_list()
    assert key[0] == key[1]
    assert key[2] is None


def test_a_full_name_stands_in_only_where_no_part_was_told():
    profiles = pl.DataFrame(
        {
            "record_id": ["a", "b"],
            "full_name": ["欧阳小红", "李雷"],
            "family_name": [None, "王"],
            "given_name": [None, None],
        }
    )
    made = match_profiles.features(profiles, POLICY, PLACEHOLDERS)
    assert made.select("family_name", "given_name").rows() == [("欧阳", "小红"), ("王", None)]


def test_a_record_without_a_name_of_its_own_is_refused():
    with pytest.raises(ValueError, match="1 occur again"):
        match_profiles.features(pl.DataFrame({"record_id": ["a", "a"]}), POLICY, PLACEHOLDERS)
    with pytest.raises(ValueError, match="no column record_id"):
        match_profiles.features(pl.DataFrame({"phone": ["1"]}), POLICY, PLACEHOLDERS)


def test_the_lock_leaves_igraph_out():
    """Splink names igraph (GPL) as a dependency and needs it for metrics of graphs only, which we never ask for."""
    lock = (Path(__file__).resolve().parents[3] / "requirements.lock").read_text()
    assert "igraph" not in lock
