"""Records that are one customer: a union-find that knows what must never be joined, and says why it refused."""

from __future__ import annotations

from collections.abc import Mapping

ONE_RECORD_PER_SOURCE = "one_record_per_source"
KEPT_APART = "kept_apart"
TOO_LARGE = "too_large"


class Clusters:
    """Records 0 … n - 1 in the order of their arrival; the oldest of a cluster is its root, so it names the customer.

    `exclusive` gives the source of records that are one person each within it (a CRM), unless `alike` says the same of
    both (name and birth date); `values` what a person has one of (a national ID), `apart` what a person has decided to
    keep apart.

    >>> clusters = Clusters(4, exclusive={0: "crm", 2: "crm"}, alike={}, values={}, apart={}, max_records=100)
    >>> clusters.join(2, 1), clusters.find(2), clusters.join(3, 1), clusters.find(3)
    (None, 1, None, 1)
    >>> clusters.join(0, 3)
    'one_record_per_source'
    """

    def __init__(
        self,
        records: int,
        *,
        exclusive: Mapping[int, str],
        alike: Mapping[int, tuple[str, ...]],
        values: Mapping[int, Mapping[str, int]],
        apart: Mapping[int, frozenset[int]],
        max_records: int,
    ):
        self._parent = list(range(records))
        self._members: dict[int, list[int]] = {}
        self._sources = {record: {source: alike.get(record)} for record, source in exclusive.items()}
        self._values = dict(values)
        self._apart = apart
        self._max_records = max_records

    def find(self, record: int) -> int:
        """The oldest record of the cluster."""
        parent = self._parent
        while parent[record] != record:
            parent[record] = record = parent[parent[record]]
        return record

    def members(self, root: int) -> list[int]:
        """All records of a root's cluster."""
        return self._members.get(root) or [root]

    def refusal(self, a: int, b: int, *, forced: bool = False) -> str | None:
        """Why the clusters of two records may not be joined; None where they may, or are one already.

        `forced` is a person's decision: it overrules what the rules hold against the join, but no other decision.
        """
        a, b = self.find(a), self.find(b)
        if a == b:
            return None
        if self._apart and self._kept_apart(a, b):
            return KEPT_APART
        if forced:
            return None
        mine, theirs = self._sources.get(a, {}), self._sources.get(b, {})
        if any(mine[source] is None or mine[source] != theirs[source] for source in mine.keys() & theirs.keys()):
            return ONE_RECORD_PER_SOURCE
        mine, theirs = self._values.get(a), self._values.get(b)
        for kind in sorted(mine.keys() & theirs.keys()) if mine and theirs else ():
            if mine[kind] != theirs[kind]:
                return f"different_{kind}"
        if len(self.members(a)) + len(self.members(b)) > self._max_records:
            return TOO_LARGE
        return None

    def join(self, a: int, b: int, *, forced: bool = False) -> str | None:
        """Make one cluster of two; gives the refusal and changes nothing where there is one."""
        refused = self.refusal(a, b, forced=forced)
        root, other = sorted((self.find(a), self.find(b)))
        if refused or root == other:
            return refused
        self._parent[other] = root
        joined, leaving = self.members(root), self._members.pop(other, [other])
        self._members[root] = joined + leaving if len(joined) < len(leaving) else _grown(joined, leaving)
        if other in self._sources:
            theirs, mine = self._sources.pop(other), self._sources.get(root, {})
            # Two that a person joined and that say different things are like no third one any more.
            both = {s: mine[s] if mine[s] == theirs[s] else None for s in mine.keys() & theirs.keys()}
            self._sources[root] = theirs | mine | both
        if other in self._values:
            self._values[root] = {**self._values.pop(other), **self._values.get(root, {})}
        return None

    def _kept_apart(self, a: int, b: int) -> bool:
        few, many = sorted((self.members(a), self.members(b)), key=len)
        wanted = frozenset().union(*(self._apart.get(record, frozenset()) for record in few))
        return bool(wanted) and not wanted.isdisjoint(many)


def _grown(members: list[int], more: list[int]) -> list[int]:
    members.extend(more)
    return members
