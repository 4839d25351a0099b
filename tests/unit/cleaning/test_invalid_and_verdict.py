"""Records that cannot be, and the one verdict out of all rules."""

import polars as pl
import pytest

from pipelines import contracts
from pipelines.cleaning.invalid import REASONS as INVALID_REASONS
from pipelines.cleaning.invalid import invalid_record
from pipelines.cleaning.verdict import REASONS, verdict

POLICY = contracts.policy("cleaning")["invalid"]
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("asked_s", "replied_s", "handle_s", "rule"),
    [
        (100, 160, 30, None),
        (100, 100, 0, None),  # at once
        (100, 97, 30, None),  # two clocks three seconds apart
        (100, 90, 30, "time.answered_before_asked"),
        (None, 90, 30, None),  # one instant says nothing
        (100, None, 30, None),
        (None, None, None, None),
        (None, None, -1, "time.handle_impossible"),
        (None, None, float("nan"), "time.handle_impossible"),
        (None, None, 172_800, None),  # exactly two days
        (None, None, 172_801, "time.handle_impossible"),
        (100, 90, -1, "time.answered_before_asked"),  # two errors: the first is named
    ],
)
def test_cross_checks(asked_s, replied_s, handle_s, rule):
    found = invalid_record(
        pl.Series(["message"]),
        pl.Series(["agent"]),
        pl.Series([None if asked_s is None else asked_s * SECOND], dtype=pl.Int64),
        pl.Series([None if replied_s is None else replied_s * SECOND], dtype=pl.Int64),
        pl.Series([handle_s], dtype=pl.Float64),
        **POLICY,
    )
    assert found[0] == rule


def test_a_record_of_nobody():
    nothing = pl.Series([None, None], dtype=pl.Int64)
    found = invalid_record(
        pl.Series([None, "message"], dtype=pl.String), pl.Series(["agent", None]), nothing, nothing, nothing, **POLICY
    )
    assert found.to_list() == ["field.no_speaker"] * 2


@pytest.mark.parametrize(
    ("invalid", "blank", "ambiguous", "route", "rule"),
    [
        (None, False, None, "kept", None),
        (None, True, None, "rejected", "text.blank"),
        (None, False, "complaint.vague", "review", "complaint.vague"),
        ("time.handle_impossible", False, None, "rejected", "time.handle_impossible"),
        ("time.handle_impossible", True, "complaint.vague", "rejected", "time.handle_impossible"),  # most severe
        (None, True, "complaint.vague", "rejected", "text.blank"),  # nobody's time for a blank
    ],
)
def test_the_most_severe_rule_decides(invalid, blank, ambiguous, route, rule):
    row = verdict(
        pl.Series([invalid], dtype=pl.String), pl.Series([blank]), pl.Series([ambiguous], dtype=pl.String)
    ).row(0)
    assert row == (route, rule, REASONS[rule] if rule else None)


def test_every_rule_has_a_reason_without_personal_values():
    assert set(INVALID_REASONS) < set(REASONS)
    assert all(reason.endswith(".") and not any(c.isdigit() for c in reason) for reason in REASONS.values())
