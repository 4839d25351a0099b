"""The silver rows of the customers whom a day concerns, and no others: what an incremental gold build reads.

DuckDB passes over the columns of the identifiers once and copies the rows it wants.
Follows ``lake_changes.touched`` on the same connection, whose temporary tables say what came and what moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow.parquet as pq

from pipelines.identity.evidence import NOBODY_AT_ALL
from pipelines.io.duckdb_lake import contract_columns, quoted
from pipelines.io.lake_changes import LINKS, identifiers, same_as
from pipelines.io.lake_span import Span

_WRITTEN = {"text", "subject", "media", "attributes"}


class Slices(NamedTuple):
    """Parquet files: ``customers`` (customer_id) whom the touched rows may concern, and by table the rows they hang on.

    A row of one of the customers is in the slice with every revision of it; rows of other customers may be there too.
    """

    customers: Path
    tables: dict[str, Path]

    def row_count(self) -> int:
        """Rows of all tables, by the files' own counts."""
        return sum(pq.read_metadata(path).num_rows for path in self.tables.values())


def provisional_name_sql(held: Mapping[str, str], order: Sequence[str]) -> str:
    """The name of a customer nobody has linked, as ``pipelines.identity.provisional.provisional_id`` gives it.

    ``held`` has an expression for each column of ``order``.

    >>> held = {"unionid_token": "NULL::VARCHAR", "phone_token": "'ph1_" + "ab" * 16 + "'"}
    >>> duckdb.sql(f"SELECT {provisional_name_sql(held, ['unionid_token', 'phone_token'])}").fetchall()
    [('p_abababababababababababab',)]
    """
    best = f"coalesce({', '.join(held[column] for column in order)})"
    return f"'p_' || substring({best}, greatest(length({best}) - 31, 1), 24)"


def write_slices(
    connection: duckdb.DuckDBPyConnection,
    paths: Mapping[str, Path],
    versions: Mapping[str, int | None],
    *,
    tokens: Sequence[str],
    provisional: Sequence[str],
    folder: Path,
) -> Slices:
    """Everybody the touched rows may concern by any link, then or now, and their rows at ``versions``.

    ``provisional`` are the columns whose best names an unknown customer. Raises VersionGone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _name_concerned(connection, tokens, provisional)
    _copy(connection, "FROM concerned", folder / "customers.parquet")
    files = {name: folder / f"{name}.parquet" for name in paths}
    spans = [Span.of(name, path, None, versions.get(name)) for name, path in paths.items() if name != LINKS]
    picked = " UNION ".join(_picked(span, tokens, provisional) for span in spans)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE picked AS {picked}")
    for span in spans:
        # What replaces a message may lie in the other table. Two of one hash: both come along, and change nothing.
        query = (
            f"SELECT {_listed(span.name)} FROM {span.rows(span.now)} WHERE hash({same_as(span.name)}) IN (FROM picked)"  # noqa: S608
        )
        _copy(connection, query, files[span.name])
    each = " UNION ".join(
        f"SELECT unnest([{', '.join(identifiers(name, tokens).values())}]) AS token FROM read_parquet('{file}')"  # noqa: S608
        for name, file in files.items()
        if name != LINKS
    )
    _copy(connection, f"SELECT l.* FROM links l SEMI JOIN ({each}) USING (token)", files[LINKS])  # noqa: S608
    return Slices(folder / "customers.parquet", files)


def _name_concerned(
    connection: duckdb.DuckDBPyConnection, tokens: Sequence[str], provisional: Sequence[str]
) -> None:  # fmt: skip
    """Temporary tables: ``concerned`` (customer_id), whoever touched identifiers lead or led to; ``wanted`` (token)."""
    held = {t: quoted(t) for t in tokens}
    each = f"unnest([{', '.join(held.values())}])"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE theirs AS SELECT DISTINCT {each} AS token FROM touched")  # noqa: S608
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE concerned AS SELECT customer_id FROM touched "  # noqa: S608
        f"UNION SELECT {provisional_name_sql(held, provisional)} FROM touched "
        "UNION SELECT customer_id FROM links SEMI JOIN theirs USING (token) "
        "UNION SELECT customer_id FROM links_before SEMI JOIN theirs USING (token)"
    )
    connection.execute("DELETE FROM concerned WHERE customer_id IS NULL OR customer_id = ?", [NOBODY_AT_ALL])
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE wanted AS SELECT token FROM links SEMI JOIN concerned USING (customer_id) "
        "UNION SELECT token FROM links_before SEMI JOIN concerned USING (customer_id)"
    )


def _picked(span: Span, tokens: Sequence[str], provisional: Sequence[str]) -> str:
    """What the concerned customers' rows of a table are revisions of, as hashes."""
    held = identifiers(span.name, tokens)
    theirs = [f"{held[t]} IN (FROM wanted)" for t in tokens if not held[t].startswith("NULL")]
    named = [f"{name} IN (FROM concerned)" for name in ("customer_id", provisional_name_sql(held, provisional))]
    return (
        f"SELECT hash({same_as(span.name)}) AS same FROM {span.rows(span.now)} "  # noqa: S608
        f"WHERE {' OR '.join([*theirs, *named])}"
    )


def _listed(table: str) -> str:
    """All columns in the contract's types, but what people wrote: half of the bytes, and the view has no word of it."""
    typed = contract_columns(table).items()
    return ", ".join(f"{quoted(name)}::{kind} AS {quoted(name)}" for name, kind in typed if name not in _WRITTEN)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    connection.sql(query).write_parquet(str(file))
