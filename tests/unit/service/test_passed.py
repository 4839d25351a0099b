"""An hour may be called closed only when a mark set after it has come through every part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.service.passed import Passed, Seen

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def seen(minute: int, *, bronze=9, outputs=9, job=9, raw_end=9, output_end=9) -> Seen:
    return Seen(
        bronze={"raw.app/0": bronze},
        outputs={"interactions.clean/0": outputs},
        job={"raw.app/0": job},
        raw_ends={"raw.app/0": raw_end},
        output_ends={"interactions.clean/0": output_end},
        at=START + timedelta(minutes=minute),
    )


def test_all_parts_at_the_end_pass_at_once():
    assert Passed().look(seen(0)) == START


@pytest.mark.parametrize(
    "behind",
    [
        {"bronze": 8},  # bronze lacks a message that came in
        {"job": 8},  # the cleaning job has not judged it
        {"outputs": 8},  # it was judged, but does not stand in its table
    ],
)
def test_one_part_behind_holds_the_mark(behind):
    passed = Passed()
    assert passed.look(seen(0, **behind)) is None
    assert passed.look(seen(1)) == START, "the mark of minute 0 came through, not one of minute 1"


def test_an_open_transaction_at_the_end_of_an_output_holds_the_mark():
    passed = Passed()
    assert passed.look(seen(0, output_end=10)) is None
    assert passed.look(seen(1, outputs=10, output_end=10)) == START


def test_a_stopped_job_closes_nothing_however_long_it_takes():
    passed = Passed()
    for minute in range(600):
        assert passed.look(seen(minute, job=8)) is None


def test_outputs_must_pass_the_end_they_had_when_the_job_was_through():
    """The job is through at minute 1, when the output topic ends at 12; 11 was its end when the mark was set."""
    passed = Passed()
    passed.look(seen(0, job=8, output_end=11))
    assert passed.look(seen(1, outputs=11, output_end=12)) is None
    assert passed.look(seen(2, outputs=12, output_end=30)) == START


def test_under_constant_traffic_marks_still_come_through():
    passed, untils = Passed(), []
    for minute in range(10):  # everything is always five messages behind the end
        at = 100 * minute
        untils.append(passed.look(seen(minute, bronze=at, job=at, outputs=at, raw_end=at + 5, output_end=at + 5)))
    assert untils[-1] is not None
    assert START + timedelta(minutes=9) - untils[-1] <= timedelta(minutes=3)


def test_a_partition_nobody_wrote_to_holds_nothing_up():
    empty = Seen({}, {}, {}, {"raw.sms/0": 0}, {"review.queue/0": 0}, START)
    assert Passed().look(empty) == START
