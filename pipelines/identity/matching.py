"""Which records are probably one person: candidate pairs scored by Splink, and who decides about each.

Everything is a function over frames: profiles → `match_profiles.features` → pairs → `decide`. The same pair gets the
same weight whether all records are matched or only the new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.identity.match_model import Model, bits, compare, prior
from pipelines.identity.match_profiles import KEY_PREFIX


def match_all(features: pl.DataFrame, model: Model, policy: Mapping[str, Any]) -> pl.DataFrame:
    """All pairs at or above policy `thresholds.review_above`."""
    return _pairs(features, model, policy, population=len(features))


def match_new(new: pl.DataFrame, existing: pl.DataFrame, model: Model, policy: Mapping[str, Any]) -> pl.DataFrame:
    """The pairs of `match_all` over both frames that hold a new record; the cost follows the new ones.

    Of the existing records only those that share a key with a new one are looked at.
    """
    names = [c for c in new.columns if c.startswith(KEY_PREFIX)]
    shared = pl.any_horizontal(pl.col(k).is_in(new[k].drop_nulls().unique().implode()) for k in names)
    near = existing.lazy().filter(shared.fill_null(False)).collect()
    both = pl.concat([new.with_columns(is_new=True), near.select(new.columns).with_columns(is_new=False)])
    return _pairs(both, model, policy, population=len(new) + len(existing), only_new=True)


def _pairs(
    features: pl.DataFrame, model: Model, policy: Mapping[str, Any], *, population: int, only_new: bool = False
) -> pl.DataFrame:
    names = [c for c in features.columns if c.startswith(KEY_PREFIX)]
    limits = [rule["at_most"] for rule in policy["blocking"]["rules"]]
    features = features.sort("record_id").with_row_index("row")
    features = features.with_columns(_usable(k, limit) for k, limit in zip(names, limits, strict=True))
    used = [k for k in names if features[k].null_count() < len(features)]
    blocking = [f"l.{k} = r.{k}" + (" AND (l.is_new OR r.is_new)" if only_new else "") for k in used]
    share, above = prior(model, population), policy["thresholds"]["review_above"]
    pairs = compare(features, model, policy, blocking=blocking, prior=share, above=above)
    excess = _household_excess(pairs, model, policy, math.log2(share / (1 - share)))
    weight = pl.col("match_weight") - excess
    return (
        pairs.select(
            features["record_id"].gather(pairs["row_l"]).alias("record_id_left"),
            features["record_id"].gather(pairs["row_r"]).alias("record_id_right"),
            weight.alias("match_weight"),
            (1 / (1 + (-weight * math.log(2)).exp())).alias("match_probability"),
            pl.struct(list(policy["comparisons"])).struct.json_encode().alias("evidence"),
            pl.lit(model["version"]).alias("rule_version"),
        )
        .filter(pl.col("match_probability") >= above)
        .sort("record_id_left", "record_id_right")
    )


def _usable(key: str, limit: int) -> pl.Expr:
    """A key alone brings no pair, a key of many brings too many."""
    sharing = pl.len().over(key)
    return pl.when((sharing > 1) & (sharing <= limit)).then(pl.col(key)).alias(key)


def _household_excess(pairs: pl.DataFrame, model: Model, policy: Mapping[str, Any], prior_bits: float) -> pl.Series:
    """Bits by which what a family shares says more than that two of a household are one person, the prior included."""
    said = pl.sum_horizontal(bits(model, c) for c in policy["household"]["comparisons"])
    return pairs.select((said + prior_bits - model["household_bits"]).clip(0)).to_series()
