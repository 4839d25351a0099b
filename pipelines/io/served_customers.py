"""gold.customer_360 in MariaDB, for agents: what a build changed is written, in one transaction, by one writer.

What MariaDB holds is compared with the published Delta version by a hash of each row, so a build costs what it changed,
a second run writes nothing, and a run after a crash, a restored backup or a lost table writes what is missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable
from sqlalchemy import Connection, Engine, text

from pipelines import contracts
from pipelines.io.bulk_rows import insert_rows, load_rows
from pipelines.io.lake_tables import arrow_files
from pipelines.io.mariadb_tables import char_limits, clipped, ensure_table

log = logging.getLogger(__name__)

TABLE, BUILDS = "serving.customer_360", "serving.builds"
GOLD, TAGS = "gold.customer_360", "gold.customer_tags"
NAME, BUILDS_NAME = "customer_360", "serving_builds"
NAMES = {TABLE: NAME, BUILDS: BUILDS_NAME}
_NOT_CONTENT = frozenset({"as_of_at", "content_hash"})
_NULL, _BETWEEN = "\x00", "\x1f"


class GoldMoved(RuntimeError):
    """The published table got another version while its rows were being written; nothing was written."""


@dataclass(frozen=True)
class Served:
    """What a run did: rows written (new and changed), removed, left as they were, and the instant they all hold for."""

    written: int
    removed: int
    unchanged: int
    as_of_at: datetime | None


def create_tables(connection: Connection) -> None:
    """Make what is not there yet; new columns of the contract are added."""
    for declared, name in NAMES.items():
        ensure_table(connection, name, contracts.mariadb_ddl(contracts.table(declared), name=name))


def serve(
    engine: Engine, paths: Mapping[str, Path], *, scratch: Path | None, policy: Mapping[str, Any], anew: bool = False
) -> Served | None:
    """Bring MariaDB to the newest published version; None while there is none.

    Args:
        paths: folder of GOLD and of TAGS; a table of tags that is not there yet tags nobody.
        scratch: private folder for rows on their way (LOAD DATA LOCAL); None: they are inserted.
        policy: part `publish` of policy lookup.
        anew: write every row again, whatever the hashes say.

    Raises:
        GoldMoved: a build or an erasure was faster, `most_tries` times.
        RowsRefused, sqlalchemy.exc.DBAPIError: nothing was written.
    """
    with engine.begin() as connection:
        create_tables(connection)
    for _ in range(policy["most_tries"]):
        versions = _versions(paths)
        if GOLD not in versions:
            return None
        try:
            return _served(engine, paths, versions, scratch, policy, anew)
        except GoldMoved as moved:
            log.info("%s; once more", moved)
    raise GoldMoved(f"{GOLD} got a new version again and again while it was being served; run it again")


def _served(
    engine: Engine,
    paths: Mapping[str, Path],
    versions: dict[str, str],
    scratch: Path | None,
    policy: Mapping[str, Any],
    anew: bool,
) -> Served:
    told = json.dumps(versions, sort_keys=True)
    with engine.begin() as connection:
        # The row's lock makes a second writer wait, and then find nothing left to do.
        connection.execute(text(f"INSERT IGNORE INTO {BUILDS_NAME} (table_name) VALUES (:t)"), {"t": TABLE})  # noqa: S608
        build = connection.execute(
            text(f"SELECT source_versions, rows_served, as_of_at FROM {BUILDS_NAME} WHERE table_name = :t FOR UPDATE"),  # noqa: S608
            {"t": TABLE},
        ).one()
        if not anew and build.source_versions == told and build.rows_served == _count(connection):
            return Served(0, 0, build.rows_served, build.as_of_at)
        rows = _published(paths)
        held = _held(connection) if not anew else {}
        hashes = dict(rows.select("customer_id", "content_hash").iter_rows())
        fresh = rows.filter(pl.Series([held.get(c) != h for c, h in hashes.items()], dtype=pl.Boolean))
        gone = [c for c in held if c not in hashes]
        outdated = [c for c in fresh["customer_id"] if c in held]
        if anew:
            connection.execute(text(f"DELETE FROM {NAME}"))  # noqa: S608
        _delete(connection, [*gone, *outdated], policy["delete_rows"])
        _write(connection, fresh, scratch, policy["load_rows"])
        as_of_at = rows["as_of_at"].max()
        _tell(connection, told, rows.height, as_of_at)
        if _versions(paths) != versions:  # an erasure took a person out of the lake: they must not come back here
            raise GoldMoved(f"{GOLD} got another version meanwhile")
    return Served(fresh.height, len(gone), rows.height - fresh.height, as_of_at)


def _versions(paths: Mapping[str, Path]) -> dict[str, str]:
    """Table → its ID and newest version; a table made anew begins at 0 again under another ID."""
    found = {}
    for name, path in paths.items():
        if DeltaTable.is_deltatable(str(path)):
            table = DeltaTable(str(path))
            found[name] = f"{table.metadata().id}@{table.version()}"
    return found


def _published(paths: Mapping[str, Path]) -> pl.DataFrame:
    """The rows as they are to stand in MariaDB; a column that the published table does not have yet is NULL."""
    declared = contracts.table(TABLE)
    frame = _read(paths[GOLD], [f.name for f in declared.fields])
    if DeltaTable.is_deltatable(str(paths[TAGS])):
        frame = frame.join(tags_by_customer(_read(paths[TAGS], ["customer_id", "tag", "tag_value"])),
                           on="customer_id", how="left", maintain_order="left")  # fmt: skip
    types = pl.from_arrow(contracts.arrow_schema(declared).empty_table()).schema
    there = [pl.col(n) if n in frame.columns else pl.lit(None, kind).alias(n) for n, kind in types.items()]
    frame = frame.select(there)
    return frame.with_columns(content_hashes(frame))


def _read(path: Path, wanted: list[str]) -> pl.DataFrame:
    table = DeltaTable(str(path))
    present = [field.name for field in table.schema().fields]
    columns = [name for name in wanted if name in present]
    return pl.from_arrow(table.to_pyarrow_table(columns=columns, filesystem=arrow_files(path)))


def tags_by_customer(tags: pl.DataFrame) -> pl.DataFrame:
    """customer_id and `tags`: a JSON object of each customer's tags, in the order of their names.

    >>> tags_by_customer(pl.DataFrame({"customer_id": ["c_1", "c_1"], "tag": ["value_tier", "gender"],
    ...     "tag_value": ["high", "female"]})).rows()
    [('c_1', '{"gender":"female","value_tier":"high"}')]
    """
    grouped = tags.sort("customer_id", "tag").group_by("customer_id", maintain_order=True).agg("tag", "tag_value")
    told = [
        json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False, separators=(",", ":"))
        for names, values in grouped.select("tag", "tag_value").iter_rows()
    ]
    return pl.DataFrame({"customer_id": grouped["customer_id"], "tags": pl.Series(told, dtype=pl.String)})


def content_hashes(frame: pl.DataFrame) -> pl.Series:
    """A hash of each row that changes with any of its values; when it was computed (as_of_at) is none of them.

    >>> a, b, c = content_hashes(pl.DataFrame({"customer_id": ["1", "1", "1"], "contacts": [2, 2, None],
    ...     "as_of_at": [10, 11, 10]}))
    >>> a == b, a == c
    (True, False)
    """
    names = [name for name in frame.columns if name not in _NOT_CONTENT]
    told = frame.select(
        pl.concat_str([pl.col(name).cast(pl.String).fill_null(_NULL) for name in names], separator=_BETWEEN)
    )
    hashes = [hashlib.sha256(row.encode()).hexdigest()[:32] for row in told.to_series()]
    return pl.Series("content_hash", hashes, dtype=pl.String)


def _count(connection: Connection) -> int:
    return connection.execute(text(f"SELECT COUNT(*) FROM {NAME}")).scalar_one()  # noqa: S608


def _held(connection: Connection) -> dict[str, str]:
    query = text(f"SELECT customer_id, content_hash FROM {NAME}")  # noqa: S608
    return dict(tuple(row) for row in connection.execute(query))


def _delete(connection: Connection, customers: list[str], at_once: int) -> None:
    for start in range(0, len(customers), at_once):
        part = customers[start : start + at_once]
        marks = ", ".join(["%s"] * len(part))
        connection.exec_driver_sql(f"DELETE FROM {NAME} WHERE customer_id IN ({marks})", tuple(part))  # noqa: S608


def _write(connection: Connection, fresh: pl.DataFrame, scratch: Path | None, at_once: int) -> None:
    if scratch is not None and not connection.exec_driver_sql("SELECT @@local_infile").scalar_one():
        scratch = None
    rows, _ = clipped(fresh, char_limits(connection, NAME))
    rows = rows.with_columns(pl.selectors.boolean().cast(pl.Int8))  # "true" is no number to LOAD DATA
    for part in rows.iter_slices(at_once):
        if scratch is None:
            insert_rows(connection, NAME, part)
        else:
            load_rows(connection, NAME, part, scratch)


def _tell(connection: Connection, versions: str, rows: int, as_of_at: datetime | None) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    connection.execute(
        text(
            f"UPDATE {BUILDS_NAME} SET source_versions = :v, rows_served = :n, as_of_at = :a, served_at = :s"  # noqa: S608
            " WHERE table_name = :t"
        ),
        {"v": versions, "n": rows, "a": as_of_at and as_of_at.replace(tzinfo=None), "s": now, "t": TABLE},
    )
