"""The peer of identity matching: plain Splink 4 on DuckDB, as its own tutorials set it up, nothing tuned.

Seven blocking rules of two columns each (one column alone would not end on a million records), eight comparisons of
Splink's own library with their default thresholds, u from random pairs, m by expectation maximisation on the data
itself, links above a probability of one half. A ninth comparison and an eighth rule join when national IDs are shown.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import duckdb
import polars as pl
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

MATCH_ABOVE = 0.5  # Splink's own neutral point: a link is more probable than none
_PRIOR_RULES = (("given_name", "family_name", "birth_date"), ("family_name", "birth_date", "postcode"))
_PRIOR_RECALL = 0.7  # the figure of Splink's tutorials
# Each column for itself finds most and is what tutorials on small files do; on a million records it never ends (two
# given names in a thousand alone make a million pairs of records), so there each rule joins two columns.
RULES_OF_FEW = (
    ("given_name",),
    ("family_name",),
    ("birth_date",),
    ("address_line_1",),
    ("address_line_2",),
    ("locality",),
    ("postcode",),
)
RULES_OF_MANY = (
    ("given_name", "family_name"),
    ("birth_date",),
    ("family_name", "postcode"),
    ("given_name", "postcode"),
    ("address_line_1", "street_number"),
    ("address_line_1", "locality"),
    ("family_name", "address_line_1"),
)


def comparisons(*, national_id: bool) -> list:
    """Eight of Splink's own comparisons, nine with national IDs."""
    plain = [
        cl.JaroWinklerAtThresholds("given_name", [0.9, 0.8]),
        cl.JaroWinklerAtThresholds("family_name", [0.9, 0.8]),
        cl.LevenshteinAtThresholds("birth_date", [1, 2]),
        cl.LevenshteinAtThresholds("street_number", [1]),
        cl.JaroWinklerAtThresholds("address_line_1", [0.9, 0.8]),
        cl.JaroWinklerAtThresholds("address_line_2", [0.9, 0.8]),
        cl.JaroWinklerAtThresholds("locality", [0.9, 0.8]),
        cl.LevenshteinAtThresholds("postcode", [1, 2]),
    ]
    return [*plain, cl.LevenshteinAtThresholds("national_id", [1, 2])] if national_id else plain


def run(
    profiles: pl.DataFrame, *, rules: Sequence[tuple[str, ...]] = RULES_OF_FEW, national_id: bool = False, seed: int = 1
) -> pl.DataFrame:
    """Pairs above `MATCH_ABOVE` (record_id_left, record_id_right, match_probability) of raw profiles.

    Training and prediction together: that is what a user of plain Splink runs.
    """
    logging.getLogger("splink").setLevel(logging.ERROR)
    connection = duckdb.connect(config={"temp_directory": ""})
    connection.execute("SET enable_progress_bar = false")
    connection.register("profiles", profiles.to_arrow())
    connection.execute("CREATE TABLE people AS SELECT record_id AS unique_id, * EXCLUDE (record_id) FROM profiles")
    rules = [*rules, ("national_id",)] if national_id else list(rules)
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=comparisons(national_id=national_id),
        blocking_rules_to_generate_predictions=[block_on(*rule) for rule in rules],
    )
    linker = Linker("people", settings, DuckDBAPI(connection), set_up_basic_logging=False)
    linker.training.estimate_probability_two_random_records_match(
        [block_on(*rule) for rule in _PRIOR_RULES], recall=_PRIOR_RECALL
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=2e6, seed=seed)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("given_name", "family_name"))
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("birth_date"))
    predicted = linker.inference.predict(threshold_match_probability=MATCH_ABOVE)
    found = connection.sql(
        "SELECT unique_id_l AS record_id_left, unique_id_r AS record_id_right, match_probability "
        f"FROM {predicted.physical_name}"
    )
    return pl.from_arrow(found.to_arrow_table())
