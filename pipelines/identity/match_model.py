"""The Fellegi-Sunter model: how much each agreement says, learned by Splink without labels and kept as plain numbers.

A model is ``{"version", "prior", "population", "household_bits", "comparisons": {column: {level: {"m", "u"}}}}``: m is
the probability of a level among records of one person, u among records of two. Learn once, keep, match many times.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import polars as pl
from splink import DuckDBAPI, Linker, block_on

from pipelines.identity.match_levels import levels

Model = dict[str, Any]


def train(features: pl.DataFrame, policy: Mapping[str, Any], default: Model | None = None) -> Model:
    """Learn a model from features (`match_profiles.features`) alone: no labels, the same numbers for the same seed.

    u comes from random pairs, m by expectation maximisation over pairs that share what the policy lists; each pass
    learns the comparisons it does not block on. A level nobody showed takes the number of `default`, else of the
    policy's `unseen`. With fewer than `least_records` the default itself is the model.

    Raises:
        ValueError: too few records and no default.
    """
    rules, population = policy["training"], len(features)
    if population < rules["least_records"]:
        if default is None:
            raise ValueError(f"{population} records are too few to learn from; {rules['least_records']} are needed")
        return default
    if population > rules["sample_records"]:
        features = features.sample(rules["sample_records"], seed=rules["seed"], shuffle=False)
    features = features.with_row_index("row")
    with duckdb_in_memory() as connection:
        linker = _linker(
            connection,
            features,
            _settings(policy, None, compared_columns(features, policy), blocking=["l.row = r.row"], prior=1e-4),
        )
        linker.training.estimate_probability_two_random_records_match(
            [block_on(*rule) for rule in rules["surely_one_person"]], recall=rules["surely_one_person_recall"]
        )
        linker.training.estimate_u_using_random_sampling(max_pairs=rules["max_random_pairs"], seed=rules["seed"])
        for rule in rules["learn_from_pairs_that_share"]:
            linker.training.estimate_parameters_using_expectation_maximisation(block_on(*rule))
        learned = linker.misc.save_model_to_json(None)
    model = {
        "prior": learned["probability_two_random_records_match"],
        "population": population,
        "comparisons": dict(_comparisons(learned, policy, default)),
    }
    model["household_bits"] = _household_bits(features, model, policy)
    digest = hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()
    return {"version": f"{policy['version']}/{digest[:8]}"} | model


def prior(model: Model, records: int) -> float:
    """The probability that two random records of so many are one person: as many duplicates a record as in training.

    >>> prior({"prior": 1e-3, "population": 1_000}, 10_000)
    0.0001
    """
    return min(0.5, model["prior"] * model["population"] / max(records, 2))


def compare(
    features: pl.DataFrame,
    model: Model,
    policy: Mapping[str, Any],
    *,
    blocking: list[Any],
    prior: float,
    above: float = 0,
) -> pl.DataFrame:
    """The pairs that meet one of the blocking rules, as Splink sees them.

    Args:
        features: with ``row``, their number from 0.
        blocking: Splink's blocking rules; made of our own names, never of input.
        above: the least probability by Splink's reckoning.

    Returns:
        ``row_l``, ``row_r``, ``match_weight`` (bits), and per comparison the name of its level.
    """
    told = compared_columns(features, policy)
    with duckdb_in_memory() as connection:
        linker = _linker(connection, features, _settings(policy, model, told, blocking=blocking, prior=prior))
        found = linker.inference.predict(threshold_match_probability=above or None)
        gammas = ", ".join(f"gamma_{c}" for c in told)
        query = f"SELECT row_l, row_r, match_weight, {gammas} FROM {found.physical_name}"  # noqa: S608
        table = pl.from_arrow(connection.sql(query).to_arrow_table())
    said = [level_name(c, policy) if c in told else pl.lit("missing").alias(c) for c in policy["comparisons"]]
    return table.select("row_l", "row_r", "match_weight", *said)


def compared_columns(features: pl.DataFrame, policy: Mapping[str, Any]) -> list[str]:
    """The comparisons that have anything to compare: what nobody told would only be parsed and evaluated."""
    columns = {"area": ["locality", "postcode"]}
    return [
        c for c in policy["comparisons"] if any(features[x].null_count() < len(features) for x in columns.get(c, [c]))
    ]


def bits(model: Model, column: str) -> pl.Expr:
    """What the level of a comparison says, in bits: log2(m / u), 0 where a side is missing."""
    said = {name: math.log2(n["m"] / n["u"]) for name, n in model["comparisons"][column].items()}
    return pl.col(column).replace_strict(said, default=0.0, return_dtype=pl.Float64)


@contextmanager
def duckdb_in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that cannot write: what it holds is personal, so it may neither spill to disk nor open a file.

    Where memory ends the query ends with an error instead.
    """
    connection = duckdb.connect(config={"temp_directory": ""})
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET enable_external_access = false")
    try:
        yield connection
    finally:
        connection.close()


def level_codes(column: str, policy: Mapping[str, Any]) -> list[int]:
    """The number of each level in the order of `levels`: Splink counts from the last one, 0, up; -1 is missing."""
    return [-1, *range(len(levels(column, policy)) - 2, -1, -1)]


def level_name(column: str, policy: Mapping[str, Any]) -> pl.Expr:
    """The name of a level from its number in ``gamma_<column>``."""
    names = [name for name, _ in levels(column, policy)]
    codes = level_codes(column, policy)
    return pl.col(f"gamma_{column}").replace_strict(codes, names, return_dtype=pl.String).alias(column)


def _linker(connection: duckdb.DuckDBPyConnection, features: pl.DataFrame, options: dict) -> Linker:
    connection.register("features", features.drop("record_id").to_arrow())
    connection.execute("CREATE TABLE people AS SELECT * FROM features")
    connection.unregister("features")
    logging.getLogger("splink").setLevel(logging.ERROR)
    return Linker("people", options, DuckDBAPI(connection), set_up_basic_logging=False, validate_settings=False)


def _settings(
    policy: Mapping[str, Any], model: Model | None, told: list[str], *, blocking: list[Any], prior: float
) -> dict[str, Any]:
    """Splink's settings: the comparisons that have something to compare, with a model where there is one."""
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "row",
        "sql_dialect": "duckdb",
        "probability_two_random_records_match": prior,
        "blocking_rules_to_generate_predictions": blocking,
        "retain_intermediate_calculation_columns": False,
        "retain_matching_columns": True,  # without them Splink keeps the levels to itself
        "comparisons": [
            {"output_column_name": c, "comparison_levels": list(_levels_of(c, policy, model))} for c in told
        ],
    }


def _levels_of(column: str, policy: Mapping[str, Any], model: Model | None) -> Iterator[dict[str, Any]]:
    for name, sql in levels(column, policy):
        level: dict[str, Any] = {"sql_condition": sql, "label_for_charts": name}
        if name == "missing":
            level["is_null_level"] = True
        elif model is not None:
            numbers = model["comparisons"][column][name]
            level |= {"m_probability": numbers["m"], "u_probability": numbers["u"]}
        yield level


def _comparisons(learned: Mapping[str, Any], policy: Mapping[str, Any], default: Model | None) -> Iterator[tuple]:
    share = learned["probability_two_random_records_match"]
    told = {c["output_column_name"]: c["comparison_levels"] for c in learned["comparisons"]}
    for column in policy["comparisons"]:
        seen = {level["label_for_charts"]: level for level in told.get(column, [])}
        known = default["comparisons"][column] if default else {}
        names = [name for name, _ in levels(column, policy) if name != "missing"]
        yield column, {name: _numbers(seen.get(name, {}), known.get(name), policy["training"], share) for name in names}


def _numbers(
    seen: Mapping[str, Any], known: Mapping[str, float] | None, rules: Mapping[str, Any], share: float
) -> dict[str, float]:
    """m and u of a level; u without the true pairs among the random ones, which are most of a small file's."""
    known = known or rules["unseen"]
    m, u = seen.get("m_probability", known["m"]), seen.get("u_probability")
    u = known["u"] if u is None else (u - share * m) / (1 - share)
    return {"m": round(max(m, rules["least_m"]), 8), "u": round(max(u, rules["least_u"]), 8)}


def _household_bits(features: pl.DataFrame, model: Model, policy: Mapping[str, Any]) -> float:
    """The odds, in bits, that two records of one household are one person.

    Of the pairs that agree on surname and home the personal comparisons tell which are one person; their share is
    found by expectation maximisation of that one number. Half a pair is added to each side, so that a file in which
    every such pair is one person does not claim certainty.
    """
    rules = policy["household"]
    same_home = " AND ".join(f"l.{c} = r.{c}" for c in rules["same_home"])
    pairs = compare(features, model, policy, blocking=[same_home], prior=0.5)
    personal = [bits(model, c) for c in policy["comparisons"] if c not in rules["comparisons"]]
    odds = np.exp2(pairs.select(pl.sum_horizontal(personal)).to_series().to_numpy())
    share, tiny = 0.5, 1e-6
    for _ in range(rules["rounds"]):
        of_one = (share * odds / (share * odds + 1 - share)).sum()
        share = (of_one + tiny) / (len(odds) + 2 * tiny)
    return round(min(rules["most_bits"], math.log2(share / (1 - share))), 4)
