"""Complaints no rule can place: a person reads and labels them, and the label flows back."""

import polars as pl

from pipelines.cleaning.text_normalisation import without_invisible

REASONS = {
    "complaint.vague": "The complaint names no problem and is too short to be placed.",
    "complaint.contradictory": "The complaint, or the low score, comes with praise and names no problem.",
}


def ambiguous_complaint(
    kind: pl.Series,
    sender_role: pl.Series,
    text: pl.Series,
    *,
    subject: pl.Series,
    score: pl.Series,
    score_scale_max: pl.Series,
    low_score_share: float,
    min_chars: int,
    problem_words: list[str],
    praise_words: list[str],
) -> pl.Series:
    """The reason to ask a person (a key of REASONS), NULL where the rule sees none.

    Looked at: complaints, and feedback whose score is at most `low_score_share` of its scale, both with a text.
    A text that names a problem (`problem_words`) is placed, however short: 太慢了 is clear. Without one it is vague
    below `min_chars`, and contradictory if it praises.

    >>> nothing = pl.Series([None] * 4, dtype=pl.String)
    >>> ambiguous_complaint(pl.Series(["complaint"] * 3 + ["feedback"]), pl.Series(["customer"] * 4),
    ...     pl.Series(["太慢了", "你们看着办", "服务很好，非常满意", "好吃"]), subject=nothing,
    ...     score=pl.Series([None, None, None, 5.0]), score_scale_max=pl.Series([None, None, None, 5.0]),
    ...     low_score_share=0.4, min_chars=8, problem_words=["慢"], praise_words=["满意", "好吃"]).to_list()
    [None, 'complaint.vague', 'complaint.contradictory', None]
    """
    low = (score / score_scale_max <= low_score_share).fill_null(False)
    looked_at = (kind == "complaint") | ((kind == "feedback") & low)
    rows = (looked_at & (sender_role == "customer")).fill_null(False).arg_true()
    verdicts = pl.Series("ambiguous", [None] * len(kind), dtype=pl.String)
    if len(rows) == 0:
        return verdicts
    said = without_invisible(subject[rows].fill_null("") + text[rows].fill_null(""))
    frame = pl.DataFrame({"said": said}).with_columns(
        pl.col("said").str.contains_any(problem_words, ascii_case_insensitive=True).alias("placed"),
        pl.col("said").str.contains_any(praise_words, ascii_case_insensitive=True).alias("praised"),
        (pl.col("said").str.len_chars() < min_chars).alias("short"),
    )
    reason = (
        pl.when(pl.col("placed") | (pl.col("said") == ""))
        .then(None)
        .when(pl.col("praised"))
        .then(pl.lit("complaint.contradictory"))
        .when(pl.col("short"))
        .then(pl.lit("complaint.vague"))
    )
    return verdicts.scatter(rows, frame.select(reason.alias("reason")).to_series())
