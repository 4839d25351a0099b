"""Tables of MariaDB as their contracts say: made, given new columns, and what their columns can hold."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import polars as pl
from sqlalchemy import Connection, text

log = logging.getLogger(__name__)


def ensure_table(connection: Connection, name: str, ddl: str) -> None:
    """Make the table, or give it the columns that are new in its contract; nothing is ever dropped or changed."""
    connection.exec_driver_sql(ddl)
    present = set(
        connection.execute(
            text(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = :t"
            ),
            {"t": name},
        ).scalars()
    )
    for line in ddl.splitlines():
        column = line.strip().rstrip(",")
        column_name = column[1:].partition("`")[0]
        if column.startswith("`") and column_name not in present:
            log.warning("table %s gets the new column %s", name, column_name)
            connection.exec_driver_sql(f"ALTER TABLE `{name}` ADD COLUMN IF NOT EXISTS {column}")


def char_limits(connection: Connection, name: str) -> dict[str, int]:
    """Characters that each VARCHAR column of the table holds."""
    rows = connection.execute(
        text(
            "SELECT column_name, character_maximum_length FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = :t AND data_type = 'varchar'"
        ),
        {"t": name},
    )
    return {column: int(limit) for column, limit in rows}


def clipped(frame: pl.DataFrame, limits: Mapping[str, int]) -> tuple[pl.DataFrame, int]:
    """Texts longer than their column are cut, and how many: the lake keeps them whole, one must not stop all others.

    >>> clipped(pl.DataFrame({"a": ["abc", "d"], "b": ["xyz", None]}), {"a": 2, "b": 9})[0].rows()
    [('ab', 'xyz'), ('d', None)]
    """
    long = [
        name for name, limit in limits.items() if name in frame.columns and (frame[name].str.len_chars() > limit).any()
    ]
    count = sum(int((frame[name].str.len_chars() > limits[name]).sum()) for name in long)
    if long:
        log.warning("%d values of %s are longer than their column and were cut", count, ", ".join(long))
    return frame.with_columns(pl.col(name).str.slice(0, limits[name]) for name in long), count
