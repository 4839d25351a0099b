"""Checks of what stands in the lake as SQL on DuckDB: what holds of a row, and which rows break it.

Great Expectations gates a day as a whole; this names its rows, day by day, and reads one scan of the files.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

from pipelines import contracts
from pipelines.io.duckdb_lake import quoted
from pipelines.privacy.free_text import SIEVE
from pipelines.privacy.number_finder import find
from pipelines.quality.checks import Check

log = logging.getLogger(__name__)
FINDER = "has_personal_number"
_SAMPLE = 5


class Bad(NamedTuple):
    """Rows of one day that break a check: how many, keys of some as JSON list, order-free hash of all keys."""

    rows: int
    sample: str
    keys_hash: str


# ph1_… with 32, c_… with 24 hexadecimal digits; one in some 300 has a run that could be a landline.
_CODED = re.compile(r"(?<![0-9A-Za-z])[a-z]{1,2}[0-9]{0,3}_[0-9a-f]{24,32}(?![0-9A-Za-z])")


def has_personal_number(text: str) -> bool:
    """What the stream would have made a token of, by the rule it makes tokens by (pipelines/privacy/number_finder.py).

    >>> has_personal_number("电话１３８-1234-5670，谢谢"), has_personal_number("订单138123456701234没到")
    (True, False)

    Tokens and coded IDs are no numbers of anybody, whatever digits chance has put into them:

    >>> has_personal_number("c_3479683b03979007787e7178"), has_personal_number("c_1 03979007787")
    (False, True)
    """
    return bool(find(_CODED.sub("", text), frozenset(contracts.policy("privacy")["free_text"]["kinds"])))


def holds(check: Check) -> str | None:
    """The condition that a row must fulfil, NULL passes; None for a check on more than one row.

    >>> holds(Check("x", "between", "stop", ("score",), min=0))
    '"score" >= 0'
    """
    if check.kind == "condition":
        return check.condition
    if check.kind == "no_personal_number":
        return " AND ".join(f"NOT {_personal(quoted(c))}" for c in check.columns)
    if check.kind == "refers_to":
        return _refers(check)
    if check.kind in {"unique", "row_count_min"}:
        return None
    column = quoted(check.columns[0])
    if check.kind == "not_null":
        return f"{column} IS NOT NULL"
    if check.kind == "in_set":
        return f"{column} IN ({', '.join(map(_literal, check.values))})"
    if check.kind == "between":
        bounds = [f"{column} >= {check.min}"] if check.min is not None else []
        bounds += [f"{column} <= {check.max}"] if check.max is not None else []
        return " AND ".join(bounds)
    raise ValueError(f"check {check.name}: kind {check.kind!r} has no rule; add it here and to lake_suites.py")


def unique_columns(check: Check, days: bool) -> list[str]:
    """Columns that are unique together; in a table kept by day, within the day (over days the balance counts)."""
    return [*check.columns, *(["received_date"] if days else [])]


def bad_query(check: Check, days: bool) -> str | None:
    """The rows of view ``checked`` that break a check; None for a check on the table as a whole."""
    if check.kind == "row_count_min":
        return None
    if check.kind == "unique":
        same = ", ".join(map(quoted, unique_columns(check, days)))
        return f"SELECT * FROM checked QUALIFY count(*) OVER (PARTITION BY {same}) > 1"  # noqa: S608
    return f"SELECT * FROM checked WHERE NOT coalesce({holds(check)}, true)"  # noqa: S608


def count_bad(connection: Any, check: Check, key: Sequence[str], *, days: bool) -> dict[Any, Bad]:
    """By day (None in a table without days) the rows that break a check; coded keys only, no content.

    Empty for a check that can't be evaluated: what DuckDB complains about may be a value, so it is not told.
    """
    query = bad_query(check, days)
    if query is None:
        return {}
    named = ", ".join(f"{_literal(column)}: {quoted(column)}" for column in key)
    day = "received_date" if days else "NULL::DATE"
    try:
        found = connection.execute(
            f"SELECT day, count(*), min(key, {_SAMPLE}), bit_xor(md5_number_lower(key)) "  # noqa: S608
            f"FROM (SELECT {day} AS day, to_json({{{named}}})::VARCHAR AS key FROM ({query})) GROUP BY day"
        ).fetchall()
    except duckdb.Error as error:
        log.error("check %s can't be evaluated: %s", check.name, type(error).__name__)
        return {}
    return {day: Bad(count, f"[{', '.join(sample)}]", f"{keys:016x}") for day, count, sample, keys in found}


def view_of(table: str) -> str:
    """Name of the view of a table that a check refers to."""
    return quoted(f"all of {table}")


def _refers(check: Check) -> str:
    table, its = check.refers_to or ("", "")
    column = quoted(check.columns[0])
    there = f"SELECT {quoted(its)} FROM {view_of(table)} WHERE {quoted(its)} IS NOT NULL"  # noqa: S608
    return f"NOT coalesce({check.condition}, false) OR {column} IS NULL OR {column} IN ({there})"


def _personal(column: str) -> str:
    # CASE, because only what passes the sieve is worth a call into Python.
    return f"CASE WHEN regexp_matches({column}, {_literal(SIEVE)}) THEN {FINDER}({column}) ELSE false END"


def _literal(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
