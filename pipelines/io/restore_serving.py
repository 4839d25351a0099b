"""What restored services read at their start: MariaDB's state and compacted topics, out of lake and backup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable
from sqlalchemy import Connection, text

from infra.stack import mariadb
from infra.stack.files import PRIVATE
from infra.stack.settings import AUDIT_DATABASE, Settings
from pipelines import contracts
from pipelines.backup import store
from pipelines.backup.manifest import State
from pipelines.backup.soundness import newest_sound
from pipelines.io import backup_topics
from pipelines.io.backup_home_files import bring_home_files
from pipelines.io.backup_round import AIRFLOW, CERTIFICATE
from pipelines.io.committed_log import CommittedLog
from pipelines.io.delta import Move
from pipelines.io.lake_tables import arrow_files
from pipelines.io.mariadb import MariaStore, connect
from pipelines.io.publisher import publish
from pipelines.io.tiering_service import open_table
from pipelines.privacy.keys import MasterKey

AUDIT, SERVED = "audit.log", "silver.interactions"
_SERVED_ROWS = 10_000


def compacted(settings: Settings, folder: Path, state: State, key: MasterKey) -> dict[str, int]:
    """The compacted topics that were shipped whole; records by topic."""
    written = {}
    for line in backup_topics.newest_copies(state).values():
        path = line["path"]
        if (folder / path).exists():
            records = backup_topics.opened(store.read_out(folder, line), key, path)
            told = [((r.key or b"").decode(), r.value) for r in records]
            written[line["topic"]] = publish(settings.bootstrap, line["topic"], told)
    return written


def files(settings: Settings, folder: Path, state: State) -> dict[str, int]:
    """Files that come back as they were: Airflow's metadata database, certificates of erasures; how many."""
    databases = sorted(path for path in state.of(AIRFLOW) if (folder / path).exists())
    for path in databases[-1:]:
        store.copy_out(folder, state.files[path], settings.home / "airflow" / "airflow.db")
    newest = newest_sound(folder)
    certificates = newest.of(CERTIFICATE)  # an erasure is not undone by going back before it
    for path, line in certificates.items():
        store.copy_out(folder, line, settings.home / path)
        (settings.home / path).chmod(PRIVATE)
    kept = bring_home_files(folder, settings.home, state, newest)
    return {
        "Airflow's database": len(databases[-1:]), "certificates of erasures": len(certificates),
        "archived files of stores, state of migrations": kept,
    }  # fmt: skip


def republished(
    settings: Settings, policy: dict, name: str, topic: str, records: Sequence[tuple[str, bytes | None]]
) -> int:
    """Records of a table into its topic, which its readers ask, and the table's position behind them: it has them."""
    sent = publish(settings.bootstrap, topic, records, timeout_s=300) if records else 0
    table_log, table = CommittedLog(settings.bootstrap, [topic]), open_table(settings, name, policy)
    moves = {source.application: Move(None, table_log.bounds(source)[1]) for source in table_log.sources()}
    table.append(table.schema.empty_table(), moves)
    return sent


def audit(settings: Settings, policy: dict) -> int:
    """The audit log into MariaDB, row by row as the lake has it, and into its topic, which is its second place."""
    rows = rows_of(settings, AUDIT)
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


def rows_of(settings: Settings, name: str) -> pl.DataFrame | None:
    """The newest version of a table of the lake as a whole; None where it is not there."""
    path = settings.table_path(name)
    if not (path / "_delta_log").exists():
        return None
    return pl.from_arrow(DeltaTable(path).to_pyarrow_table(filesystem=arrow_files(path)))


def served_interactions(settings: Settings, target: MariaStore, keep_days: int) -> int:
    """The recent interactions into MariaDB, out of the lake; what is judged again comes by the stream."""
    path = settings.table_path(SERVED)
    if not (path / "_delta_log").exists():
        return 0
    written, since = 0, datetime.now(UTC) - timedelta(days=keep_days)
    recent = pads.field("received_at") >= since
    rows = DeltaTable(path).to_pyarrow_dataset(filesystem=arrow_files(path))
    for batch in rows.to_batches(batch_size=_SERVED_ROWS, filter=recent):
        if batch.num_rows:
            written += target.append(pa.Table.from_batches([batch]), {})
    return written
