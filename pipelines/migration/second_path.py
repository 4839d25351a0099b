"""The declared conversions once more, in SQL: the second of the two paths a certificate compares.

Nothing here is shared with `pipelines.migration.conversions` but the declaration: another engine (DuckDB), another
reading of the source, another arithmetic (decimals instead of doubles where the target is whole). Values come out as
text in one canonical form, so that both sides can be hashed alike.
"""

from __future__ import annotations

from pipelines.migration.columns import Column
from pipelines.migration.declaration import SourceTable

_TRIMMED = "' ' || chr(9) || chr(13) || chr(10) || chr(12288)"
# A mark of a soft delete that says "still there", without the noughts of a fraction (0.0, 0000-00-00 00:00:00.000000).
ALIVE = "'', '0', 'false', 'f', 'n', 'no', '否', '0000-00-00', '0000-00-00 00:00:00'"
_TRUE, _FALSE = "'1', 'true', 't', 'y', 'yes', '是'", "'0', 'false', 'f', 'n', 'no', '否'"


def expected_sql(column: Column) -> str:
    """What the target must hold, from the source's columns as text; of a column of tokens the clear value.

    >>> expected_sql(Column("outcome", "string", "jg", map={"1": "resolved"}))
    'CASE WHEN nullif("jg", \\'\\') = \\'1\\' THEN \\'resolved\\' END'
    """
    if column.source is None:
        return _typed(column, literal(column.constant))
    value = identifier(column.source)
    if column.trim:
        value = f"trim({value}, {_TRIMMED})"
    if column.empty_is_null:
        value = f"nullif({value}, '')"
    if column.map is not None:
        cases = " ".join(f"WHEN {value} = {literal(k)} THEN {literal(v)}" for k, v in column.map.items())
        return f"CASE {cases} END"
    return _typed(column, value)


def _typed(column: Column, value: str) -> str:
    if column.type == "double":
        factor = "" if column.multiply is None else f" * {column.multiply}::DOUBLE"
        return f"(TRY_CAST({value} AS DOUBLE){factor})::VARCHAR"
    if column.type in ("long", "int"):
        factor = "" if column.multiply is None else f" * {column.multiply}::DECIMAL(12,6)"
        return f"round(TRY_CAST({value} AS DECIMAL(26,6)){factor})::BIGINT::VARCHAR"
    if column.type == "timestamp":
        return _instant(f"TRY_CAST({value} AS TIMESTAMP)", literal(column.time_zone))
    if column.type == "boolean":
        return f"CASE WHEN lower({value}) IN ({_TRUE}) THEN 'true' WHEN lower({value}) IN ({_FALSE}) THEN 'false' END"
    return f"{value}"


def _instant(naive: str, zone: str) -> str:
    """Of a time the clocks had twice DuckDB takes the later; an hour before is the first, if it reads the same."""
    at = f"({naive} AT TIME ZONE {zone})"
    before = f"({at} - INTERVAL 1 HOUR)"
    return f"epoch_us(CASE WHEN {before} AT TIME ZONE {zone} = {naive} THEN {before} ELSE {at} END)::VARCHAR"


def stored_sql(column: Column) -> str:
    """The same column as the table holds it, in the same canonical form."""
    value = identifier(column.target)
    return f"epoch_us({value})::VARCHAR" if column.type == "timestamp" else f"{value}::VARCHAR"


def expected_columns(table: SourceTable) -> str:
    """Key and every declared column, as a list for SELECT."""
    key = f"coalesce({identifier(table.key)}::VARCHAR, '') AS key"
    return ", ".join([key, *(f"{expected_sql(c)} AS {identifier('c_' + c.target)}" for c in table.columns)])


def stored_columns(table: SourceTable, target: str, there: set[str]) -> str:
    """The same of one target; a declared column that this target does not have is NULL."""
    columns = (
        f"{stored_sql(c) if c.target in there else 'NULL'} AS {identifier('c_' + c.target)}" for c in table.columns
    )
    return ", ".join([f"{identifier(table.key_column)}::VARCHAR AS stored_key", f"{literal(target)} AS home", *columns])


def not_deleted_sql(table: SourceTable) -> str:
    """Which source rows count: all, or those that no soft delete marks."""
    if table.deleted_column is None:
        return "true"
    mark = f"lower(trim(coalesce({identifier(table.deleted_column)}::VARCHAR, '')))"
    return f"regexp_replace({mark}, '[.]0+$', '') IN ({ALIVE})"


def identifier(name: str) -> str:
    """A column's name as DuckDB takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    """A text as DuckDB takes it."""
    return "NULL::VARCHAR" if text is None else "'" + text.replace("'", "''") + "'"
