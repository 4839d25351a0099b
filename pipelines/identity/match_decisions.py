"""Who decides about a pair: merged at once, shown to a person, or dropped. The guards stand above the probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


class Decisions(NamedTuple):
    """The pairs by what happens to them; `review` has a column ``reason``."""

    merge: pl.DataFrame
    review: pl.DataFrame
    dropped: pl.DataFrame


def decide(pairs: pl.DataFrame, policy: Mapping[str, Any], identifiers: pl.DataFrame | None = None) -> Decisions:
    """Sort pairs (`matching.match_all`) by who decides.

    A merge needs the probability, agreeing names, birth date and one confirmation, and nothing that speaks against it;
    and so does everything it would be merged with: if two records of a group have different IDs, or the group has more
    than `max_records`, a person decides about all of its pairs.

    Args:
        pairs: ``record_id_left``, ``record_id_right``, ``match_probability``, ``evidence`` (JSON), and whatever else.
        policy: policy matching.
        identifiers: ``record_id`` and ``national_id`` (checked, or its token), for the guard over groups.

    >>> from pipelines import contracts
    >>> agreed = '{"given_name":"%s","family_name":"exact","birth_date":"exact","phone":"exact"}'
    >>> pairs = pl.DataFrame({"record_id_left": ["a", "b"], "record_id_right": ["c", "d"],
    ...     "match_probability": [0.9999, 0.9999], "evidence": [agreed % "exact", agreed % "different"]})
    >>> decided = decide(pairs, contracts.policy("matching"))  # the second pair are twins
    >>> decided.merge["record_id_left"].to_list(), decided.review.select("record_id_left", "reason").rows()
    (['a'], [('b', 'differs: given_name')])
    """
    limits, rules = policy["thresholds"], policy["merging"]
    dropped = pairs.filter(pl.col("match_probability") < limits["review_above"])
    pairs = pairs.filter(pl.col("match_probability") >= limits["review_above"])
    judged = pairs.with_columns(reason=_reason(pairs, policy))
    judged = judged.with_columns(reason=pl.coalesce("reason", _group_reason(judged, rules["max_records"], identifiers)))
    merge = judged.filter(pl.col("reason").is_null()).drop("reason")
    return Decisions(merge, judged.filter(pl.col("reason").is_not_null()), dropped)


def _reason(pairs: pl.DataFrame, policy: Mapping[str, Any]) -> pl.Series:
    """Why a pair alone may not be merged; NULL where it may."""
    rules = policy["merging"]
    said = pairs["evidence"].str.json_decode(pl.Struct(dict.fromkeys(policy["comparisons"], pl.String)))
    if not len(pairs):
        return pl.Series("reason", [], dtype=pl.String)
    levels = said.struct.unnest().with_columns(pl.all().fill_null("missing"), probability=pairs["match_probability"])

    def agrees(column: str) -> pl.Expr:
        return pl.col(column).is_in(rules["agree"].get(column, rules["agree_on_home"]))

    def forgiven(column: str) -> pl.Expr:
        exact = [pl.col(c) == "exact" for c in rules["forgiven_by"].get(column, [])]
        return pl.all_horizontal(exact) if exact else pl.lit(False)

    against = [
        pl.when(~agrees(c) & (pl.col(c) != "missing") & ~forgiven(c))
        .then(pl.lit(f"differs: {c}"))
        .alias(f"against_{c}")
        for c in rules["agree"]
    ]
    untold = [
        pl.when(~pl.any_horizontal(agrees(x) for x in (c, *others))).then(pl.lit(f"unknown: {c}")).alias(f"untold_{c}")
        for c, others in rules["instead_of"].items()
    ]
    told, at_home = (
        pl.any_horizontal(pl.all_horizontal(agrees(c) for c in listed) for listed in rules[name])
        for name in ("confirmed_by", "confirmed_by_home")
    )
    differs = pl.any_horizontal(~agrees(c) & (pl.col(c) != "missing") for c in rules["home_unless_differs"])
    confirmed = told | (at_home & ~differs)
    return levels.select(
        reason=pl.coalesce(
            *against,
            *untold,
            pl.when(~confirmed & at_home).then(pl.lit("one home, other phone")),
            pl.when(~confirmed).then(pl.lit("only names and birth date agree")),
            pl.when(pl.col("probability") < policy["thresholds"]["merge_above"]).then(pl.lit("not probable enough")),
        )
    )["reason"]


def _group_reason(judged: pl.DataFrame, max_records: int, identifiers: pl.DataFrame | None) -> pl.Series:
    """Why the group that a pair would be merged into may not be; NULL where it may."""
    free = judged.filter(pl.col("reason").is_null())
    if not len(free):
        return pl.Series("reason", [None] * len(judged), dtype=pl.String)
    group = groups(free)
    sizes = group.group_by("group").agg(records=pl.len())
    if identifiers is None:
        sizes = sizes.with_columns(ids=pl.lit(0))
    else:
        known = group.join(identifiers.drop_nulls("national_id"), on="record_id").group_by("group")
        sizes = sizes.join(known.agg(ids=pl.col("national_id").n_unique()), on="group", how="left")
    # A pair inside a group that speaks against itself speaks against the group.
    named = judged.join(group, left_on="record_id_left", right_on="record_id", how="left", maintain_order="left")
    other = judged.join(group, left_on="record_id_right", right_on="record_id", how="left", maintain_order="left")
    named = named.with_columns(same=(pl.col("group") == other["group"]).fill_null(False))
    split = named.filter("same", pl.col("reason").str.starts_with("differs"))["group"].unique()
    return (
        named.join(sizes, on="group", how="left", maintain_order="left")
        .select(
            reason=pl.when(pl.col("records") > max_records)
            .then(pl.lit("a group too large"))
            .when(pl.col("ids") > 1)
            .then(pl.lit("a group with two IDs"))
            .when(pl.col("group").is_in(split.implode()))
            .then(pl.lit("a group at odds"))
        )
        .to_series()
    )


def groups(pairs: pl.DataFrame) -> pl.DataFrame:
    """(record_id, group): the records that the pairs join, directly or through others; groups count from 0.

    >>> groups(pl.DataFrame({"record_id_left": ["a", "b", "x"], "record_id_right": ["b", "c", "y"]})).rows()
    [('a', 0), ('b', 0), ('c', 0), ('x', 1), ('y', 1)]
    """
    left, right = pairs["record_id_left"], pairs["record_id_right"]
    ids = pl.concat([left, right]).unique().sort().alias("record_id")
    ends = [ids.search_sorted(side).to_numpy() for side in (left, right)]
    graph = coo_matrix(([True] * len(pairs), ends), shape=(len(ids), len(ids)))
    return pl.DataFrame({"record_id": ids, "group": connected_components(graph, directed=False)[1]})
