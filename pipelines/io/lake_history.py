"""One customer's contacts out of the lake: ten years of them, where the serving database holds the recent ones.

History is written with its rows in the order of the phone's token, in small row groups with Bloom filters, so a look-up
reads the footers of the files and one row group of each that holds the customer; it never scans.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import duckdb
import polars as pl
from deltalake import DeltaTable

from pipelines.identity.provisional import provisional_id_of
from pipelines.io import lake_tables
from pipelines.service.history import COLUMNS, Contact

TABLES = ("silver.interactions", "silver.feedback")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEEDED = (*COLUMNS, "received_at", "source_message_id", "source_revision", "account")


def history_of_customers(lake: Path, customer_ids: Sequence[str], limit: int) -> list[Contact]:
    """The latest ``limit`` contacts under these customer IDs, newest first, each in its newest revision."""
    with duckdb.connect() as connection:
        return _newest(connection, _files(lake, "customer_id", customer_ids), "customer_id", customer_ids, limit)


def history_of_phone(lake: Path, phone_token: str, limit: int) -> list[Contact]:
    """The latest contacts of whoever ever gave this phone, on any channel, under any customer ID.

    A contact that came before the phone was linked stands under a provisional ID; it is found through the token.
    """
    with duckdb.connect() as connection:
        files = _files(lake, "phone_token", [phone_token])
        given = _newest(connection, files, "phone_token", [phone_token], limit)
        # Whoever is named by this very phone has no row without it.
        known = {contact.customer_id for contact in given} - {None, provisional_id_of(phone_token)}
        wanted = sorted(known)
        others = (
            _newest(connection, _files(lake, "customer_id", wanted), "customer_id", wanted, limit) if wanted else []
        )
    distinct = {contact.event_id: contact for contact in [*given, *others]}
    return sorted(distinct.values(), key=lambda contact: contact.occurred_at, reverse=True)[:limit]


def _files(lake: Path, column: str, values: Sequence[str]) -> list[str]:
    """Files that may hold one of the values: those of which the log's statistics say nothing are among them."""
    found: list[str] = []
    for name in TABLES if values else ():
        path = lake.joinpath(*name.split("."))
        if not (path / "_delta_log").exists():
            continue
        table = DeltaTable(str(path))
        lake_tables.require_plain_files(name, table)
        # Not through pyarrow, which would import pandas first: three seconds of the first look-up on a busy machine.
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
        bounds = (f"min.{column}", f"max.{column}")
        if not set(bounds) <= set(actions.columns):
            found += lake_tables.files(table, path)
            continue
        for file, least, greatest in zip(*(actions[n].to_list() for n in ("path", *bounds)), strict=True):
            if least is None or any(least <= value <= greatest for value in values):
                found.append(str(path / unquote(file)))
    return found


def _newest(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], column: str, values: Sequence[str], limit: int
) -> list[Contact]:
    if not files or not values:
        return []
    wanted = ", ".join(_NEEDED)
    # `IN` with one value is an equality for DuckDB, which is what a Bloom filter answers.
    given = f"{column} = ?" if len(values) == 1 else f"{column} IN ({', '.join('?' * len(values))})"
    rows = connection.execute(
        # Instants as numbers: for a time with a zone DuckDB would import pytz and look through its 600 files.
        f"SELECT epoch_us(occurred_at), {', '.join(COLUMNS[1:])} FROM (SELECT {wanted} "  # noqa: S608
        f"FROM read_parquet(?, hive_partitioning=false, union_by_name=false) WHERE {given}) "
        "QUALIFY row_number() OVER (PARTITION BY channel, account, coalesce(source_message_id, event_id) "
        "ORDER BY source_revision DESC NULLS LAST, received_at DESC) = 1 "
        "ORDER BY occurred_at DESC, received_at DESC LIMIT ?",
        [list(files), *values, limit],
    ).fetchall()
    return [Contact(_EPOCH + timedelta(microseconds=at_us), *rest) for at_us, *rest in rows]
