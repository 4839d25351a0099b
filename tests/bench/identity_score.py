"""How well customers were told apart and held together, against a known truth. Pure: frames in, figures out.

An *item* is a contact or a CRM record; a *cluster* is what was given one ID. An item without an ID (NULL) is a cluster
of its own: it is joined to nobody. Pairs are counted by contingency (items per cluster and person), never listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

PLAIN = "plain"


@dataclass(frozen=True)
class Score:
    """The figures of one assignment; shares are 0 to 1, None where nothing could be counted.

    `pair_precision`: of the pairs of items under one ID, those of one person. `pair_recall`: of the pairs of one
    person, those under one ID. `continuity`: share of identified contacts under the right ID of their person (see
    `right_ids`); `continuity_by_person`: the same share per person, then the mean over persons;
    `continuity_joinable`: the same share of those contacts that the truth calls joinable, where it has that column
    (what no evidence ties to its person, no rule can place).
    """

    items: int
    pairs_said: int
    pairs_true: int
    pairs_right: int
    pair_precision: float | None
    pair_recall: float | None
    contacts: int
    identified_contacts: int
    continuity: float | None
    continuity_by_person: float | None
    continuity_joinable: float | None
    wrong_merges: int  # IDs that hold items of more than one person
    wrong_splits: int  # persons whose items are under more than one ID (or none)
    by_trap: pl.DataFrame  # see by_trap()


def score(truth: pl.DataFrame, assigned: pl.DataFrame) -> Score:
    """Score `assigned` (item, customer_id; an item not listed has no ID) against `truth`.

    `truth` has item, kind (contact, record), person, trap, identified; items are unique in both. Raises ValueError
    where an item is listed twice or is unknown to the truth: a figure over other items would compare with nothing.

    >>> truth = pl.DataFrame({"item": ["a", "b", "c"], "kind": ["contact"] * 3, "person": [1, 1, 2],
    ...                       "trap": ["plain"] * 3, "identified": [True] * 3})
    >>> found = score(truth, pl.DataFrame({"item": ["a", "b", "c"], "customer_id": ["x", "x", "x"]}))
    >>> found.pair_precision == 1 / 3, found.pair_recall, found.continuity == 2 / 3
    (True, 1.0, True)
    """
    rows = _joined(truth, assigned)
    cells = rows.group_by("cluster", "person").len("n")
    said = _pairs(rows.group_by("cluster").len("n"))
    true = _pairs(rows.group_by("person").len("n"))
    right = _pairs(cells)
    contacts = rows.filter(pl.col("kind") == "contact")
    held = _held(rows)
    per_person = held.group_by("person").agg(pl.col("held").mean())
    joinable = held.filter("joinable")["held"].mean() if "joinable" in held.columns else None
    return Score(
        items=len(rows),
        pairs_said=said,
        pairs_true=true,
        pairs_right=right,
        pair_precision=right / said if said else None,
        pair_recall=right / true if true else None,
        contacts=len(contacts),
        identified_contacts=len(held),
        continuity=held["held"].mean(),
        continuity_by_person=per_person["held"].mean(),
        continuity_joinable=joinable,
        wrong_merges=int((cells.group_by("cluster").len()["len"] > 1).sum()),
        wrong_splits=int((cells.group_by("person").len()["len"] > 1).sum()),
        by_trap=by_trap(rows),
    )


def held_contacts(truth: pl.DataFrame, assigned: pl.DataFrame) -> pl.Series:
    """The items of the identified contacts that stand under the right ID of their person."""
    return _held(_joined(truth, assigned)).filter("held")["item"]


def _held(rows: pl.DataFrame) -> pl.DataFrame:
    """The identified contacts with held: whether they stand under the right ID of their person."""
    identified = rows.filter((pl.col("kind") == "contact") & pl.col("identified"))
    right = identified.join(right_ids(rows), on=["person", "cluster"], how="left", maintain_order="left")
    return right.with_columns(held=pl.col("right").fill_null(False))


def right_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """The one right ID of each person that has one: person, cluster, right (True).

    An ID belongs to the person of more than half of its identified contacts: so to one person at most, and to nobody
    where two share it evenly. Among the IDs that belong to a person the right one is that with most of this
    person's contacts; among equals the first by name. A contact without ID is under no right ID.
    """
    contacts = rows.filter((pl.col("kind") == "contact") & pl.col("identified") & pl.col("named"))
    cells = contacts.group_by("cluster", "person").len("n")
    whole = contacts.group_by("cluster").len("whole")
    owned = cells.join(whole, on="cluster").filter(2 * pl.col("n") > pl.col("whole"))
    best = owned.sort(["person", "n", "cluster"], descending=[False, True, False]).unique("person", keep="first")
    return best.select("person", "cluster", right=pl.lit(True))


def by_trap(rows: pl.DataFrame) -> pl.DataFrame:
    """What each trap costs: trap, items, merged_pairs, split_pairs, merged_ids, split_persons.

    A wrong pair has two ends, and the trap that joined them may stand at a third item (the clerk's phone that held two
    plain customers together). So the wrong pairs of an ID are shared out among the traps found in it, by their items;
    an ID without a trap charges "plain". The missed pairs of a person are shared out in the same way over the traps of
    this person's items. Columns of pairs so add up to all wrong and all missed pairs; IDs and persons with two traps
    count in both rows.
    """
    cells = rows.group_by("cluster", "person").len("n").with_columns(pairs=_choose_two("n"))
    merged = _shared_out(rows, cells, "cluster")
    split = _shared_out(rows, cells, "person")
    return (
        rows.group_by("trap")
        .len("items")
        .join(merged.rename({"pairs": "merged_pairs", "groups": "merged_ids"}), on="trap", how="left")
        .join(split.rename({"pairs": "split_pairs", "groups": "split_persons"}), on="trap", how="left")
        .fill_null(0)
        .select("trap", "items", "merged_pairs", "split_pairs", "merged_ids", "split_persons")
        .sort(["merged_pairs", "split_pairs", "trap"], descending=[True, True, False])
    )


def _shared_out(rows: pl.DataFrame, cells: pl.DataFrame, side: str) -> pl.DataFrame:
    """Pairs that are together by `side` (cluster or person) but not by both, per trap; and in how many groups."""
    groups = cells.group_by(side).agg(pl.col("n").sum(), pl.col("pairs").sum(), pl.len().alias("parts"))
    wrong = groups.filter(pl.col("parts") > 1).select(side, wrong=_choose_two("n") - pl.col("pairs"))
    items = rows.join(wrong, on=side).group_by(side, "wrong", "trap").len("n")
    trapped = pl.col("trap") != PLAIN
    items = items.filter(trapped | (pl.col("n") == pl.col("n").sum().over(side)))  # plain only where nothing else is
    share = pl.col("wrong") * pl.col("n") / pl.col("n").sum().over(side)
    return items.with_columns(pairs=share).group_by("trap").agg(pl.col("pairs").sum(), pl.len().alias("groups"))


def _joined(truth: pl.DataFrame, assigned: pl.DataFrame) -> pl.DataFrame:
    for name, frame in (("truth", truth), ("assigned", assigned)):
        if frame["item"].is_duplicated().any():
            twice = frame.filter(pl.col("item").is_duplicated())["item"][0]
            raise ValueError(f"{name} lists an item twice: {twice!r}; one item has one person and one ID")
    unknown = assigned.join(truth, on="item", how="anti")
    if len(unknown):
        raise ValueError(f"{len(unknown)} assigned items are not in the truth, the first is {unknown['item'][0]!r}")
    named = pl.col("customer_id").is_not_null()
    return truth.join(assigned.select("item", "customer_id"), on="item", how="left").with_columns(
        named=named,
        # The prefix keeps an item's own name apart from an ID that reads the same.
        cluster=pl.when(named).then("id/" + pl.col("customer_id")).otherwise("alone/" + pl.col("item")),
    )


def _choose_two(column: str) -> pl.Expr:
    n = pl.col(column).cast(pl.Int64)
    return n * (n - 1) // 2


def _pairs(counts: pl.DataFrame) -> int:
    return int(counts.select(_choose_two("n").sum()).item())
