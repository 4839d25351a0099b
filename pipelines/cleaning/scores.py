"""Satisfaction scores that cannot stand on their own scale."""

import polars as pl


def judge_scores(
    score: pl.Series, score_scale_max: pl.Series, *, scale_min: dict[float, float], default_scale_max: float
) -> pl.DataFrame:
    """Verdict and corrected value of each score; columns score_corrected, score_verdict.

    The lowest and the highest score of a scale are opinions, not errors: they stay. What lies outside the scale has
    no reading: 50 on a scale of 5 may be ten times 5 or 50 of 100 (that is 2.5), so it becomes NULL, not a guess.
    A score whose scale is not stated is only held against `default_scale_max`.

    >>> judge_scores(pl.Series([5.0, 0.0, 50.0, 0.0, None]), pl.Series([5.0, 5.0, 5.0, 10.0, 5.0]),
    ...              scale_min={5.0: 1.0}, default_scale_max=100.0).rows()
    [(5.0, 'normal'), (None, 'out_of_scale'), (None, 'out_of_scale'), (0.0, 'normal'), (None, None)]
    """
    top = score_scale_max.cast(pl.Float64).fill_null(default_scale_max)
    bottom = top.replace_strict(list(scale_min), list(scale_min.values()), default=0.0, return_dtype=pl.Float64)
    value = score.cast(pl.Float64)
    frame = pl.DataFrame({"value": value, "top": top, "bottom": bottom})
    inside = pl.col("value").is_finite() & pl.col("top").is_finite() & pl.col("value").is_between("bottom", "top")
    return frame.select(
        pl.when(inside).then("value").alias("score_corrected"),
        pl.when(pl.col("value").is_null())
        .then(None)
        .when(inside)
        .then(pl.lit("normal"))
        .otherwise(pl.lit("out_of_scale"))
        .alias("score_verdict"),
    )
