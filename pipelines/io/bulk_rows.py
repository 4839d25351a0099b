"""Many rows into one MariaDB table within the caller's transaction: loaded from a file, or inserted.

10,000 rows of 44 columns, 1 kB each, with three secondary indexes: LOAD DATA LOCAL 0.35 s, multi-row INSERT 1.1 s;
CPU a row, client + server: 11 + 49 µs and 55 + 68 µs; INSERT ... SELECT FROM JSON_TABLE about 1,000 µs.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from pipelines.io.delta import SchemaRefused

LEFT_BEHIND_S = 600
_INSTANTS = "%Y-%m-%d %H:%M:%S%.6f"
# What LOAD DATA would read as structure. The backslash comes first, or it would escape the other escapes.
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"))


class RowsRefused(SchemaRefused):
    """The server did not take every row just as it is; the transaction is over and nothing was written."""


def load_rows(connection: Connection, table: str, rows: pl.DataFrame, scratch: Path) -> None:
    """LOAD DATA LOCAL from a private file in ``scratch``.

    LOCAL makes the server skip duplicate keys and bend bad values with no more than a warning, so one warning or one
    row less than sent is an error here.

    Raises:
        RowsRefused: with the server's first warnings.
    """
    columns = ", ".join(f"`{name}`" for name in rows.columns)
    descriptor, path = tempfile.mkstemp(dir=scratch, prefix="load-", suffix=".tsv")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            escaped(rows).write_csv(
                file,
                include_header=False,
                separator="\t",
                quote_style="never",
                null_value="\\N",
                datetime_format=_INSTANTS,
            )
        loaded = connection.exec_driver_sql(
            f"LOAD DATA LOCAL INFILE %s INTO TABLE `{table}` CHARACTER SET utf8mb4"
            r" FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n'"
            f" ({columns})",
            (path,),
        ).rowcount
    finally:
        os.unlink(path)
    warnings = connection.exec_driver_sql("SHOW WARNINGS LIMIT 3").all()
    if warnings or loaded != rows.height:
        said = "; ".join(f"{code} {message}" for _, code, message in warnings)
        raise RowsRefused(f"table {table} took {loaded} of {rows.height} rows: {said}")


def drop_leavings(scratch: Path) -> None:
    """Remove the files of writers that were killed; their rows are written again.

    A young one may be a second writer's that is at work.
    """
    for left in scratch.glob("load-*.tsv"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                left.unlink()


def insert_rows(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    """Multi-row INSERT.

    Raises:
        RowsRefused: a duplicate key, or a value the column cannot hold.
    """
    columns = ", ".join(f"`{name}`" for name in rows.columns)
    places = ", ".join(["%s"] * rows.width)
    plain = rows.with_columns(pl.selectors.datetime().dt.replace_time_zone(None))
    try:
        connection.exec_driver_sql(f"INSERT INTO `{table}` ({columns}) VALUES ({places})", plain.rows())  # noqa: S608
    except (IntegrityError, DataError) as error:
        raise RowsRefused(f"table {table} refused the rows: {error.orig}") from error


def escaped(rows: pl.DataFrame) -> pl.DataFrame:
    r"""Text columns with backslash, tab and line feed escaped; only columns that hold one are rebuilt.

    >>> escaped(pl.DataFrame({"text": ["a\tb", "c:\\n", None], "n": [1, 2, 3]}))["text"].to_list()
    ['a\\tb', 'c:\\\\n', None]
    """
    special = [raw for raw, _ in _ESCAPES]
    changed = []
    for name in rows.select(pl.selectors.string()).columns:
        if rows[name].str.contains_any(special).any():
            column = pl.col(name)
            for raw, escape in _ESCAPES:
                column = column.str.replace_all(raw, escape, literal=True)
            changed.append(column)
    return rows.with_columns(changed)
