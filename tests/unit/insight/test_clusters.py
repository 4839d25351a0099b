"""Clusters of key terms: worked by hand, and the same whatever the order of the input."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pipelines.insight.clusters import cluster_terms


def _leaders(counts, similarity=0.5):
    return {terms: cluster.leader for terms, cluster in cluster_terms(counts, min_similarity=similarity).items()}


def test_near_sets_join_the_more_frequent_leader():
    # N = 3 sets: 退货 is in 2 (weight ln(4/3)+1 = 1.288), 运费 in 1 (ln(4/2)+1 = 1.693).
    # cosine(退货, 退货 运费) = 1.288 / sqrt(1.288² + 1.693²) = 0.605.
    counts = {"退货": 9, "退货 运费": 2, "发票": 4}
    assert _leaders(counts, 0.60) == {"退货": "退货", "退货 运费": "退货", "发票": "发票"}
    assert _leaders(counts, 0.61)["退货 运费"] == "退货 运费"


def test_a_set_goes_to_its_nearest_leader_not_to_the_first():
    counts = {"退货": 9, "退货 运费 到付": 5, "运费 到付": 1}
    # Each term is in 2 of 3 sets, so all weigh the same. The long set is no leader, since 退货 is near enough
    # (1/√3 = 0.58); 运费 到付 becomes one later and is nearer to it (2/√6 = 0.82).
    assert _leaders(counts) == {"退货": "退货", "退货 运费 到付": "运费 到付", "运费 到付": "运费 到付"}


def test_key_terms_come_heaviest_first():
    counts = {"退货 运费": 3, "退货": 1}
    assert cluster_terms(counts, min_similarity=0.5)["退货 运费"].key_terms == "运费 退货"  # 运费 is rarer


def test_nothing_in_nothing_out():
    assert cluster_terms({}, min_similarity=0.5) == {}


_TERMS = st.lists(st.sampled_from("甲乙丙丁戊"), min_size=1, max_size=3, unique=True).map(lambda t: " ".join(sorted(t)))


@given(st.dictionaries(_TERMS, st.integers(1, 5), max_size=20), st.integers(0, 99))
def test_order_changes_nothing_and_every_set_has_a_leader_that_leads_itself(counts, seed):
    shuffled = list(counts.items())
    random.Random(seed).shuffle(shuffled)
    found = cluster_terms(counts, min_similarity=0.5)
    assert cluster_terms(dict(shuffled), min_similarity=0.5) == found
    assert found.keys() == counts.keys()
    assert all(found[cluster.leader].leader == cluster.leader for cluster in found.values())
