"""Order-free fingerprints of two sides of a table, and the rows in which they differ.

A row's column is hashed together with its key and a secret of ours, and the hashes are added up: the sums do not depend
on the order of rows, and a row twice adds twice where an exclusive-or would take itself away. Rows fall into buckets by
their key, so that only buckets whose sums differ have to be looked at row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from pipelines.migration.second_path import identifier, literal

BUCKETS = 4_096


class Difference(NamedTuple):
    """One key whose row is not what it must be. what: missing, unexpected, twice, or differs in ``columns``."""

    key: str
    what: str
    columns: tuple[str, ...] = ()


@dataclass
class Fingerprint:
    """Sums of one side: ``sums[bucket, 0]`` counts rows, then one sum modulo 2^64 a column."""

    columns: tuple[str, ...]
    sums: np.ndarray

    @classmethod
    def empty(cls, columns: Sequence[str]) -> Fingerprint:
        """Of no row."""
        return cls(tuple(columns), np.zeros((BUCKETS, len(columns) + 1), dtype=np.uint64))

    @property
    def rows(self) -> int:
        """Rows added."""
        return int(self.sums[:, 0].sum())

    def of_column(self, column: str) -> str:
        """The column's sum over all buckets, 16 hexadecimal digits."""
        with np.errstate(over="ignore"):
            return f"{int(self.sums[:, 1 + self.columns.index(column)].sum()):016x}"

    def add(self, found: pa.Table) -> None:
        """Add what `summed` gave."""
        buckets = found["bucket"].to_numpy()
        with np.errstate(over="ignore"):
            for place in range(len(self.columns) + 1):
                self.sums[buckets, place] += found.column(place + 1).to_numpy().astype(np.uint64)


def summed(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], secret: str) -> pa.Table:
    """Bucket, rows and the sum of each column's hashes of a relation with ``key`` and the columns as text."""
    # hash() has 64 bits; the sum of ten million of them needs 128, of which the lower 64 count.
    sums = ", ".join(
        f"(sum({_hashed(secret, column)}::HUGEINT) % 18446744073709551616)::UBIGINT AS s{n}"
        for n, column in enumerate(columns)
    )
    return connection.sql(
        f"SELECT {bucket_sql(secret)} AS bucket, count(*)::UBIGINT AS rows, {sums} FROM {relation} GROUP BY 1"  # noqa: S608
    ).to_arrow_table()


def bucket_sql(secret: str) -> str:
    """The bucket of a key."""
    return f"(hash({literal(secret)}, key) % {BUCKETS})::INTEGER"


def _hashed(secret: str, column: str) -> str:
    # NULL and an empty text must not be alike; the name keeps two columns with swapped values apart.
    value = identifier(column)
    return f"hash({literal(secret)}, {literal(column)}, key, coalesce({value}, ''), {value} IS NULL)"


def differing(source: Fingerprint, stored: Fingerprint) -> list[int]:
    """Buckets whose sums are not equal."""
    return np.flatnonzero((source.sums != stored.sums).any(axis=1)).tolist()


def differences(
    connection: duckdb.DuckDBPyConnection, source: str, stored: str, columns: Sequence[str]
) -> list[Difference]:
    """Every key whose row differs between two relations with ``key`` and the columns as text, in the order of keys."""
    unequal = ", ".join(
        f"CASE WHEN s.{identifier(c)} IS DISTINCT FROM t.{identifier(c)} THEN {literal(c.removeprefix('c_'))} END"
        for c in columns
    )
    firsts = ", ".join(f"first({identifier(c)} ORDER BY ALL) AS {identifier(c)}" for c in columns)
    found = connection.execute(
        f"WITH s AS (SELECT key, count(*) AS times, {firsts} FROM {source} GROUP BY key), "  # noqa: S608
        f"t AS (SELECT key, count(*) AS times, {firsts} FROM {stored} GROUP BY key) "
        "SELECT coalesce(s.key, t.key), s.times, t.times, "
        f"list_filter([{unequal}], lambda x: x IS NOT NULL) AS columns "
        "FROM s FULL JOIN t ON s.key = t.key "
        "WHERE s.times IS DISTINCT FROM t.times OR len(columns) > 0 ORDER BY 1"
    ).fetchall()
    return list(_named(found))


def _named(found: Iterable[tuple]) -> Iterable[Difference]:
    for key, in_source, in_store, columns in found:
        if in_store is None:
            yield Difference(key, "missing")
        elif in_source is None:
            yield Difference(key, "unexpected")
        elif in_store != in_source:
            yield Difference(key, "twice" if in_store > in_source else "missing")
        if in_store is not None and in_source is not None and columns:
            yield Difference(key, "differs", tuple(columns))
