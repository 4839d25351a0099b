"""Satisfaction scores that cannot stand on their own scale."""

import numpy as np
import polars as pl

from pipelines.cleaning.rows import rows_stating


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
    size = len(score)
    corrected = pl.Series("score_corrected", [None] * size, dtype=pl.Float64)
    verdict = pl.Series("score_verdict", [None] * size, dtype=pl.String)
    if score.null_count() == size:
        return pl.DataFrame([corrected, verdict])
    rows = rows_stating(score)
    value, scale = (column[rows].cast(pl.Float64) for column in (score, score_scale_max))
    value, top = value.to_numpy(), np.where(scale.is_null(), default_scale_max, scale.to_numpy())
    bottom = np.select([top == at for at in scale_min], list(scale_min.values()), default=0.0)
    inside = np.isfinite(value) & np.isfinite(top) & (bottom <= value) & (value <= top)
    return pl.DataFrame(
        [
            corrected.scatter(rows, pl.Series(np.where(inside, value, np.nan), nan_to_null=True)),
            verdict.scatter(rows, np.where(inside, "normal", "out_of_scale").tolist()),
        ]
    )
