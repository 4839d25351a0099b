"""The identity state out of a backup: the newest dump, brought to what the restored tables say, and topic identity.map.

The dump is of another moment than the tables. Whoever was seen shortly before it, or in a message that was taken out
and will be judged again, is counted anew in the tables, so each sighting counts once whatever the dump knew of it.
"""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import orjson
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from sqlalchemy import Engine

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.backup import store
from pipelines.backup.manifest import State
from pipelines.backup.sealed_files import open_bytes
from pipelines.backup.sightings import differing
from pipelines.backup.soundness import newest_sound
from pipelines.identity.changes import Link, map_record
from pipelines.identity.evidence import TOKEN_COLUMNS, of_messages
from pipelines.identity.register_records import of_records
from pipelines.io import backup_identity, lake_tables
from pipelines.io import identity_rows as rows
from pipelines.io.backup_round import IDENTITY
from pipelines.io.identity_sightings import SCHEMA
from pipelines.io.identity_store import MAP_TOPIC, Author, IdentityStore
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish
from pipelines.privacy.keys import MasterKey

# Tables of the topics that the identity resolver follows.
TOLD_BY = ("silver.interactions", "silver.feedback", "silver.customers", "silver.orders")
# How long before the dump a sighting may not have been taken in by it: the resolver follows its topics within seconds.
_MARGIN_US = 600_000_000
_AUTHOR = Author("restore", "identifiers seen together, as the restored tables have them")


def identity(settings: Settings, folder: Path, state: State, key: MasterKey, taken_out: pl.DataFrame) -> dict[str, int]:
    """Bring the state back; rows by table. `taken_out`: what the messages told that will be judged again (SCHEMA)."""
    engine = connect(settings.database_url)
    with engine.begin() as connection:
        rows.create_tables(connection)
        for name in rows.TABLES:
            connection.exec_driver_sql(f"DELETE FROM {rows.sql_name(name)}")  # noqa: S608 - a name of ours
    dumps = [line for path, line in sorted(state.of(IDENTITY).items()) if (folder / path).exists()]
    if not dumps:  # an erasure since then took the older ones
        dumps = list(newest_sound(folder).of(IDENTITY).values())
    written: dict[str, int] = {}
    since_us = 0
    if dumps:
        line = dumps[-1]
        parts = backup_identity.unpack(open_bytes(store.read_out(folder, line), key, line["path"]))
        since_us = int(line["at"] * 1e6) - _MARGIN_US
        with engine.begin() as connection:
            written = backup_identity.load(connection, parts)
    written["claims counted again"] = _count_again(engine, settings, since_us, taken_out)
    written[MAP_TOPIC] = _publish_map(settings, engine)
    engine.dispose()
    return written


def _count_again(engine: Engine, settings: Settings, since_us: int, taken_out: pl.DataFrame) -> int:
    policy = contracts.policy("identity")
    resolution = policy["resolution"]
    lately = pl.concat([told(settings, name, f"epoch_us(processed_at) >= {since_us}") for name in TOLD_BY])
    records = of_records(lately.filter(pl.col("record_key").is_not_null()), resolution)
    said = pl.concat([lately.filter(pl.col("record_key").is_null()), taken_out.filter(pl.col("record_key").is_null())])
    concerned = of_messages(said, resolution)["record_key"].unique().to_list()
    every = pl.concat([told(settings, name, _carries(said)) for name in TOLD_BY if name != "silver.customers"])
    seen = of_messages(every.sort("processed_at"), resolution).filter(pl.col("record_key").is_in(concerned))
    with engine.begin() as connection:
        held = rows.claims_of_records(connection, concerned)
        numbers = dict(held.select("record_key", "record_seq").unique().iter_rows())
        out, fresh = differing(held, seen)
        for part in rows.chunks(out.rows()):
            marks = ", ".join(["(%s, %s)"] * len(part))
            connection.exec_driver_sql(
                f"DELETE FROM identity_claims WHERE (record_key, token) IN ({marks})",  # noqa: S608
                tuple(value for pair in part for value in pair),
            )
    # A record keeps the place it had: who is older names the customer.
    place = pl.col("record_key").replace_strict(numbers, default=2**62, return_dtype=pl.Int64)
    evidence = pl.concat([records.claims, fresh.sort(place, maintain_order=True)])
    if not evidence.is_empty():
        identities = IdentityStore(engine, policy)
        identities.learn(evidence, at_us=time.time_ns() // 1000, author=_AUTHOR, revisions=records.revisions)
    return fresh.height + out.height


def _carries(said: pl.DataFrame) -> str:
    """SQL condition of messages with an identifier of `said`; they are hexadecimal with a prefix, never a quote."""
    tokens: set[str] = set()
    for column in TOKEN_COLUMNS:
        tokens.update(said[column].drop_nulls())
    if not tokens:
        return "false"
    listed = ", ".join(f"'{token}'" for token in sorted(tokens) if token.replace("_", "").isalnum())
    return " OR ".join(f"{{{column}}} IN ({listed})" for column in TOKEN_COLUMNS)


def told(settings: Settings, name: str, where: str) -> pl.DataFrame:
    """What rows of a table tell the resolver: its SCHEMA, instants in microseconds, and processed_at.

    Not those of history from another system: the resolver was never told of them (DECISIONS 48).

    `where`: SQL over the table's columns; ``{column}`` is NULL in a table that has no such column.
    """
    wanted = {field.name: field.type for field in SCHEMA} | {"processed_at": pa.int64()}
    none = pl.from_arrow(pa.schema(list(wanted.items())).empty_table())
    path = settings.table_path(name)
    files = lake_tables.files(DeltaTable(path), path) if (path / "_delta_log").exists() else []
    if not files:
        return none
    with duckdb.connect() as connection:
        there = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
        named = {column: column if column in there.columns else "NULL" for column in TOKEN_COLUMNS}
        instants = {column for column, kind in zip(there.columns, there.types, strict=True) if "TIME" in str(kind)}
        columns = [
            f"epoch_us({column}) AS {column}" if column in instants else column
            for column in wanted
            if column in there.columns
        ]
        of_the_stream = there.filter("raw_topic NOT LIKE 'history.%'")
        found = of_the_stream.filter(where.format(**named)).project(", ".join(columns)).to_arrow_table()
    frame = pl.from_arrow(found)
    return pl.concat([none, frame.select(pl.col(c).cast(none.schema[c]) for c in frame.columns)], how="diagonal")


def told_by(settings: Settings, where: str) -> pl.DataFrame:
    """`told` of all tables."""
    return pl.concat([told(settings, name, where) for name in TOLD_BY])


def _publish_map(settings: Settings, engine: Engine) -> int:
    version, now_us = contracts.policy("identity")["version"], time.time_ns() // 1000
    names = ", ".join(Link._fields)
    by_token: dict[str, list[Link]] = {}
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"SELECT {names} FROM identity_current_links ORDER BY token, stretch")  # noqa: S608
        for row in found:
            link = Link(*row)
            from_us, to_us = (rows.microseconds(at) for at in (link.valid_from_at, link.valid_to_at))
            by_token.setdefault(link.token, []).append(link._replace(valid_from_at=from_us, valid_to_at=to_us))
    current = {token: map_record(links, version, now_us) for token, links in by_token.items()}
    return publish(settings.bootstrap, MAP_TOPIC, [(t, orjson.dumps(r)) for t, r in current.items() if r is not None])
