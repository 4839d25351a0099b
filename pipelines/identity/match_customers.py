"""Pairs of records beside the customers of today: what is settled already, and what a merge would join besides.

Two records are compared, two customers are merged: whatever else these consist of is joined with them. So what a person
has said of any of their records, and what any of them holds, counts as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import polars as pl

from pipelines.identity.match_decisions import groups

ONE_ALREADY, SAID_TWO, NOT_KNOWN = "one customer already", "said to be two", "not in the identity state yet"


@dataclass(frozen=True)
class Standing:
    """What the identity state says of the records of some pairs and of the customers they belong to.

    `customer_of`: record → customer (None: nobody's), records that are not known are left out. `decided`: pairs of
    records that a decision names, in order. `apart`: pairs of customers, in order, of whose records a decision keeps
    some apart. `records`: a customer's records in the register, how many. `values`: customer_id, kind and token of what
    a person has one of.
    """

    customer_of: Mapping[str, str | None]
    decided: Set[tuple[str, str]]
    apart: Set[tuple[str, str]]
    records: Mapping[str, int]
    values: pl.DataFrame


def settled(pairs: pl.DataFrame, standing: Standing) -> pl.Series:
    """Why nothing has to be done about a pair; NULL where it is open.

    >>> pairs = pl.DataFrame({"record_id_left": ["crm/1", "crm/1", "crm/2"],
    ...                       "record_id_right": ["crm/2", "crm/3", "crm/9"]})
    >>> customers = {"crm/1": "c_1", "crm/2": "c_1", "crm/3": "c_3"}
    >>> settled(pairs, Standing(customers, set(), {("c_1", "c_3")}, {}, pl.DataFrame())).to_list()
    ['one customer already', 'said to be two', 'not in the identity state yet']
    """
    said = [_settled(left, right, standing) for left, right in _ends(pairs)]
    return pl.Series("settled", said, dtype=pl.String)


def _settled(left: str, right: str, standing: Standing) -> str | None:
    if left not in standing.customer_of or right not in standing.customer_of:
        return NOT_KNOWN
    mine, theirs = (standing.customer_of[record] for record in (left, right))
    if mine is not None and mine == theirs:
        return ONE_ALREADY
    if _in_order(left, right) in standing.decided or _in_order(mine or left, theirs or right) in standing.apart:
        return SAID_TWO
    return None


def objections(merge: pl.DataFrame, standing: Standing, *, max_records: int) -> pl.Series:
    """Why a person has to decide about a pair after all, because of the customers it would join; else NULL.

    A group of customers that speaks against itself is merged in no part. `merge` holds open pairs only.
    """
    of = standing.customer_of
    ends = [(of[left] or left, of[right] or right) for left, right in _ends(merge)]
    if not ends:
        return pl.Series("reason", [], dtype=pl.String)
    nodes = pl.DataFrame(ends, schema=["record_id_left", "record_id_right"], orient="row")
    found = groups(nodes).rename({"record_id": "customer_id"})
    group_of = dict(found.iter_rows())
    against: dict[int, str] = {}
    sizes = found.group_by("group").agg(
        pl.col("customer_id").replace_strict(standing.records, default=1, return_dtype=pl.Int64).sum()
    )
    against |= {group: "a group too large" for group, size in sizes.iter_rows() if size > max_records}
    against |= {group: f"two different: {kind}" for group, kind in _conflicts(found, standing.values)}
    for one, other in standing.apart:
        if group_of.get(one, -1) == group_of.get(other, -2):
            against[group_of[one]] = "a group at odds"
    return pl.Series("reason", [against.get(group_of[left]) for left, _ in ends], dtype=pl.String)


def _conflicts(found: pl.DataFrame, values: pl.DataFrame) -> list[tuple[int, str]]:
    if values.is_empty():
        return []
    held = found.join(values, on="customer_id").group_by("group", "kind").agg(pl.col("token").n_unique())
    return held.filter(pl.col("token") > 1).select("group", "kind").rows()


def batches(merge: pl.DataFrame, at_once: int) -> list[pl.DataFrame]:
    """Slices of some `at_once` pairs; what belongs together stays together.

    >>> pairs = pl.DataFrame({"record_id_left": ["a", "x", "b"], "record_id_right": ["b", "y", "c"]})
    >>> [part.rows() for part in batches(pairs, 1)]
    [[('a', 'b'), ('b', 'c')], [('x', 'y')]]
    """
    if merge.is_empty():
        return []
    named = merge.join(groups(merge), left_on="record_id_left", right_on="record_id").sort("group", maintain_order=True)
    before = pl.col("group").rle_id()
    starts = named.with_columns(nth=pl.int_range(pl.len())).with_columns(pl.col("nth").min().over(before) // at_once)
    parts = starts.partition_by("nth", maintain_order=True)
    return [part.select(merge.columns) for part in parts]


def _ends(pairs: pl.DataFrame) -> list[tuple[str, str]]:
    return pairs.select("record_id_left", "record_id_right").rows()


def _in_order(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one <= other else (other, one)
