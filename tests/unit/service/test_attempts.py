"""Which rejects go out again, as which attempt; worked by hand."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines import contracts
from pipelines.service.attempts import FIRST, last_attempts, next_attempts

REJECTS = {f.name: f.type for f in contracts.table("quarantine.rejects").fields}
FIRST_TYPES = dict(zip(FIRST, (str, pl.Int32, pl.Int64), strict=True))
SENT = pl.DataFrame(schema=FIRST_TYPES | {"attempt": pl.Int32})


def reject(offset: int, attempt: int | None = 0, first: int | None = None, rule: str = "a.a", partition: int = 0):
    """A reject of raw.app; `first` is the offset of its first attempt in partition 0, for a replay."""
    place = (None, None, None) if first is None else ("raw.app", 0, first)
    return ("raw.app", partition, offset, attempt, *place, rule)


def frame(*rows) -> pl.DataFrame:
    types = {"raw_topic": str, "raw_partition": pl.Int32, "raw_offset": pl.Int64, "attempt": pl.Int32}
    return pl.DataFrame(rows, schema=types | FIRST_TYPES | {"rule": str}, orient="row")


def sent(*attempts: tuple[int, int]) -> pl.DataFrame:
    """(offset of the first attempt, attempt) that went out."""
    return pl.DataFrame([("raw.app", 0, *one) for one in attempts], schema=SENT.schema, orient="row")


@pytest.mark.parametrize(
    ("why", "rejects", "already", "goes", "stays"),
    [
        ("never sent again", [reject(5)], [], [(5, 5, 1)], 0),
        ("kept, or on its way", [reject(5)], [(5, 1)], [], 1),
        ("came back as a reject", [reject(5), reject(9, 1, first=5)], [(5, 1)], [(5, 9, 2)], 0),
        ("and its second attempt is on its way", [reject(5), reject(9, 1, first=5)], [(5, 1), (5, 2)], [], 1),
        ("came back, and nobody noted the replay", [reject(5), reject(9, 1, first=5)], [], [(5, 9, 2)], 0),
        ("one of two", [reject(5), reject(6)], [(6, 1)], [(5, 5, 1)], 1),
        ("another partition is another message", [reject(5), reject(5, partition=1)], [(5, 1)], [(5, 5, 1)], 1),
        ("an unreadable attempt counts as the first", [reject(5, -1)], [], [(5, 5, 1)], 0),
        ("rows older than the column", [reject(5, None)], [], [(5, 5, 1)], 0),
        ("sent twice, rejected twice", [reject(8, 1, first=5), reject(9, 1, first=5)], [(5, 1)], [(5, 9, 2)], 0),
    ],
)  # fmt: skip
def test_next_attempts(why, rejects, already, goes, stays):
    found, before = next_attempts(last_attempts(frame(*rejects)), sent(*already))
    assert found.select("first_offset", "raw_offset", "attempt").rows() == goes, why
    assert before == stays, why


def test_asked_for_again_it_is_an_attempt_after_all_that_were_sent():
    """Attempts 1 and 2 of offset 5 went out; what goes now must not be taken for one of them."""
    found, before = next_attempts(last_attempts(frame(reject(5), reject(6))), sent((5, 1), (5, 2)), again=True)
    assert found.sort("first_offset").select("first_offset", "attempt").rows() == [(5, 3), (6, 1)]
    assert before == 0


def test_the_last_attempt_says_which_rule_rejected():
    """Repaired for rule a.a, then rejected by b.b: a replay of a.a must not send it."""
    [last] = last_attempts(frame(reject(5, rule="a.a"), reject(9, 1, first=5, rule="b.b"))).to_dicts()
    assert (last["rule"], last["raw_offset"], last["first_offset"]) == ("b.b", 9, 5)


def test_columns_are_those_of_the_contracts():
    assert set(frame().columns) <= set(REJECTS)
    assert set(SENT.columns) <= {f.name for f in contracts.table("quarantine.replays").fields}
