"""The source read a second time, for the certificate: rows by way of DuckDB, and its own figures by its own SQL.

From MySQL a row comes as one JSON object that the server makes, files are read by DuckDB itself: neither is the way the
copy took.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa

from pipelines.io.duckdb_lake import spilling_aside
from pipelines.io.migration_files import reading_sql
from pipelines.io.migration_mysql import MySqlTable, quoted_name
from pipelines.migration.columns import Column
from pipelines.migration.declaration import SourceTable
from pipelines.migration.second_path import ALIVE, expected_columns, expected_sql, identifier, literal, not_deleted_sql

_ROWS_AT_ONCE = 200_000
_KEYS_AT_ONCE = 1_000
#: Columns whose sums are compared month by month, in thousandths of their unit.
MEASURES = ("response_time_s", "handle_time_s", "score", "amount_minor", "refunded_minor")
Kpis = dict[tuple[str, str], tuple[int, ...]]
"""By (month of the source's own time, channel): rows, then count and sum in thousandths of each measure."""


class Grouped(NamedTuple):
    """What a table's figures are grouped by and made of."""

    at: Column
    channel: Column | None
    measures: tuple[Column, ...]


def grouped(table: SourceTable) -> Grouped:
    """From the declaration."""
    at = table.column("occurred_at") or table.column("updated_at")
    channel = table.column("channel")
    return Grouped(at, channel, tuple(c for name in MEASURES if (c := table.column(name)) is not None))


def expected_rows(kind: str, table: SourceTable, mysql: MySqlTable | None) -> Iterator[pa.Table]:
    """``key`` and every declared column as it must be stored, as text; columns of tokens still clear."""
    wanted, counted = expected_columns(table), not_deleted_sql(table)
    with spilling_aside() as connection:
        if mysql is None:
            text = ", ".join(f"{identifier(c)}::VARCHAR AS {identifier(c)}" for c in _sources(table))
            with reading_sql(kind, table) as rows:
                read = f"SELECT {text} FROM {rows}"  # noqa: S608
                query = f"SELECT {wanted} FROM ({read}) WHERE {counted}"  # noqa: S608
                for batch in connection.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
                    yield pa.Table.from_batches([batch])
            return
        shape = literal("{" + ", ".join(f'"{c}": "VARCHAR"' for c in _sources(table)) + "}")
        for rows in _json_rows(mysql, table):
            connection.register("json_rows", pa.table({"row": pa.array(rows, pa.string())}))
            read = f"SELECT unnest(from_json(row, {shape})) FROM json_rows"  # noqa: S608
            yield connection.sql(f"SELECT {wanted} FROM ({read}) WHERE {counted}").to_arrow_table()  # noqa: S608


def _sources(table: SourceTable) -> list[str]:
    named = [table.key, *(c.source for c in table.columns if c.source), *([table.deleted_column] * bool(
        table.deleted_column))]  # fmt: skip
    return list(dict.fromkeys(named))


def _json_rows(mysql: MySqlTable, table: SourceTable) -> Iterator[list[str]]:
    # CAST to text on the server: its JSON would write 1.50 as 1.5, and a time its own way.
    parts = ", ".join(f"%s, CAST({quoted_name(c)} AS CHAR)" for c in _sources(table))
    with mysql.cursor() as cursor:
        cursor.execute(f"SELECT JSON_OBJECT({parts}) FROM {quoted_name(table.name)}", _sources(table))  # noqa: S608
        while page := cursor.fetchmany(_ROWS_AT_ONCE):
            yield [row[0] for row in page]


# ---- figures by the source's own SQL


def source_kpis(kind: str, table: SourceTable, mysql: MySqlTable | None, keys: Sequence[str] | None = None) -> Kpis:
    """Figures of all rows of the source, or of some keys; channels in our words, unknown ones as the source's."""
    found: Kpis = {}
    pages = [None] if keys is None else [keys[n : n + _KEYS_AT_ONCE] for n in range(0, len(keys), _KEYS_AT_ONCE)]
    for page in pages:
        rows = _mysql_figures(mysql, table, page) if mysql else _file_figures(kind, table, page)
        for month, code, *numbers in rows:
            group = (str(month), _channel(table, code))
            before = found.get(group, (0,) * len(numbers))
            found[group] = tuple(a + int(Decimal(str(b or 0))) for a, b in zip(before, numbers, strict=True))
    return found


def _channel(table: SourceTable, code: object) -> str:
    column = table.column("channel")
    if column is None or column.source is None:
        return column.constant if column else str(table.record_channel)
    text = str(code or "").strip() if column.trim else str(code or "")
    return (column.map or {}).get(text, text)


def not_deleted_in_mysql(column: str) -> str:
    """As `second_path.not_deleted_sql` has it, in the source's own words; MySQL 5 knows no REGEXP_REPLACE."""
    mark = f"LOWER(TRIM(COALESCE(CAST({quoted_name(column)} AS CHAR), '')))"
    whole = f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {mark}))"
    fraction = f"LOCATE('.', {mark}) > 0 AND RIGHT({mark}, 1) = '0'"
    return f"CASE WHEN {fraction} THEN {whole} ELSE {mark} END IN ({ALIVE})"


def rows_marked_deleted(kind: str, table: SourceTable, mysql: MySqlTable | None) -> int:
    """Source rows that its own mark calls deleted: they are in none of the figures, so their number is told."""
    if table.deleted_column is None:
        return 0
    if mysql is not None:
        alive = not_deleted_in_mysql(table.deleted_column)
        with mysql.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM {quoted_name(table.name)} WHERE NOT ({alive})")  # noqa: S608
            return int(cursor.fetchall()[0][0])
    with spilling_aside() as connection, reading_sql(kind, table) as rows:
        return connection.execute(f"SELECT count(*) FROM {rows} WHERE NOT ({not_deleted_sql(table)})").fetchone()[0]  # noqa: S608


def _mysql_figures(mysql: MySqlTable, table: SourceTable, keys: Sequence[str] | None) -> Sequence[tuple]:
    by = grouped(table)
    code = quoted_name(by.channel.source) if by.channel and by.channel.source else "''"
    month = f"LEFT(CAST({quoted_name(by.at.source)} AS CHAR), 7)"
    numbers = ["COUNT(*)"]
    for measure in by.measures:
        value = quoted_name(measure.source) if measure.source else literal(measure.constant)
        value = f"NULLIF({value}, '')" if measure.source else value
        numbers += [f"COUNT({value})", f"SUM(ROUND({value} * {measure.multiply or 1} * 1000))"]
    where = [f"{quoted_name(table.key)} IN ({', '.join(['%s'] * len(keys))})"] if keys is not None else []
    if table.deleted_column:
        where.append(not_deleted_in_mysql(table.deleted_column))
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    with mysql.cursor() as cursor:
        cursor.execute(
            f"SELECT {month}, {code}, {', '.join(numbers)} FROM {quoted_name(table.name)} {condition} GROUP BY 1, 2",  # noqa: S608
            list(keys or []),
        )
        return cursor.fetchall()


def _file_figures(kind: str, table: SourceTable, keys: Sequence[str] | None) -> Sequence[tuple]:
    by = grouped(table)
    code = f"{identifier(by.channel.source)}::VARCHAR" if by.channel and by.channel.source else "''"
    numbers = ["count(*)"]
    for measure in by.measures:
        value = f"nullif({identifier(measure.source)}::VARCHAR, '')" if measure.source else literal(measure.constant)
        numbers += [f"count({value})", f"sum(round({value}::DECIMAL(26,6) * {measure.multiply or 1} * 1000))::HUGEINT"]
    where = [not_deleted_sql(table)]
    with spilling_aside() as connection, reading_sql(kind, table) as rows:
        if keys is not None:
            connection.register("asked", pa.table({"k": pa.array(keys, pa.string())}))
            where.append(f"{identifier(table.key)}::VARCHAR IN (SELECT k FROM asked)")  # noqa: S608
        return connection.execute(
            f"SELECT left({identifier(by.at.source)}::VARCHAR, 7), {code}, {', '.join(numbers)} "  # noqa: S608
            f"FROM {rows} WHERE {' AND '.join(where)} GROUP BY 1, 2"
        ).fetchall()


__all__ = [
    "MEASURES", "Grouped", "Kpis", "expected_rows", "expected_sql", "grouped", "rows_marked_deleted", "source_kpis",
]  # fmt: skip
