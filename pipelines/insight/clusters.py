"""Puts near-equal questions together: the same input, in whatever order, gives the same clusters."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """The most frequent set of key terms of a cluster, and its terms, heaviest first."""

    leader: str
    key_terms: str


def cluster_terms(counts: Mapping[str, int], *, min_similarity: float) -> dict[str, Cluster]:
    """The cluster of each set of key terms (joined by blanks), given how often each was asked.

    Leaders are found from the most frequent set down: a set is a leader of its own unless the cosine of its terms with
    an earlier leader reaches ``min_similarity``; then every set goes to its nearest leader. Terms weigh
    ``ln((1 + N) / (1 + df)) + 1`` over the N different sets, so a hot question does not make its own words cheap.
    Ties go by frequency, then by text; there is no seed and no clock.

    >>> counts = {"退货": 5, "申请 退货": 2, "发票": 3, "专票 发票": 1, "安装": 1}
    >>> {terms: c.leader for terms, c in cluster_terms(counts, min_similarity=0.5).items()}
    {'退货': '退货', '发票': '发票', '申请 退货': '退货', '专票 发票': '发票', '安装': '安装'}
    """
    ordered = sorted(counts, key=lambda terms: (-counts[terms], terms))
    weights = _weights(ordered)
    vectors = {terms: _unit(terms.split(" "), weights) for terms in ordered}
    leaders = _Leaders()
    for terms in ordered:
        nearest = leaders.nearest(vectors[terms])
        if nearest is None or nearest[1] < min_similarity:
            leaders.add(terms, vectors[terms])
    found = {}
    for terms in ordered:
        leader = leaders.nearest(vectors[terms])[0]
        heaviest = sorted(vectors[leader], key=lambda t: (-weights[t], t))
        found[terms] = Cluster(leader, " ".join(heaviest))
    return found


class _Leaders:
    """Leaders so far, found again through any term they share."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._by_term: dict[str, list[tuple[int, float]]] = defaultdict(list)

    def add(self, name: str, vector: Mapping[str, float]) -> None:
        for term, weight in vector.items():
            self._by_term[term].append((len(self._names), weight))
        self._names.append(name)

    def nearest(self, vector: Mapping[str, float]) -> tuple[str, float] | None:
        """Nearest leader and cosine, ties to the earlier; None where no leader shares a term."""
        cosines: Counter[int] = Counter()
        for term, weight in vector.items():
            for position, other in self._by_term.get(term, ()):
                cosines[position] += weight * other
        if not cosines:
            return None
        # Rounded: the last bits of a float sum depend on the order of its terms.
        best = min(cosines, key=lambda position: (-round(cosines[position], 9), position))
        return self._names[best], round(cosines[best], 9)


def _weights(sets: Iterable[str]) -> dict[str, float]:
    sets = list(sets)
    frequency = Counter(term for terms in sets for term in terms.split(" "))
    return {term: math.log((1 + len(sets)) / (1 + df)) + 1 for term, df in frequency.items()}


def _unit(terms: list[str], weights: Mapping[str, float]) -> dict[str, float]:
    norm = math.sqrt(sum(weights[t] ** 2 for t in terms))
    return {t: weights[t] / norm for t in terms}
