"""Which records are probably one person: candidate pairs scored by Splink, and who decides about each.

Everything is a function over frames: profiles → `match_profiles.features` → pairs → `decide`. The same pair gets the
same weight whether all records are matched or only the new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.identity.match_model import Model, bits, compare, prior
from pipelines.identity.match_pairs import compare_new
from pipelines.identity.match_profiles import KEY_PREFIX

PAIRS = {
    "record_id_left": pl.String,
    "record_id_right": pl.String,
    "match_weight": pl.Float64,
    "match_probability": pl.Float64,
    "evidence": pl.String,
    "rule_version": pl.String,
}
"""A pair, the lesser record_id left: weight in bits, probability, level by comparison as JSON, version of the model."""


def match_all(features: pl.DataFrame, model: Model, policy: Mapping[str, Any]) -> pl.DataFrame:
    """All pairs at or above policy `thresholds.review_above`.

    Args:
        features: of all records (`match_profiles.features`).
        model: `match_model.train`, or policy matching_model.
        policy: policy matching.

    Returns:
        `PAIRS`, ordered by the two IDs.

    >>> from pipelines import contracts
    >>> from pipelines.identity.match_profiles import features
    >>> policy, nobody = contracts.policy("matching"), contracts.policy("identity")["placeholders"]
    >>> people = pl.DataFrame({"record_id": ["b", "a", "c"], "full_name": ["李雷", "李雷", "韩梅梅"],
    ...     "birth_date": ["1988-04-17", "1988/4/17", None], "phone": ["13812345671"] * 3})
    >>> pairs = match_all(features(people, policy, nobody), contracts.policy("matching_model"), policy)
    >>> pairs.select("record_id_left", "record_id_right").rows()
    [('a', 'b')]
    """
    usable = features.with_columns(_usable(k, limit) for k, limit in _limits(policy).items())
    return _pairs(usable, model, policy, population=len(features))


def match_new(new: pl.DataFrame, existing: pl.DataFrame, model: Model, policy: Mapping[str, Any]) -> pl.DataFrame:
    """The pairs of `match_all` over both frames that hold a new record; the cost follows the new ones.

    Of the existing records only those are compared that share a usable key with a new one; to find them costs one look
    at each key of each existing record. A record that stands in both frames (it has changed) counts as new.
    """
    limits = _limits(policy)
    with ThreadPoolExecutor() as pool:  # polars looks through one column with one core
        found = pool.map(lambda k: _met(new[k], existing[k], limits[k]), limits)
        met = dict(zip(limits, found, strict=True))
    rows = pl.concat([rows for _, rows in met.values()]).unique()
    near = existing[rows].select(new.columns).filter(~pl.col("record_id").is_in(new["record_id"].implode()))
    both = pl.concat([new.with_columns(is_new=True), near.with_columns(is_new=False)])
    both = both.with_columns(pl.when(pl.col(k).is_in(keys.implode())).then(pl.col(k)) for k, (keys, _) in met.items())
    return _pairs(both, model, policy, population=len(new) + len(existing), only_new=True)


def _limits(policy: Mapping[str, Any]) -> dict[str, int]:
    return {f"{KEY_PREFIX}{i:02d}": rule["at_most"] for i, rule in enumerate(policy["blocking"]["rules"])}


def _met(new: pl.Series, existing: pl.Series, limit: int) -> tuple[pl.Series, pl.Series]:
    """The keys of new records that more than one and at most `limit` records have, and the existing rows so met."""
    asked = new.drop_nulls()
    rows = existing.is_in(asked.unique().implode()).fill_null(False).arg_true()
    found = existing.gather(rows)
    counts = pl.concat([asked, found]).alias("key").value_counts(name="records")
    usable = counts.filter(pl.col("records").is_between(2, limit))["key"]
    return usable, rows.filter(found.is_in(usable.implode()))


def _pairs(
    features: pl.DataFrame, model: Model, policy: Mapping[str, Any], *, population: int, only_new: bool = False
) -> pl.DataFrame:
    if features.is_empty():
        return pl.DataFrame(schema=PAIRS)
    keys = list(_limits(policy))
    people = features.drop(keys).with_row_index("row").with_columns(keys=_listed(features.select(keys)))
    share, above = prior(model, population), policy["thresholds"]["review_above"]
    if only_new:  # they come first, and each record is paired with later ones: a pair with a new one begins with it
        pairs = compare_new(people, model, policy, prior=share, above=above)
    else:
        blocking = [{"blocking_rule": "l.keys = r.keys", "arrays_to_explode": ["keys"], "sql_dialect": "duckdb"}]
        pairs = compare(people, model, policy, blocking=blocking, prior=share, above=above)
    excess = _household_excess(pairs, model, policy, math.log2(share / (1 - share)))
    weight = pl.col("match_weight") - excess
    ends = [features["record_id"].gather(pairs[row]).alias(row) for row in ("row_l", "row_r")]
    return (
        pairs.with_columns(ends)
        .select(
            pl.min_horizontal("row_l", "row_r").alias("record_id_left"),
            pl.max_horizontal("row_l", "row_r").alias("record_id_right"),
            weight.alias("match_weight"),
            (1 / (1 + (-weight * math.log(2)).exp())).alias("match_probability"),
            pl.struct(list(policy["comparisons"])).struct.json_encode().alias("evidence"),
            pl.lit(model["version"]).alias("rule_version"),
        )
        .filter(pl.col("match_probability") >= above)
        .sort("record_id_left", "record_id_right")
    )


def _listed(keys: pl.DataFrame) -> pl.Series:
    """The keys of each record as a list without NULLs; by numpy, for concat_list takes ten times as long."""
    there = np.column_stack([column.is_not_null().to_numpy() for column in keys])
    values = np.column_stack([column.fill_null(0).to_numpy() for column in keys])[there]
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))))


def _usable(key: str, limit: int) -> pl.Expr:
    """A key alone brings no pair, a key of many brings too many."""
    sharing = pl.len().over(key)
    return pl.when((sharing > 1) & (sharing <= limit)).then(pl.col(key)).alias(key)


def _household_excess(pairs: pl.DataFrame, model: Model, policy: Mapping[str, Any], prior_bits: float) -> pl.Series:
    """Bits by which what a family shares says more than that two of a household are one person, the prior included."""
    said = pl.sum_horizontal(bits(model, c) for c in policy["household"]["comparisons"])
    return pairs.select((said + prior_bits - model["household_bits"]).clip(0)).to_series()
