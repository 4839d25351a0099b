"""Records whose parts contradict each other: what one of them says cannot have happened."""

import polars as pl

REASONS = {
    "time.answered_before_asked": "The reply is dated before the question it answers.",
    "time.handle_impossible": "The handling time is negative, not a number, or longer than the policy allows.",
    "field.no_speaker": "The record names no kind or no sender, so it belongs to nobody.",
}


def invalid_record(
    kind: pl.Series,
    sender_role: pl.Series,
    asked_at_us: pl.Series,
    replied_at_us: pl.Series,
    handle_time_s: pl.Series,
    *,
    clock_slack_s: float,
    max_handle_time_s: float,
) -> pl.Series:
    """The rule a record breaks (a key of REASONS), NULL where it breaks none.

    Two clocks of one source may differ by `clock_slack_s`; an instant before that is an error of the record.

    >>> invalid_record(pl.Series(["message"] * 3), pl.Series(["customer"] * 3), pl.Series([10_000_000, None, 0]),
    ...                pl.Series([2_000_000, None, 1]), pl.Series([None, -5.0, 30.0]), clock_slack_s=5,
    ...                max_handle_time_s=86400).to_list()
    ['time.answered_before_asked', 'time.handle_impossible', None]
    """
    frame = pl.DataFrame(
        {
            "kind": kind,
            "role": sender_role,
            "asked": asked_at_us.cast(pl.Int64),
            "replied": replied_at_us.cast(pl.Int64),
            "handle": handle_time_s.cast(pl.Float64),
        }
    )
    backwards = pl.col("replied") + int(clock_slack_s * 1e6) < pl.col("asked")
    handle = pl.col("handle")
    rule = (
        pl.when(pl.col("kind").is_null() | pl.col("role").is_null())
        .then(pl.lit("field.no_speaker"))
        .when(backwards)
        .then(pl.lit("time.answered_before_asked"))
        .when(~handle.is_finite() | (handle < 0) | (handle > max_handle_time_s))
        .then(pl.lit("time.handle_impossible"))
    )
    return frame.select(rule.alias("invalid")).to_series()
