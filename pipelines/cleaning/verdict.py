"""One verdict a row out of all rules: the most severe wins, and among equals the first."""

import polars as pl

from pipelines.cleaning import ambiguity, invalid

BLANK_RULE = "text.blank"
REASONS = {BLANK_RULE: "The contact says nothing that can be seen.", **invalid.REASONS, **ambiguity.REASONS}


def verdict(invalid_rule: pl.Series, blank: pl.Series, ambiguous_rule: pl.Series) -> pl.DataFrame:
    """Route (kept, rejected, review), rule and reason of each row; rule and reason are NULL where it is kept.

    A reject goes before a review: nobody's time is spent on a record that could not have happened.

    >>> verdict(pl.Series([None, "time.handle_impossible", None], dtype=pl.String), pl.Series([False, True, True]),
    ...         pl.Series(["complaint.vague", None, None], dtype=pl.String)).select("route", "rule").rows()
    [('review', 'complaint.vague'), ('rejected', 'time.handle_impossible'), ('rejected', 'text.blank')]
    """
    frame = pl.DataFrame({"invalid": invalid_rule, "blank": blank, "ambiguous": ambiguous_rule})
    rejecting = pl.coalesce("invalid", pl.when(pl.col("blank")).then(pl.lit(BLANK_RULE)))
    return frame.select(
        pl.when(rejecting.is_not_null())
        .then(pl.lit("rejected"))
        .when(pl.col("ambiguous").is_not_null())
        .then(pl.lit("review"))
        .otherwise(pl.lit("kept"))
        .alias("route"),
        pl.coalesce(rejecting, "ambiguous").alias("rule"),
    ).with_columns(pl.col("rule").replace_strict(REASONS, default=None, return_dtype=pl.String).alias("reason"))
