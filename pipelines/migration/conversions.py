"""Declared conversions, column by column: what the old system wrote, as text, into what the contract holds.

The first of the two paths: polars. The second, `pipelines.migration.second_path`, says the same in SQL of its own and
shares nothing with this one but the declaration; the certificate compares the two.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from pipelines import contracts
from pipelines.migration.columns import Column

BLANKS = " \t\r\n\u3000"
_TYPES = {"double": pl.Float64, "long": pl.Int64, "int": pl.Int32, "boolean": pl.Boolean, "timestamp": pl.Int64}
# A soft delete's mark that says "still there", without the noughts of a fraction; anything else says "gone".
ALIVE = ("", "0", "false", "f", "n", "no", "否", "0000-00-00", "0000-00-00 00:00:00")
_TRUE, _FALSE = ("1", "true", "t", "y", "yes", "是"), ("0", "false", "f", "n", "no", "否")
_MOST_EXACT = 2.0**53
_NEARLY = 1e-6

NOT_A_NUMBER, NOT_WHOLE = "migration.not_a_number", "migration.not_whole"
NOT_AN_INSTANT, UNMAPPED = "migration.not_an_instant", "migration.unmapped_value"
UNKNOWN_VALUE, MISSING = "migration.unknown_value", "migration.missing"
REASONS = {
    NOT_A_NUMBER: "column {source} holds no number, which {target} must be",
    NOT_WHOLE: "column {source} times its factor is no whole number, which {target} must be",
    NOT_AN_INSTANT: "column {source} holds no instant that exists in its time zone, which {target} must be",
    UNMAPPED: "column {source} holds a value for which the declaration has no word of {target}",
    UNKNOWN_VALUE: "column {source} holds none of the values that {target} may have",
    MISSING: "column {source} is empty, and {target} must be filled",
}


class Converted(NamedTuple):
    """``values``: the column as its contract has it, instants in microseconds; ``rule`` where ``bad`` is true."""

    values: pl.Series
    bad: pl.Series
    rule: str


def convert(column: Column, source: pl.Series | None, rows: int) -> Converted:
    """One column of the target; tokens are not made here, a column to be tokenised stays clear.

    Args:
        source: the source column as text; None for a constant.
        rows: how many rows a constant fills.

    >>> from decimal import Decimal
    >>> minutes = Column("response_time_s", "double", "wait", multiply=Decimal(60))
    >>> done = convert(minutes, pl.Series(["1.5", "", "x"]), 3)
    >>> done.values.to_list(), done.bad.to_list(), done.rule
    ([90.0, None, None], [False, False, True], 'migration.not_a_number')
    """
    if source is None:
        written = pl.Series(column.target, [column.constant] * rows, dtype=pl.String)
    else:
        written = source.rename(column.source or source.name)
    if column.trim:
        written = written.str.strip_chars(BLANKS)
    if column.empty_is_null:
        written = written.set(written == "", None) if (written == "").any() else written
    if column.map is not None:
        words = written.replace_strict(column.map, default=None, return_dtype=pl.String)
        return _closed(column, words.rename(column.target), words.is_null() & written.is_not_null(), UNMAPPED)
    values, bad, rule = _typed(column, written)
    return _closed(column, values.rename(column.target), bad, rule)


def _typed(column: Column, written: pl.Series) -> Converted:
    if column.type in ("double", "long", "int"):
        return _number(column, written)
    if column.type == "timestamp":
        return _instant(column, written)
    if column.type == "boolean":
        words = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
        flags = written.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        return Converted(flags, flags.is_null() & written.is_not_null(), UNKNOWN_VALUE)
    return Converted(written, pl.Series([False] * len(written), dtype=pl.Boolean), UNKNOWN_VALUE)


def _number(column: Column, written: pl.Series) -> Converted:
    numbers = written.cast(pl.Float64, strict=False)
    bad = (numbers.is_null() & written.is_not_null()) | (numbers.is_not_null() & ~numbers.is_finite().fill_null(True))
    if column.multiply is not None:
        numbers = numbers * float(column.multiply)
    if column.type == "double":
        return Converted(numbers.set(bad, None) if bad.any() else numbers, bad, NOT_A_NUMBER)
    whole = numbers.round()
    torn = ((numbers - whole).abs() > _NEARLY) | (numbers.abs() > _MOST_EXACT)
    torn = torn.fill_null(False) & ~bad
    values = whole.set(bad | torn, None).cast(_TYPES[column.type], strict=False)
    return Converted(values, bad | torn, NOT_WHOLE if torn.any() and not bad.any() else NOT_A_NUMBER)


def _instant(column: Column, written: pl.Series) -> Converted:
    """Naive times of the declared zone. One the clocks jumped over is none; of one they had twice the first."""
    naive = written.str.replace("T", " ", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    at = naive.dt.replace_time_zone(column.time_zone, ambiguous="earliest", non_existent="null")
    micros = at.dt.convert_time_zone("UTC").dt.epoch("us")
    return Converted(micros, micros.is_null() & written.is_not_null(), NOT_AN_INSTANT)


def _closed(column: Column, values: pl.Series, bad: pl.Series, rule: str) -> Converted:
    """A closed set of values has no other; words of the declaration were checked when it was read."""
    allowed = contracts.field(column.target).values
    if allowed and column.map is None and column.constant is None and values.dtype == pl.String:
        return Converted(values, bad | (~values.is_in(list(allowed))).fill_null(False), UNKNOWN_VALUE)
    return Converted(values, bad, rule)


def reason(rule: str, column: Column) -> str:
    """Why, in plain words without the value.

    >>> reason(MISSING, Column("channel", "string", "qd"))
    'column qd is empty, and channel must be filled'
    """
    return REASONS[rule].format(source=column.source or "(constant)", target=column.target)
