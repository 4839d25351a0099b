"""What the lake holds of a migrated table, as it stands: newest revision of each key, rejects, and the balance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from pipelines import contracts
from pipelines.io.duckdb_lake import spilling
from pipelines.io.migration_lake import BRONZE, history_files
from pipelines.io.second_reading import Kpis, grouped
from pipelines.migration.declaration import SourceTable
from pipelines.migration.history_rows import REJECTS, REVIEW, outputs
from pipelines.migration.second_path import identifier, literal, stored_columns

DUPLICATES = "quarantine.duplicates"
_BALANCE = """
WITH came AS (SELECT raw_partition, raw_offset, count(*) AS times FROM raw GROUP BY ALL),
stood AS (SELECT raw_partition, raw_offset, count(*) AS times, {roles} FROM outputs GROUP BY ALL)
SELECT count(came.times), {sums}, count(*) FILTER (stood.times IS NULL),
  count(*) FILTER (came.times > 1 OR stood.times > 1), count(*) FILTER (came.times IS NULL)
FROM came FULL OUTER JOIN stood USING (raw_partition, raw_offset)
"""


class Rejected(NamedTuple):
    """A key that stands in quarantine.rejects, and why."""

    key: str
    rule: str
    reason: str


class Balance(NamedTuple):
    """received = kept + rejected + in review + duplicate, by anti-join of coordinates."""

    received: int
    kept: int
    rejected: int
    in_review: int
    duplicate: int
    missing: int
    twice: int
    unknown: int

    @property
    def closes(self) -> bool:
        """True where every row received stands in exactly one output."""
        outputs_together = self.kept + self.rejected + self.in_review + self.duplicate
        return not (self.missing or self.twice or self.unknown) and self.received == outputs_together


@contextmanager
def stored(
    table: SourceTable,
    topic: str,
    table_path: Callable[[str], Path],
    scratch: Path,
    *,
    memory_mb: int = 1024,
    coded: Callable[[str], str] = str,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with views ``raw`` (bronze), ``outputs``, ``rejects`` and ``live``: key and columns as text.

    ``coded`` makes the key as the target holds it out of the source's (a CRM's number stands nowhere in clear).
    """
    with spilling(scratch, memory_mb) as connection:
        connection.execute("SET preserve_insertion_order = false")
        for view, sql in _views(table, topic, table_path).items():
            connection.execute(f"CREATE TEMP VIEW {view} AS {sql}")
        _create_later(connection, coded)
        connection.execute(
            "CREATE TEMP VIEW live AS SELECT s.* EXCLUDE (stored_key), stored_key AS key FROM kept s "
            "LEFT JOIN later ON s.stored_key = later.key "
            "WHERE later.key IS NULL OR (s.source_revision >= coalesce(later.revision, 0) "
            "AND NOT coalesce(later.deleted, false))"
        )
        yield connection


def _create_later(connection: duckdb.DuckDBPyConnection, coded: Callable[[str], str]) -> None:
    """The few keys that have a later revision: what stands there under an earlier one counts no more."""
    found = connection.execute(
        "SELECT decode(key_bytes), max((headers->>'revision')::INTEGER), "
        "arg_max((headers->>'deleted')::BOOLEAN, (headers->>'revision')::INTEGER) FROM raw "
        "WHERE headers IS NOT NULL GROUP BY 1"
    ).fetchall()
    keys, revisions, deleted = zip(*found, strict=True) if found else ((), (), ())
    arrays = [keys, list(map(coded, keys)), revisions, deleted]
    schema = pa.schema(
        [("source_key", pa.string()), ("key", pa.string()), ("revision", pa.int32()), ("deleted", pa.bool_())]
    )
    columns = [pa.array(values, field.type) for values, field in zip(arrays, schema, strict=True)]
    connection.register("later", pa.table(columns, schema=schema))


def _views(table: SourceTable, topic: str, table_path: Callable[[str], Path]) -> dict[str, str]:
    parts = []
    for target in table.targets:
        there = {f.name for f in contracts.table(target).fields}
        columns = stored_columns(table, target, there)
        rest = "source_revision, raw_partition, raw_offset, occurred_at, " + _figures(table)
        parts.append(f"SELECT {columns}, {rest} FROM ({_scan(table_path(target), topic)})")  # noqa: S608
    names = (*outputs(table), DUPLICATES)
    coordinates = [
        f"SELECT {literal(_role(name))} AS role, raw_partition, raw_offset FROM ({_scan(table_path(name), topic)})"  # noqa: S608
        for name in names
    ]
    return {
        "raw": _scan(table_path(BRONZE), topic),
        "kept": " UNION ALL ".join(parts),
        "rejects": _scan(table_path(REJECTS), topic),
        "outputs": " UNION ALL ".join(coordinates),
    }


def _figures(table: SourceTable) -> str:
    by = grouped(table)
    channel = "channel" if by.channel else literal(table.record_channel)
    return ", ".join([f"{channel} AS channel_word", *(f"{identifier(m.target)} AS m_{m.target}" for m in by.measures)])


def _role(name: str) -> str:
    return {REJECTS: "rejected", REVIEW: "in_review", DUPLICATES: "duplicate"}.get(name, "kept")


def _scan(path: Path, topic: str) -> str:
    """All rows of the topic; without a file an empty table of the contract's columns."""
    name = f"{path.parent.name}.{path.name}"
    files = history_files(path, topic)
    empty = ", ".join(f"NULL::{_duck(f.type)} AS {identifier(f.name)}" for f in contracts.table(name).fields)
    parts = [f"SELECT {empty} WHERE false"]
    if files:
        listed = ", ".join(map(literal, files))
        parts.append(f"SELECT * FROM read_parquet([{listed}], hive_partitioning=false, union_by_name=true)")  # noqa: S608
    return f"SELECT * FROM ({' UNION ALL BY NAME '.join(parts)}) WHERE raw_topic = {literal(topic)}"  # noqa: S608


def _duck(kind: str) -> str:
    return {"string": "VARCHAR", "json": "VARCHAR", "int": "INTEGER", "long": "BIGINT", "double": "DOUBLE",
            "boolean": "BOOLEAN", "timestamp": "TIMESTAMPTZ", "date": "DATE", "binary": "BLOB"}[kind]  # fmt: skip


def rejected(connection: duckdb.DuckDBPyConnection) -> list[Rejected]:
    """Keys whose newest revision is a reject."""
    found = connection.execute(
        "SELECT decode(raw.key_bytes), rejects.rule, rejects.reason FROM rejects "
        "JOIN raw USING (raw_partition, raw_offset) LEFT JOIN later ON later.source_key = decode(raw.key_bytes) "
        "WHERE later.key IS NULL OR (coalesce((raw.headers->>'revision')::INTEGER, 0) >= later.revision "
        "AND NOT later.deleted) ORDER BY ALL"
    ).fetchall()
    return [Rejected(*row) for row in found]


def balance(connection: duckdb.DuckDBPyConnection) -> Balance:
    """Received against the outputs, by coordinate."""
    roles = ("kept", "rejected", "in_review", "duplicate")
    counted = ", ".join(f"count(*) FILTER (role = '{role}') AS {role}" for role in roles)
    sums = ", ".join(f"coalesce(sum({role}), 0)::BIGINT" for role in roles)
    return Balance(*connection.execute(_BALANCE.format(roles=counted, sums=sums)).fetchone())


def stored_kpis(connection: duckdb.DuckDBPyConnection, table: SourceTable) -> Kpis:
    """The same figures as `pipelines.io.second_reading.source_kpis`, of what stands in the lake."""
    by = grouped(table)
    numbers = ["count(*)"]
    for measure in by.measures:
        value = f"m_{measure.target}"
        numbers += [f"count({value})", f"coalesce(sum(round({value} * 1000)::BIGINT), 0)"]
    found = connection.execute(
        f"SELECT strftime(occurred_at AT TIME ZONE {literal(by.at.time_zone)}, '%Y-%m'), channel_word, "  # noqa: S608
        f"{', '.join(numbers)} FROM live GROUP BY 1, 2"
    ).fetchall()
    return {(month, channel): tuple(map(int, rest)) for month, channel, *rest in found}


__all__ = ["Balance", "Rejected", "balance", "rejected", "stored", "stored_kpis"]
