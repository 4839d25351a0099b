"""Tables of a MySQL or MariaDB server as text, page by page in key order, with a cursor on the server's side.

Values come as the server writes them: no converter of the driver is asked, so 0000-00-00, 1.50 and 007 stay what they
are, and 10 million rows cost half the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl
import pymysql.converters
import pymysql.cursors
from sqlalchemy import create_engine, make_url

from pipelines.migration.declaration import SourceTable

_WHOLE = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "geometry"})
# Python values into SQL, but nothing of SQL into Python: every column comes as text.
_AS_TEXT = {kind: writes for kind, writes in pymysql.converters.conversions.items() if not isinstance(kind, int)}
_READ_TIMEOUT_S = 3600  # without an index on the change column a page of an increment reads the whole table


class SourceRefused(RuntimeError):
    """The source cannot be read as declared; the message says what and the cure."""


class MySqlTable:
    """One table of the old system. Only SELECT is ever sent."""

    def __init__(self, url: str, table: SourceTable):
        if make_url(url).get_backend_name() != "mysql":
            raise SourceRefused("the source's URL must begin with mysql+pymysql://")
        # TIMESTAMP columns come in UTC, whatever zone the server stands in; DATETIME columns as they were written.
        arguments = {"conv": _AS_TEXT, "charset": "utf8mb4", "read_timeout": _READ_TIMEOUT_S, "connect_timeout": 10}
        arguments |= {"init_command": "SET SESSION time_zone = '+00:00'"}
        self._engine = create_engine(url, hide_parameters=True, connect_args=arguments)
        self._table = table
        self.columns, self._whole_key = self._described()

    def _described(self) -> tuple[list[str], bool]:
        with self.cursor() as cursor:
            cursor.execute(
                "SELECT column_name, data_type, column_key FROM information_schema.columns "
                "WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position", [self._table.name],
            )  # fmt: skip
            found = {name: (kind, key) for name, kind, key in cursor.fetchall()}
        if not found:
            raise SourceRefused(f"table {self._table.name} is not in the source's database, or its user may not see it")
        require_columns(self._table, list(found))
        kind, key = found[self._table.key]
        if key != "PRI":
            raise SourceRefused(
                f"{self._table.name}: {self._table.key} is not the table's primary key; pages in key order need one"
            )
        if binary := sorted(name for name, (kind_, _) in found.items() if kind_ in _BYTES):
            raise SourceRefused(
                f"{self._table.name}: columns of bytes are not taken: {', '.join(binary)}. Declare a view"
            )
        return list(found), kind in _WHOLE

    @contextmanager
    def cursor(self) -> Iterator[pymysql.cursors.SSCursor]:
        """A cursor on the server's side, in a session that may not write."""
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor(pymysql.cursors.SSCursor)
            try:
                cursor.execute("SET SESSION TRANSACTION READ ONLY")
                yield cursor
            finally:
                cursor.close()
        finally:
            connection.close()

    def full(self, last_key: str | None, done_rows: int, limit: int) -> Iterator[pl.DataFrame]:
        """Pages of rows after `last_key`, in key order."""
        return self._pages("", [], last_key, limit)

    def changed_since(self, mark: str, limit: int) -> Iterator[pl.DataFrame]:
        """Pages of rows whose change column lies after `mark`, or says nothing, in key order."""
        changed = quoted_name(self._table.changed)
        return self._pages(f"({changed} >= %s OR {changed} IS NULL)", [mark], None, limit)

    def _pages(self, condition: str, values: Sequence[str], after: str | None, limit: int) -> Iterator[pl.DataFrame]:
        key, wanted = quoted_name(self._table.key), ", ".join(map(quoted_name, self.columns))
        place = self.columns.index(self._table.key)
        while True:
            conditions = [*([condition] if condition else []), *([f"{key} > %s"] if after is not None else [])]
            where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
            arguments = [*values, *([self._key(after)] if after is not None else []), limit]
            with self.cursor() as cursor:
                cursor.execute(
                    f"SELECT {wanted} FROM {quoted_name(self._table.name)} {where}ORDER BY {key} LIMIT %s", arguments  # noqa: S608
                )  # fmt: skip
                rows = cursor.fetchall()
            if not rows:
                return
            after = rows[-1][place]
            yield as_text(self.columns, rows)
            if len(rows) < limit:
                return

    def mark(self, overlap_s: int) -> str | None:
        """The newest change the source knows, less the overlap, by its own clock; None for an empty table.

        With an overlap, at most its now: one change dated 2099 would leave out all that comes until then.
        """
        changed = quoted_name(self._table.changed)
        newest = f"LEAST(MAX({changed}), NOW())" if overlap_s else f"MAX({changed})"
        with self.cursor() as cursor:
            cursor.execute(
                f"SELECT DATE_SUB({newest}, INTERVAL %s SECOND) FROM {quoted_name(self._table.name)}", [overlap_s]  # noqa: S608
            )  # fmt: skip
            ((newest,),) = cursor.fetchall()
        return newest

    def keys(self, limit: int) -> Iterator[list[str]]:
        """Every key there is, in pages."""
        key = quoted_name(self._table.key)
        with self.cursor() as cursor:
            cursor.execute(f"SELECT {key} FROM {quoted_name(self._table.name)}")  # noqa: S608
            while page := cursor.fetchmany(limit):
                yield [row[0] for row in page]

    def repeated_keys(self) -> set[str]:
        """None: the key is the primary key."""
        return set()

    def rows(self) -> int:
        """Rows the table has now."""
        with self.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM {quoted_name(self._table.name)}")  # noqa: S608
            ((count,),) = cursor.fetchall()
        return int(count)

    def _key(self, key: str) -> int | str:
        # A whole number compared with text is compared as a double: wrong beyond 2**53, and no index is used.
        return int(key) if self._whole_key else key


def as_text(columns: Sequence[str], rows: Sequence[tuple]) -> pl.DataFrame:
    """Rows as columns of text.

    >>> as_text(["id", "said"], [("1", None), ("2", "x")]).rows()
    [('1', None), ('2', 'x')]
    """
    values = zip(*rows, strict=True)
    return pl.DataFrame([pl.Series(n, v, dtype=pl.String) for n, v in zip(columns, values, strict=True)])


def require_columns(table: SourceTable, there: Sequence[str]) -> None:
    """Raises SourceRefused where the declaration names a column that the source lacks."""
    named = {c.source for c in table.columns if c.source} | {table.key}
    named |= {name for name in (table.changed, table.deleted_column) if name}
    if absent := sorted(named - set(there)):
        raise SourceRefused(
            f"{table.name}: the source has no column {', '.join(absent)}; its columns are {', '.join(there)}"
        )


def quoted_name(identifier: str) -> str:
    """A name as MySQL takes it."""
    return "`" + identifier.replace("`", "``") + "`"
