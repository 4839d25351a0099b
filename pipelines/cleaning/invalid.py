"""Records whose parts contradict each other: what one of them says cannot have happened."""

import numpy as np
import polars as pl

from pipelines.cleaning.rows import rows_where

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
    rules = pl.Series("invalid", [None] * len(kind), dtype=pl.String)
    if handle_time_s.null_count() < len(kind):
        handle = handle_time_s.cast(pl.Float64).to_numpy()  # NaN also where there is none
        possible = np.isfinite(handle) & (handle >= 0) & (handle <= max_handle_time_s)
        rules = _set(rules, ~pl.Series(possible) & handle_time_s.is_not_null(), "time.handle_impossible")
    backwards = replied_at_us.cast(pl.Int64) + int(clock_slack_s * 1e6) < asked_at_us.cast(pl.Int64)
    rules = _set(rules, backwards, "time.answered_before_asked")
    if kind.null_count() or sender_role.null_count():
        rules = _set(rules, kind.is_null() | sender_role.is_null(), "field.no_speaker")
    return rules


def _set(rules: pl.Series, broken: pl.Series, rule: str) -> pl.Series:
    """The later rule is the more severe one, so it takes the place of an earlier one."""
    return rules.scatter(rows, rule) if (rows := rows_where(broken)) else rules
