"""The rules in a row: each is a plain function of its own; this is the order and where the thresholds come from."""

from __future__ import annotations

import polars as pl

from pipelines.cleaning.ambiguity import ambiguous_complaint
from pipelines.cleaning.blank import blank_consultation
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.duplicate_feedback import feedback_key
from pipelines.cleaning.invalid import invalid_record
from pipelines.cleaning.outliers import judge_response_times
from pipelines.cleaning.scores import judge_scores
from pipelines.cleaning.verdict import verdict


def judge(frame: pl.DataFrame, context: CleaningContext) -> pl.DataFrame:
    """Adds route, rule, reason, feedback_key, the corrected values and their verdicts.

    A replay (attempt > 0) is not sent to review again: a person has looked at it.
    """
    policy = context.policies["cleaning"]
    kind, role, text, subject = (frame[n] for n in ("kind", "sender_role", "text", "subject"))
    blank = blank_consultation(
        kind, role, text, subject=subject, media=frame["media"], score=frame["score"],
        handle_time_s=frame["handle_time_s"], **policy["blank"],
    )  # fmt: skip
    invalid = invalid_record(
        kind, role, frame["asked_at_us"], frame["replied_at_us"], frame["handle_time_s"], **policy["invalid"]
    )
    ambiguous = ambiguous_complaint(
        kind, role, text, subject=subject, score=frame["score"], score_scale_max=frame["score_scale_max"],
        **policy["ambiguity"],
    )  # fmt: skip
    if frame["attempt"].max() > 0:
        ambiguous = ambiguous.set(frame["attempt"] > 0, None)
    repeats = {n: v for n, v in policy["duplicate_feedback"].items() if n != "window_hours"}
    key = feedback_key(
        kind, role, frame["customer_id"], text, subject=subject, score=frame["score"], order_id=frame["order_id"],
        ticket_id=frame["ticket_id"], source_revision=frame["source_revision"], attempt=frame["attempt"], **repeats,
    )  # fmt: skip
    decided = verdict(invalid, blank, ambiguous)
    thresholds = {n: v for n, v in context.policies["outliers"].items() if n not in {"version", "channels"}}
    times = judge_response_times(
        frame["channel"], kind, frame["response_time_s"], frame["asked_at_us"], frame["replied_at_us"],
        baselines=context.baselines, **thresholds,
    )  # fmt: skip
    scores = judge_scores(frame["score"], frame["score_scale_max"], **policy["scores"])
    kept_keys = [k if route == "kept" else None for k, route in zip(key, decided["route"], strict=True)]
    found = [*decided, *times, *scores, pl.Series("feedback_key", kept_keys, dtype=pl.String)]
    return frame.hstack([*found, frame["occurred_at_us"].alias("occurred_at")])
