"""The scorer of identity, on groups small enough to count pairs by hand."""

from itertools import combinations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.identity_score import score

TRUTH = pl.DataFrame(
    [
        ("a1", "contact", 1, "plain", True),
        ("a2", "contact", 1, "plain", True),
        ("a3", "contact", 1, "twins", True),  # split off from its person
        ("r1", "record", 1, "plain", True),  # counts in pairs, not in continuity
        ("b1", "contact", 2, "clerk_phone", True),  # put to person 1
        ("b2", "contact", 2, "plain", True),
        ("c1", "contact", 3, "plain", False),  # carries nothing: excluded from continuity
    ],
    schema=["item", "kind", "person", "trap", "identified"],
    orient="row",
)


def assigned(**ids: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"item": list(ids), "customer_id": list(ids.values())}, schema={"item": pl.String, "customer_id": pl.String}
    )


SAID = assigned(a1="X", a2="X", r1="X", b1="X", a3="Y", b2="Z", c1=None)


def test_pairs_by_hand():
    """X holds 4 items: 6 pairs, 3 of them of person 1. True pairs: 6 of person 1's four items, 1 of person 2's."""
    found = score(TRUTH, SAID)
    assert (found.pairs_said, found.pairs_right, found.pairs_true) == (6, 3, 7)
    assert found.pair_precision == 3 / 6
    assert found.pair_recall == 3 / 7
    assert (found.wrong_merges, found.wrong_splits) == (1, 2)


def test_continuity_by_hand():
    """X is person 1's (2 of 3 contacts) and better than Y; Z is person 2's. Held: a1, a2, b2 of 5."""
    found = score(TRUTH, SAID)
    assert (found.contacts, found.identified_contacts) == (6, 5)
    assert found.continuity == pytest.approx(3 / 5)
    assert found.continuity_by_person == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_continuity_of_what_evidence_can_place():
    """a3 (split off) and b1 (wrongly placed) are beyond any evidence: 3 of 3; with a3 joinable 3 of 4."""
    beyond = TRUTH.with_columns(joinable=~pl.col("item").is_in(["a3", "b1"]))
    assert score(beyond, SAID).continuity_joinable == 1.0
    assert score(TRUTH.with_columns(joinable=pl.col("item") != "b1"), SAID).continuity_joinable == 3 / 4
    assert score(TRUTH, SAID).continuity_joinable is None  # the truth does not say


def test_what_each_trap_costs_by_hand():
    """The 3 wrong pairs of X go to the only trap in X; the 3 pairs that a3 misses to twins, b1-b2 to the clerk."""
    rows = {row["trap"]: row for row in score(TRUTH, SAID).by_trap.to_dicts()}
    assert (
        rows["clerk_phone"] | {"items": 1, "merged_pairs": 3.0, "merged_ids": 1, "split_pairs": 1.0}
        == (rows["clerk_phone"])
    )
    assert (rows["twins"]["merged_pairs"], rows["twins"]["split_pairs"], rows["twins"]["split_persons"]) == (0, 3, 1)
    assert (rows["plain"]["merged_pairs"], rows["plain"]["split_pairs"]) == (0, 0)


def test_wrong_pairs_are_shared_out_by_items_where_two_traps_meet():
    """One ID for all but c1: 6 items, 15 pairs, 7 right: 8 wrong, half to the twin's item, half to the clerk's."""
    rows = {r["trap"]: r for r in score(TRUTH, assigned(**dict.fromkeys(TRUTH["item"][:6], "X"))).by_trap.to_dicts()}
    assert (rows["twins"]["merged_pairs"], rows["clerk_phone"]["merged_pairs"]) == (4, 4)


@pytest.mark.parametrize(
    ("said", "continuity"),
    [
        (assigned(a1="X", a2="X", b1="X", b2="X", a3="Y"), 1 / 5),  # X is evenly shared: nobody's; Y is person 1's
        (assigned(a1="X", a2="Y", a3="Y", b1="Z", b2="Z"), 4 / 5),  # of two IDs of one's own only the larger is right
        (assigned(a1="X", a2="X", a3="X", b1="X", b2="X"), 3 / 5),  # an ID is right for one person only
        (assigned(), 0.0),  # no ID, no continuity
        (assigned(r1="X", b1="X", a1="Y", a2="Y", a3="Y"), 4 / 5),  # a record is no contact: X stays person 2's
        (assigned(c1="X", b1="X", a1="Y", a2="Y", a3="Y"), 4 / 5),  # nor does a contact that carries nothing take it
    ],
)
def test_which_id_is_right(said, continuity):
    assert score(TRUTH, said).continuity == pytest.approx(continuity)


def test_an_id_that_reads_like_an_item_is_still_another_cluster():
    truth = TRUTH.filter(pl.col("item").is_in(["a1", "b2"]))
    assert score(truth, assigned(b2="a1")).pairs_said == 0


def test_nothing_joined_has_no_precision():
    found = score(TRUTH, assigned())
    assert (found.pair_precision, found.pair_recall) == (None, 0.0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (pl.concat([SAID, SAID.head(1)]), "assigned lists an item twice: 'a1'"),
        (assigned(zz="X"), "not in the truth, the first is 'zz'"),
    ],
)
def test_an_assignment_of_other_items_is_refused(said, message):
    with pytest.raises(ValueError, match=message):
        score(TRUTH, said)


ITEMS = st.lists(
    st.tuples(
        st.integers(0, 4),  # person
        st.one_of(st.none(), st.integers(0, 4)),  # ID
        st.sampled_from(["contact", "record"]),
        st.sampled_from(["plain", "twins", "clerk_phone"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


def frames(rows):
    names = [f"i{n}" for n in range(len(rows))]
    truth = pl.DataFrame(
        {
            "item": names,
            "kind": [row[2] for row in rows],
            "person": [row[0] for row in rows],
            "trap": [row[3] for row in rows],
            "identified": [row[4] for row in rows],
        }
    )
    return truth, names


@settings(max_examples=150, deadline=None)
@given(ITEMS, st.permutations(range(5)))
def test_bounds_names_and_the_long_way_round(rows, names_of_ids):
    truth, items = frames(rows)
    ids = [row[1] for row in rows]
    said = assigned(**{i: None if n is None else f"c{n}" for i, n in zip(items, ids, strict=True)})
    renamed = assigned(**{i: None if n is None else f"d{names_of_ids[n]}" for i, n in zip(items, ids, strict=True)})
    found = score(truth, said)
    # the long way: every pair is looked at
    pairs = list(combinations(rows, 2))
    together = [(p, q) for p, q in pairs if p[1] is not None and p[1] == q[1]]
    assert found.pairs_said == len(together)
    assert found.pairs_right == sum(p[0] == q[0] for p, q in together)
    assert found.pairs_true == sum(p[0] == q[0] for p, q in pairs)
    for share in (found.pair_precision, found.pair_recall, found.continuity, found.continuity_by_person):
        assert share is None or 0 <= share <= 1
    costs = found.by_trap
    assert costs["merged_pairs"].sum() == pytest.approx(found.pairs_said - found.pairs_right)
    assert costs["split_pairs"].sum() == pytest.approx(found.pairs_true - found.pairs_right)
    again = score(truth, renamed.sample(fraction=1, shuffle=True, seed=1))
    figures = ("pairs_said", "pairs_right", "wrong_merges", "wrong_splits", "identified_contacts")
    assert [getattr(found, name) for name in figures] == [getattr(again, name) for name in figures]
    assert found.continuity == pytest.approx(again.continuity, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(ITEMS)
def test_the_truth_itself_scores_full(rows):
    truth, items = frames(rows)
    found = score(truth, assigned(**{i: f"c{row[0]}" for i, row in zip(items, rows, strict=True)}))
    assert found.pair_precision in (None, 1.0)
    assert found.pair_recall in (None, 1.0)
    assert found.continuity in (None, 1.0)
    assert (found.wrong_merges, found.wrong_splits) == (0, 0)
