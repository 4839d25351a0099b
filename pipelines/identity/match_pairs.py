"""New records compared with all others, by one query: the same levels and weights as `match_model.compare`.

Splink parses each condition again and again to write its SQL, 0.5 s of one core: nothing beside a million records, half
the time of ten thousand new ones. A test runs both on the same records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.identity.match_levels import levels
from pipelines.identity.match_model import Model, compared_columns, duckdb_in_memory, level_codes, level_name

_NOT_COMPARED = ("row", "is_new", "keys", "record_id")


def compare_new(
    features: pl.DataFrame, model: Model, policy: Mapping[str, Any], *, prior: float, above: float
) -> pl.DataFrame:
    """The pairs that share one of their `keys` and of which the record that comes first is new.

    Args:
        features: with ``row`` (their number from 0), ``is_new`` and ``keys`` (a list each).
        prior: the probability that two random records are one person.
        above: the least probability.

    Returns:
        As `match_model.compare`: ``row_l``, ``row_r``, ``match_weight`` (bits), and per comparison its level.
    """
    told = compared_columns(features, policy)
    columns = [name for name in features.columns if name not in _NOT_COMPARED]
    sides = ", ".join(f"{side}.{name} AS {name}_{side}" for name in columns for side in "lr")
    cases = ", ".join(f"{_case(c, policy)} AS gamma_{c}" for c in told)
    weight = " + ".join([_odds(prior), *(_weight(c, model, policy) for c in told)])
    query = f"""
        WITH keyed AS (SELECT row, is_new, unnest(keys) AS key FROM people),
        met AS (SELECT DISTINCT l.row AS row_l, r.row AS row_r FROM keyed l JOIN keyed r ON l.key = r.key
                WHERE l.is_new AND l.row < r.row),
        sides AS (SELECT row_l, row_r, {sides} FROM met
                  JOIN people l ON l.row = row_l JOIN people r ON r.row = row_r),
        said AS (SELECT row_l, row_r, {cases} FROM sides)
        SELECT *, {weight} AS match_weight FROM said WHERE {weight} >= {_odds(above) if above else "'-inf'::DOUBLE"}
    """  # noqa: S608 (our own names and numbers)
    with duckdb_in_memory() as connection:
        connection.register("people", features.drop("record_id").to_arrow())
        table = pl.from_arrow(connection.sql(query).to_arrow_table())
    said = [level_name(c, policy) if c in told else pl.lit("missing").alias(c) for c in policy["comparisons"]]
    return table.select("row_l", "row_r", "match_weight", *said)


def _case(column: str, policy: Mapping[str, Any]) -> str:
    *conditions, (_, last) = levels(column, policy)
    *codes, otherwise = level_codes(column, policy)
    whens = [f"WHEN {sql} THEN {code}" for (_, sql), code in zip(conditions, codes, strict=True)]
    return f"CASE {' '.join(whens)} {last} {otherwise} END"


def _weight(column: str, model: Model, policy: Mapping[str, Any]) -> str:
    names = [name for name, _ in levels(column, policy)]
    numbers = model["comparisons"][column]
    whens = [
        f"WHEN {code} THEN {math.log2(numbers[name]['m'] / numbers[name]['u'])!r}::DOUBLE"
        for name, code in zip(names, level_codes(column, policy), strict=True)
        if name != "missing"
    ]
    return f"CASE gamma_{column} {' '.join(whens)} ELSE 0 END"


def _odds(probability: float) -> str:
    """In bits, as SQL."""
    return f"{math.log2(probability / (1 - probability))!r}::DOUBLE"
