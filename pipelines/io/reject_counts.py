"""What the cleaning job judged since an instant, by raw topic and rejecting rule, out of the lake."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines.quality.reject_shares import Counted

REJECTS = "quarantine.rejects"
# All that is judged but duplicates, which carry no processed_at (and see reject_shares for why they must not count).
JUDGED = (
    "silver.interactions", "silver.feedback", "silver.ticket_events", "silver.customers", "silver.orders",
    "review.queue", REJECTS,
)  # fmt: skip


def counted_since(settings: Settings, since: datetime, *, memory_limit_mb: int) -> list[Counted]:
    """(raw_topic, rule or None, messages) judged at `since` or later.

    Cheap: Delta's statistics leave out every file whose newest processed_at is older, and of the others two or three
    narrow columns are read: 0.2 core-seconds for 8.4 million rows, a quarter of an hour at 9,300 a second.
    """
    found: list[Counted] = []
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{int(memory_limit_mb)}MB'")
        for table in JUDGED:
            files = recent_files(settings.table_path(table), since)
            if not files:
                continue
            rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
            rule = "rule" if table == REJECTS else "NULL"
            rows = rows.filter(duckdb.ColumnExpression("processed_at") >= duckdb.ConstantExpression(since)).filter(
                "starts_with(raw_topic, 'raw.')"
            )  # rejects of the tiering service name topics of ours
            found += rows.aggregate(f"raw_topic, {rule} AS rule, count(*)").fetchall()
    return found


def recent_files(path: Path, since: datetime) -> list[str]:
    """Files of a table that may hold rows processed at `since` or later; none where there is no table yet."""
    if not (path / "_delta_log").exists():
        return []
    files = pa.table(DeltaTable(path).get_add_actions(flatten=True)).to_pylist()
    newest = {str(path / file["path"]): file.get("max.processed_at") for file in files}
    return [file for file, at in newest.items() if at is None or at >= since]
