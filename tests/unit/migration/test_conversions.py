"""Every conversion on both paths: the same cases through polars and through DuckDB's SQL, expected worked by hand."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import hypothesis.strategies as st
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given

from pipelines.migration import conversions
from pipelines.migration.columns import Column
from pipelines.migration.second_path import expected_sql

MINUTES = Column("response_time_s", "double", "x", multiply=Decimal(60))
YUAN = Column("amount_minor", "long", "x", multiply=Decimal(100))
SHANGHAI = Column("occurred_at", "timestamp", "x", time_zone="Asia/Shanghai")
BERLIN = Column("occurred_at", "timestamp", "x", time_zone="Europe/Berlin")
WORDS = Column("channel", "string", "x", map={"1": "phone", "2": "app"})
TRIMMED = Column("text", "string", "x", trim=True)
PLAIN, CODE = Column("text", "string", "x"), Column("agent_id", "string", "x")
FLAG = Column("consent_marketing", "boolean", "x")
HOUR_US = 3_600_000_000
NEW_YEAR_US = 1_577_836_800_000_000  # 2020-01-01 00:00 UTC


def second(column: Column, value: str | None) -> str | None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("source", pa.table({"x": pa.array([value], pa.string())}))
        ((value,),) = connection.sql(f"SELECT {expected_sql(column)} FROM source").fetchall()
        return value


def first(column: Column, value: str | None) -> tuple[object, str | None]:
    done = conversions.convert(column, pl.Series("x", [value], dtype=pl.String), 1)
    return done.values[0], done.rule if done.bad[0] else None


@pytest.mark.parametrize(
    ("column", "written", "wanted"),
    [
        (MINUTES, "1.5", 90.0),
        (MINUTES, "0.10", 6.0),  # 0.1 is no binary fraction: times 60 it is 6 all the same
        (MINUTES, "", None),  # an empty cell says nothing, it is not 0
        (MINUTES, None, None),
        (YUAN, "0.29", 29),  # 0.29 × 100 is 28.999999999999996 in binary
        (YUAN, "12345678.90", 1_234_567_890),
        (YUAN, "-5", -500),  # a refund booked as a negative amount: the table's own check decides
        (SHANGHAI, "2020-01-01 08:00:00", NEW_YEAR_US),
        (SHANGHAI, "2020-01-01T08:00:00", NEW_YEAR_US),
        (SHANGHAI, "2020-01-01 08:00:00.250000", NEW_YEAR_US + 250_000),
        (BERLIN, "2020-07-01 02:00:00", 1_593_561_600_000_000),  # summer time: two hours, 2020-07-01 00:00 UTC
        (BERLIN, "2020-10-25 02:30:00", 1_603_585_800_000_000),  # this half hour came twice: the first, 00:30 UTC
        (WORDS, "2", "app"),
        (TRIMMED, "\u3000 退货 \t\r\n", "退货"),  # a full-width blank is one
        (TRIMMED, "   ", ""),  # what people wrote stays, also nothing
        (PLAIN, "", ""),
        (CODE, "", None),
        (CODE, "007", "007"),  # no number: the noughts are part of it
        (FLAG, "是", True),
        (FLAG, "0", False),
    ],
)
def test_both_paths_give_what_it_must_be(column, written, wanted) -> None:
    assert first(column, written) == (wanted, None)
    expected = None if wanted is None else str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
    assert second(column, written) == expected


@pytest.mark.parametrize(
    ("column", "written", "rule"),
    [
        (MINUTES, "十分钟", conversions.NOT_A_NUMBER),
        (MINUTES, "inf", conversions.NOT_A_NUMBER),  # a number to a parser, not to anybody else
        (YUAN, "0.295", conversions.NOT_WHOLE),  # half a fen
        (SHANGHAI, "0000-00-00 00:00:00", conversions.NOT_AN_INSTANT),
        (SHANGHAI, "2019-02-30 10:00:00", conversions.NOT_AN_INSTANT),
        (BERLIN, "2020-03-29 02:30:00", conversions.NOT_AN_INSTANT),  # the clocks jumped over it
        (WORDS, "9", conversions.UNMAPPED),
        (WORDS, " 1", conversions.UNMAPPED),  # not trimmed, so not the same word
        (FLAG, "maybe", conversions.UNKNOWN_VALUE),
        (Column("channel", "string", "x"), "fax", conversions.UNKNOWN_VALUE),
    ],
)
def test_what_cannot_be_is_a_reject_and_never_a_guess(column, written, rule) -> None:
    assert first(column, written) == (None if rule != conversions.UNKNOWN_VALUE or column is FLAG else written, rule)


@given(st.integers(-(10**9), 10**9), st.integers(0, 2))
@example(29, 2)
def test_money_is_exact_on_both_paths(units, places) -> None:
    """Any amount written with up to two decimals, as a DECIMAL column writes it."""
    written = f"{Decimal(units).scaleb(-places):.{places}f}"
    exact = int(Decimal(written) * 100)
    assert first(YUAN, written) == (exact, None)
    assert second(YUAN, written) == str(exact)
