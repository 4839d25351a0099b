"""The identity index equals a dictionary, whatever is written in whatever order."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.identity.index import IdentityIndex
from pipelines.identity.map_records import encode, feed
from pipelines.identity.provisional import join_customers, provisional_id


def token(number, head="ph1_"):
    return f"{head}{number:032x}"


# Few tokens, so that they meet again; equal first halves (a << 64 differs only below) force collisions of the key.
tokens = st.sampled_from([token(n) for n in range(6)] + [token(7, "un1_"), token(7, "ph2_"), token(7, "ph12_")])
writes = st.lists(st.tuples(tokens, st.one_of(st.none(), st.sampled_from(["c_1", "c_2", "c_3"]))), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(writes, max_size=6), st.integers(1, 30))
def test_index_equals_a_dictionary(batches, merge_every):
    index, truth = IdentityIndex(merge_every=merge_every), {}
    for batch in batches:
        index.apply([t for t, _ in batch], [c for _, c in batch])
        for name, customer in batch:
            truth.pop(name, None) if customer is None else truth.__setitem__(name, customer)
        wanted = [token(n) for n in range(8)] + [token(7, "un1_"), token(7, "ph2_"), token(7, "ph12_"), None]
        found = index.lookup(pl.Series(wanted, dtype=pl.String)).to_list()
        assert found == [truth.get(t) for t in wanted]
    assert len(index) == len(truth)


def test_tokens_that_share_the_first_half_stay_two():
    index = IdentityIndex()
    same_half = "ab" * 8
    left, right, absent = (f"ph1_{same_half}{tail * 8}" for tail in ("00", "11", "22"))
    index.apply([left, right], ["c_1", "c_2"])
    len(index)  # merged into the base
    assert index.lookup(pl.Series([right, left, absent])).to_list() == ["c_2", "c_1", None]


@pytest.mark.parametrize("bad", ["", "x", "ph1_123", "ph1_" + "g" * 32, "ph1_" + "A" * 32, "p_" + "0" * 32, "0" * 36])
def test_what_is_no_token_is_refused_before_anything_changed(bad):
    index = IdentityIndex()
    with pytest.raises(ValueError, match="Not a token"):
        index.apply([token(1), bad], ["c_1", "c_1"])
    assert len(index) == 0


def test_unused_names_are_forgotten():
    index = IdentityIndex(merge_every=1000)
    for generation in range(5):
        index.apply([token(n) for n in range(2000)], [f"c_{generation}_{n}" for n in range(2000)])
    assert len(index) == 2000
    assert len(index._names) <= 2 * 2000 + 1000
    assert index.lookup(pl.Series([token(1999)])).to_list() == ["c_4_1999"]


def test_a_slice_of_a_column_is_read_at_its_place():
    index = IdentityIndex()
    index.apply([token(n) for n in range(10)], [f"c_{n}" for n in range(10)])
    column = pl.Series([token(n) for n in range(10)])
    assert index.lookup(column[4:6]).to_list() == ["c_4", "c_5"]
    assert index.lookup(pl.Series([None, None], dtype=pl.String)).to_list() == [None, None]
    assert index.lookup(pl.Series([], dtype=pl.String)).to_list() == []


def test_records_of_the_topic_feed_it():
    index = IdentityIndex()
    assert feed(index, [(token(1), encode(token(1), "phone", "c_1", "crm:phone_verified", "identity-1", 5))]) == 1
    assert index.lookup(pl.Series([token(1)])).to_list() == ["c_1"]
    feed(index, [(token(1), None)])
    assert index.lookup(pl.Series([token(1)])).to_list() == [None]


def test_precedence_decides_and_only_the_first_hit_counts():
    index = IdentityIndex()
    index.apply([token(1, "un1_"), token(2)], ["c_union", "c_phone"])
    tokens_by_kind = {
        "unionid": pl.Series([token(1, "un1_"), None, token(9, "un1_"), None, None], dtype=pl.String),
        "phone": pl.Series([token(2), token(2), token(2), token(3), None], dtype=pl.String),
    }
    joined = join_customers(
        tokens_by_kind, index, precedence=["unionid", "phone"], must_agree=["phone"], provisional=["unionid", "phone"]
    )
    assert joined["customer_id"].to_list() == ["c_union", "c_phone", "c_phone", "p_" + "0" * 24, None]
    assert joined["identity_status"].to_list() == ["linked", "linked", "linked", "provisional", "anonymous"]


def test_a_provisional_name_is_the_same_on_every_channel():
    here = provisional_id({"phone": pl.Series(["ph1_" + "cd" * 16])}, ["phone"])
    there = provisional_id(
        {"openid": pl.Series([None], dtype=pl.String), "phone": pl.Series(["ph1_" + "cd" * 16])}, ["openid", "phone"]
    )
    assert here.to_list() == there.to_list() == ["p_" + "cd" * 12]
    with pytest.raises(ValueError, match="No token column"):
        provisional_id({"phone": pl.Series(["x"])}, ["openid"])
