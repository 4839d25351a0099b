"""The links that counted at two versions of silver.identity_links, and the identifiers whose links differ."""

from __future__ import annotations

import duckdb

from pipelines.io.lake_span import Span


def read_links(connection: duckdb.DuckDBPyConnection, span: Span) -> bool:
    """Tables links_before and links (the newest recording of each token) and moved_tokens, where they differ; any?"""
    changed = span.rows(tuple({*span.came, *span.went}))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE changed_tokens AS SELECT DISTINCT token FROM {changed}")  # noqa: S608
    connection.execute(f"CREATE OR REPLACE TEMP TABLE links AS {_newest_links(span.rows(span.now))}")
    before = f"(FROM {span.rows(span.before)} SEMI JOIN changed_tokens USING (token))"
    connection.execute(  # of a million tokens a day records some hundred: the others stand as they stood
        "CREATE OR REPLACE TEMP TABLE links_before AS FROM links ANTI JOIN changed_tokens USING (token) "
        f"UNION ALL {_newest_links(before)}"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE moved_tokens AS SELECT token "  # noqa: S608
        f"FROM ({_stretches('links_before')}) b FULL JOIN ({_stretches('links')}) n USING (token) "
        "WHERE b.s IS DISTINCT FROM n.s"
    )
    return bool(connection.table("moved_tokens").limit(1).fetchall())


def _stretches(links: str) -> str:
    stretch = "{'from': valid_from_at, 'to': valid_to_at, 'of': customer_id}"
    return (
        f"SELECT token, list_sort(list(DISTINCT {stretch})) AS s FROM {links} "  # noqa: S608
        "SEMI JOIN changed_tokens USING (token) GROUP BY token"
    )


def _newest_links(rows: str) -> str:
    return (
        "SELECT token, valid_from_at, valid_to_at, customer_id, "  # noqa: S608
        f"coalesce(recorded_at, valid_from_at) AS recorded_at FROM {rows} "
        "QUALIFY rank() OVER (PARTITION BY token ORDER BY coalesce(recorded_at, valid_from_at) DESC) = 1"
    )
