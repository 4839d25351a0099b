"""What restored services read at their start: MariaDB's state and compacted topics, out of lake and backup."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable
from sqlalchemy import Connection, Engine, text

from infra.stack import mariadb
from infra.stack.settings import AUDIT_DATABASE, Settings
from pipelines import contracts
from pipelines.backup import store
from pipelines.backup.manifest import State
from pipelines.backup.sealed_files import open_bytes
from pipelines.backup.soundness import newest_sound
from pipelines.identity.changes import Link, map_record
from pipelines.identity.evidence import of_messages
from pipelines.identity.register_records import of_records
from pipelines.io import backup_identity, backup_topics, lake_tables
from pipelines.io.backup_round import IDENTITY
from pipelines.io.committed_log import CommittedLog
from pipelines.io.delta import Move
from pipelines.io.identity_rows import TABLES, create_tables, instant, microseconds, sql_name
from pipelines.io.identity_sightings import SCHEMA
from pipelines.io.identity_store import MAP_TOPIC, Author, IdentityStore
from pipelines.io.mariadb import MariaStore, connect
from pipelines.io.publisher import publish
from pipelines.io.tiering_service import open_table
from pipelines.privacy.keys import MasterKey

AUDIT, VAULT, SERVED = "audit.log", "identity.vault", "silver.interactions"
# Tables of the topics that the identity resolver follows.
TOLD_BY = ("silver.interactions", "silver.feedback", "silver.customers", "silver.orders")
_SERVED_ROWS = 10_000
# How long before the dump a sighting may have been taken in by it: the resolver follows its topics within seconds.
_MARGIN_US = 600_000_000
_AUTHOR = Author("restore", "identifiers seen together, after the backup's dump of the identity state")


def identity(settings: Settings, folder: Path, state: State, key: MasterKey) -> dict[str, int]:
    """The identity state: the newest dump there is, what was seen since then, and topic identity.map.

    Rows by table. What the dump learned from messages seen for the first time shortly before it is forgotten and
    learned again from the restored tables: a sighting counts once, whether the dump had it or not.
    """
    engine = connect(settings.database_url)
    with engine.begin() as connection:
        create_tables(connection)
        for name in TABLES:
            connection.exec_driver_sql(f"DELETE FROM {sql_name(name)}")  # noqa: S608 - a name of ours
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
    written["identity.claims learned again"] = _learn_again(engine, settings, since_us)
    written[MAP_TOPIC] = _publish_map(settings, engine)
    engine.dispose()
    return written


def _learn_again(engine: Engine, settings: Settings, since_us: int) -> int:
    """Forget what was seen first since then, and learn it from the tables; records keep the order of their numbers."""
    policy = contracts.policy("identity")
    resolution = policy["resolution"]
    registers = list(resolution["one_record_per_source"])
    marks = ", ".join(["%s"] * len(registers)) or "''"
    with engine.begin() as connection:
        numbers = dict(connection.exec_driver_sql("SELECT record_key, record_seq FROM identity_members").fetchall())
        # Of a register's record nothing is forgotten: it is told whole, and its revision says whether it was.
        connection.exec_driver_sql(
            f"DELETE FROM identity_claims WHERE first_seen_at >= %s AND source NOT IN ({marks})",  # noqa: S608
            (instant(max(since_us, 0)), *registers),
        )
    told = pl.concat([_told(settings, name, since_us) for name in TOLD_BY], how="vertical").sort("processed_at")
    is_record = pl.col("record_key").is_not_null()
    records = of_records(told.filter(is_record), resolution)
    evidence = pl.concat([records.claims, of_messages(told.filter(~is_record), resolution)])
    if evidence.is_empty():
        return 0
    at = pl.col("record_key").replace_strict(numbers, default=2**62, return_dtype=pl.Int64)
    evidence = evidence.sort(at, maintain_order=True)
    store_ = IdentityStore(engine, policy)
    store_.learn(evidence, at_us=time.time_ns() // 1000, author=_AUTHOR, revisions=records.revisions)
    return evidence.height


def _told(settings: Settings, name: str, since_us: int) -> pl.DataFrame:
    """What a table tells the identity resolver, columns as its SCHEMA and processed_at (microseconds)."""
    wanted = {field.name: field.type for field in SCHEMA} | {"processed_at": pa.int64()}
    none = pl.from_arrow(pa.schema(list(wanted.items())).empty_table())
    path = settings.table_path(name)
    files = lake_tables.files(DeltaTable(path), path) if (path / "_delta_log").exists() else []
    if not files:
        return none
    with duckdb.connect() as connection:
        rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
        instants = {column for column, kind in zip(rows.columns, rows.types, strict=True) if "TIMESTAMP" in str(kind)}
        columns = [
            f"epoch_us({column}) AS {column}" if column in instants else column
            for column in wanted if column in rows.columns
        ]  # fmt: skip
        found = rows.filter(f"epoch_us(processed_at) >= {since_us}").project(", ".join(columns)).to_arrow_table()
    frame = pl.from_arrow(found)
    return pl.concat([none, frame.select(pl.col(c).cast(none.schema[c]) for c in frame.columns)], how="diagonal")


def _publish_map(settings: Settings, engine: Engine) -> int:
    version, now_us = contracts.policy("identity")["version"], time.time_ns() // 1000
    names = ", ".join(Link._fields)
    by_token: dict[str, list[Link]] = {}
    with engine.connect() as connection:
        for row in connection.exec_driver_sql(f"SELECT {names} FROM identity_current_links ORDER BY token, stretch"):  # noqa: S608
            link = Link(*row)
            link = link._replace(
                valid_from_at=microseconds(link.valid_from_at), valid_to_at=microseconds(link.valid_to_at)
            )
            by_token.setdefault(link.token, []).append(link)
    told = {token: map_record(links, version, now_us) for token, links in by_token.items()}
    return publish(settings.bootstrap, MAP_TOPIC, [(t, orjson.dumps(r)) for t, r in told.items() if r is not None])


def compacted(settings: Settings, folder: Path, state: State, key: MasterKey) -> dict[str, int]:
    """The compacted topics that were shipped whole; records by topic."""
    written = {}
    for path, line in state.of(backup_topics.TOPIC).items():
        if (folder / path).exists():
            records = backup_topics.opened(store.read_out(folder, line), key, path)
            told = [((r.key or b"").decode(), r.value) for r in records]
            written[line["topic"]] = publish(settings.bootstrap, line["topic"], told)
    return written


def republished(settings: Settings, policy: dict, name: str, topic: str, records: Sequence[tuple[str, bytes]]) -> int:
    """Records of a table into its topic, which its readers ask, and the table's position behind them: it has them."""
    sent = publish(settings.bootstrap, topic, records, timeout_s=300) if records else 0
    table_log, table = CommittedLog(settings.bootstrap, [topic]), open_table(settings, name, policy)
    moves = {source.application: Move(None, table_log.bounds(source)[1]) for source in table_log.sources()}
    table.append(table.schema.empty_table(), moves)
    return sent


def vault(settings: Settings, policy: dict) -> int:
    """The newest entry of each token into topic identity.vault, where a rotation of the key finds it."""
    rows = _all(settings, VAULT)
    if rows is None or rows.is_empty():
        return 0
    newest = rows.unique("token", keep="last", maintain_order=True)
    columns = [field.name for field in contracts.topic(VAULT).fields if field.name in newest.columns]
    records = [(row["token"], orjson.dumps(row)) for row in newest.select(columns).iter_rows(named=True)]
    return republished(settings, policy, VAULT, VAULT, records)


def audit(settings: Settings, policy: dict) -> int:
    """The audit log into MariaDB, row by row as the lake has it, and into its topic, which is its second place."""
    rows = _all(settings, AUDIT)
    if rows is None or rows.is_empty():
        return 0
    rows = rows.sort("audit_seq")
    columns = [field.name for field in contracts.topic(AUDIT).fields]
    plain = rows.select(columns).with_columns(pl.col("acted_at").dt.replace_time_zone(None))
    engine = connect(mariadb.root_url(settings, AUDIT_DATABASE))
    with engine.begin() as connection:
        _insert(connection, "audit_log", columns, plain.rows())
    engine.dispose()
    told = rows.select(columns).with_columns(pl.col("acted_at").dt.timestamp("us"))
    records = [(str(row["audit_seq"]), orjson.dumps(row)) for row in told.iter_rows(named=True)]
    return republished(settings, policy, AUDIT, AUDIT, records)


def _insert(connection: Connection, table: str, columns: Sequence[str], rows: list[tuple]) -> None:
    marks = ", ".join(f":{name}" for name in columns)
    statement = text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})")  # noqa: S608 - names of ours
    for start in range(0, len(rows), 1000):
        connection.execute(statement, [dict(zip(columns, r, strict=True)) for r in rows[start : start + 1000]])


def _all(settings: Settings, name: str) -> pl.DataFrame | None:
    path = settings.table_path(name)
    if not (path / "_delta_log").exists():
        return None
    return pl.from_arrow(DeltaTable(path).to_pyarrow_table())


def served_interactions(settings: Settings, target: MariaStore, keep_days: int) -> int:
    """The recent interactions into MariaDB, out of the lake; what is judged again comes by the stream."""
    path = settings.table_path(SERVED)
    if not (path / "_delta_log").exists():
        return 0
    written, since = 0, datetime.now(UTC) - timedelta(days=keep_days)
    recent = pads.field("received_at") >= since
    for batch in DeltaTable(path).to_pyarrow_dataset().to_batches(batch_size=_SERVED_ROWS, filter=recent):
        if batch.num_rows:
            written += target.append(pa.Table.from_batches([batch]), {})
    return written
