"""Which silver rows a gold build did not know, or may know under another customer by now, out of the tables' logs.

Cheap by design: files that both versions hold are not compared, and where neither rows nor links came, nothing is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from pipelines import contracts
from pipelines.io.duckdb_lake import quoted
from pipelines.io.lake_links import read_links
from pipelines.io.lake_span import Span, VersionGone

LINKS = "silver.identity_links"
# What makes two rows the same message or record, one replacing the other (see newest_revisions and newest_records).
_MESSAGE = (
    "concat_ws('/', channel, account, coalesce('id:' || source_message_id, concat_ws('/', coalesce(first_topic, "
    "raw_topic), coalesce(first_partition, raw_partition), coalesce(first_offset, raw_offset))))"
)
_SAME = {
    "silver.interactions": ("message", _MESSAGE),
    "silver.feedback": ("message", _MESSAGE),
    "silver.customers": ("customer", "record_key"),
    "silver.orders": ("order", "concat_ws('/', account, order_id)"),
}
# Of these the newest before an instant counts; of a message the newest there is, whenever it is dated.
_RECORDS = {"silver.customers", "silver.orders"}
# A phone nobody has verified finds no customer (pipelines/tables/customer_base.py).
_UNVERIFIED = {("silver.customers", "phone_token"): "CASE WHEN phone_verified THEN phone_token END"}
_COORDINATES = "raw_topic, raw_partition, raw_offset"


class Between(NamedTuple):
    """Rows of ``table`` whose ``column``, an instant, lies at or after ``begin_at`` and before ``end_at``."""

    table: str
    column: str
    begin_at: datetime
    end_at: datetime


class Touched(NamedTuple):
    """Parquet files: `rows` that came or may have moved, and the newest links of their identifiers, then and now.

    `rows` has nth (its own number), source_table, customer_id, identity_status, occurred_at, the tokens, `fresh` (the
    row came since) and `late` (it, or another revision of its message or record, came since).
    """

    rows: Path
    links_before: Path
    links: Path


def touched(
    connection: duckdb.DuckDBPyConnection,
    paths: Mapping[str, Path],
    before: Mapping[str, int | None],
    now: Mapping[str, int | None],
    *,
    tokens: Sequence[str],
    until: datetime,
    folder: Path,
    also: Sequence[Between] = (),
) -> Touched | None:
    """Rows about what occurred before `until` that came between the versions, or whose identifiers' links changed.

    `paths` names LINKS and any of the tables of `_SAME`, `before` and `now` their versions (None: not there); rows of
    `also` are taken whenever they came. None where there is no such row. The connection's temporary tables are used.
    Raises VersionGone.
    """
    connection.execute("SET TimeZone = 'UTC'")
    spans = {name: Span.of(name, path, before.get(name), now.get(name)) for name, path in paths.items()}
    links_moved = read_links(connection, spans.pop(LINKS))
    for span in spans.values():
        _require_rows(connection, span)
    wanted = {name: [one for one in also if one.table == name] for name in spans}
    came = [_came(span, until) for span in spans.values() if span.came]
    came += [_in_time(spans[name], until, wanted[name]) for name in _RECORDS & spans.keys() if wanted[name]]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE came AS {' UNION ALL '.join(came or [_NOTHING_CAME])}")
    found = [_rows(span, tokens, wanted[name]) for name, span in spans.items() if span.now]
    if not found or not (links_moved or also or connection.table("came").limit(1).fetchall()):
        return None
    connection.execute(f"CREATE OR REPLACE TEMP TABLE touched AS {' UNION ALL '.join(found)}", {"until": until})
    return _written(connection, "touched", tokens, folder)


def touched_then(
    connection: duckdb.DuckDBPyConnection, *, tokens: Sequence[str], until: datetime, folder: Path
) -> Touched | None:
    """What `touched` finds with an earlier `until` and no `also`, out of what it found on this connection just now."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE counted AS FROM came WHERE news AND (kind = 'message' OR occurred_at < $until)",
        {"until": until},
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE touched_then AS SELECT * FROM (
          SELECT * REPLACE (
            (kind, {_COORDINATES}) IN (SELECT (kind, {_COORDINATES}) FROM counted) AS fresh,
            same IS NOT NULL AND (kind, same) IN (SELECT (kind, same) FROM counted) AS late)
          FROM touched WHERE occurred_at < $until)
        WHERE late OR moved""",  # noqa: S608
        {"until": until},
    )
    return _written(connection, "touched_then", tokens, folder)


def _require_rows(connection: duckdb.DuckDBPyConnection, span: Span) -> None:
    """Raises VersionGone where rows of the earlier version are in the later one no more."""
    if not span.went:
        return
    went, came = (f"SELECT {_COORDINATES} FROM {span.rows(files)}" for files in (span.went, span.came))  # noqa: S608
    lost = connection.execute(f"FROM ({went}) ANTI JOIN ({came}) USING ({_COORDINATES}) LIMIT 1").fetchone()
    if lost is not None:
        raise VersionGone(f"{span.name}: rows were taken out since, e.g. {'/'.join(map(str, lost))}: an erasure")


_NOTHING_CAME = (
    "SELECT '' AS kind, '' AS same, '' AS raw_topic, 0 AS raw_partition, 0 AS raw_offset, "
    "NULL::TIMESTAMPTZ AS occurred_at, true AS news WHERE false"
)


def _came(span: Span, until: datetime) -> str:
    kind, same = _SAME[span.name]
    rows = f"SELECT * FROM {span.rows(span.came)} WHERE {_counts(kind, until)}"  # noqa: S608
    went = f"SELECT {_COORDINATES} FROM {span.rows(span.went)}"  # noqa: S608
    new = f"({rows}) ANTI JOIN ({went}) USING ({_COORDINATES})"
    return f"SELECT '{kind}' AS kind, {same} AS same, {_COORDINATES}, occurred_at, true AS news FROM {new}"  # noqa: S608


def _counts(kind: str, until: datetime) -> str:
    """The condition of rows that may replace another before `until`: any revision of a message, no later record."""
    return "true" if kind == "message" else f"occurred_at < TIMESTAMPTZ '{until.isoformat()}'"


def _in_time(span: Span, until: datetime, also: Sequence[Between]) -> str:
    """Records that replace an earlier revision, perhaps somebody else's, from an instant of `also` on."""
    kind, same = _SAME[span.name]
    return (
        f"SELECT '{kind}' AS kind, {same} AS same, {_COORDINATES}, occurred_at, false AS news "  # noqa: S608
        f"FROM {span.rows(span.now)} "
        f"WHERE {_counts(kind, until)} AND ({_within(also)})"
    )


def _within(also: Sequence[Between]) -> str:
    return " OR ".join(
        f"({quoted(one.column)} >= TIMESTAMPTZ '{one.begin_at.isoformat()}' "
        f"AND {quoted(one.column)} < TIMESTAMPTZ '{one.end_at.isoformat()}')"
        for one in also
    )


def identifiers(table: str, tokens: Sequence[str]) -> dict[str, str]:
    """What a row of a silver table holds of each identifier, as expressions; NULL where the table has none of them."""
    columns = {f.name for f in contracts.table(table).fields}
    return {t: _UNVERIFIED.get((table, t), quoted(t)) if t in columns else "NULL::VARCHAR" for t in tokens}


def same_as(table: str) -> str:
    """The expression that is equal for rows of one message, record or order."""
    return _SAME[table][1]


def _rows(span: Span, tokens: Sequence[str], also: Sequence[Between]) -> str:
    kind, same = _SAME[span.name]
    held = identifiers(span.name, tokens)
    columns = {f.name for f in contracts.table(span.name).fields}
    moved = " OR ".join(f"{held[t]} IN (FROM moved_tokens)" for t in tokens if t in columns)
    listed = ", ".join(f"{expression} AS {quoted(t)}" for t, expression in held.items())
    return f"""
      SELECT * EXCLUDE (within) FROM (
        SELECT '{span.name}' AS source_table, '{kind}' AS kind, {same} AS same, {_COORDINATES},
          customer_id, identity_status, occurred_at, {listed},
          ({_COORDINATES}) IN (SELECT ({_COORDINATES}) FROM came WHERE kind = '{kind}') AS fresh,
          {same} IN (SELECT same FROM came WHERE kind = '{kind}') AS late,
          {moved} AS moved, {_within(also) or "false"} AS within
        FROM {span.rows(span.now)} WHERE occurred_at < $until)
      WHERE late OR moved OR within"""  # noqa: S608


def _written(
    connection: duckdb.DuckDBPyConnection, found: str, tokens: Sequence[str], folder: Path
) -> Touched | None:  # fmt: skip
    """The rows of the temporary table `found` as files; None where there are none."""
    if not connection.table(found).limit(1).fetchall():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    files = Touched(folder / "rows.parquet", folder / "links_before.parquet", folder / "links.parquet")
    rows = f"SELECT row_number() OVER () AS nth, * EXCLUDE (kind, same, {_COORDINATES}, moved) FROM {found}"  # noqa: S608
    connection.sql(rows).write_parquet(str(files.rows))
    held = " UNION ".join(f"SELECT {quoted(t)} AS token FROM {found}" for t in tokens)  # noqa: S608
    for name, path in (("links_before", files.links_before), ("links", files.links)):
        connection.sql(f"SELECT * FROM {name} SEMI JOIN ({held}) USING (token)").write_parquet(str(path))  # noqa: S608
    return files
