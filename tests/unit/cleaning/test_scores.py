"""Scores: the ends of a scale are opinions, what lies outside has no reading."""

import polars as pl
import pytest

from pipelines import contracts
from pipelines.cleaning.scores import judge_scores

POLICY = contracts.policy("cleaning")["scores"]


@pytest.mark.parametrize(
    ("score", "scale", "corrected", "verdict"),
    [
        (5, 5, 5, "normal"),  # full marks are an opinion, not an extreme to be trimmed
        (1, 5, 1, "normal"),
        (4.5, 5, 4.5, "normal"),  # half stars
        (0, 5, None, "out_of_scale"),  # "not rated" as most forms write it
        (6, 5, None, "out_of_scale"),
        (50, 5, None, "out_of_scale"),  # 5 times ten, or 50 of 100? not ours to guess
        (-1, 10, None, "out_of_scale"),
        (0, 10, 0, "normal"),  # NPS begins at 0
        (10, 10, 10, "normal"),
        (100, 100, 100, "normal"),
        (101, 100, None, "out_of_scale"),
        (3, None, 3, "normal"),  # scale not stated
        (999, None, None, "out_of_scale"),  # no scale goes that far
        (float("nan"), 5, None, "out_of_scale"),
        (float("inf"), 5, None, "out_of_scale"),
        (3, float("nan"), None, "out_of_scale"),  # a scale that is none
        (None, 5, None, None),
    ],
)
def test_scores(score, scale, corrected, verdict):
    row = judge_scores(pl.Series([score], dtype=pl.Float64), pl.Series([scale], dtype=pl.Float64), **POLICY).row(0)
    assert row == (corrected, verdict)
