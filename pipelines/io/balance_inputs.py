"""What the balance reads: which hours changed in a Delta table, and the files that hold some hours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

HOUR = timedelta(hours=1)
_EPOCH_HOUR = datetime(1970, 1, 1, tzinfo=UTC)
# Wider than this the hours between a file's first and last row are not enumerated but read from the file.
_MOST_HOURS_OF_A_FILE = 48


def hour_of(instant: datetime) -> datetime:
    """Start of the hour, UTC.

    >>> hour_of(datetime(2026, 1, 5, 9, 59, tzinfo=UTC)).hour
    9
    """
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def changed_hours(path: Path, since_version: int | None) -> tuple[set[datetime], int]:
    """Hours of received_at that got rows after `since_version`, and the version looked at.

    Rearranged files change nothing. Where the log no longer reaches back so far, all hours count as changed.
    """
    table = DeltaTable(path)
    version = table.version()
    if since_version is not None:
        logs = [path / "_delta_log" / f"{v:020}.json" for v in range(since_version + 1, version + 1)]
        try:
            return set().union(*(_hours_of_commit(path, log) for log in logs)), version
        except FileNotFoundError:
            pass  # the log was cleaned up, or a file merged and removed: look at all there is
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return set().union(
        *(_hours(path / f["path"], f.get("min.received_at"), f.get("max.received_at")) for f in files)
    ), version


def _hours_of_commit(path: Path, log: Path) -> set[datetime]:
    hours: set[datetime] = set()
    for line in log.read_text(encoding="utf-8").splitlines():
        add = json.loads(line).get("add")
        if add is None or not add["dataChange"]:
            continue
        stats = json.loads(add.get("stats") or "{}")
        first, last = (stats.get(bound, {}).get("received_at") for bound in ("minValues", "maxValues"))
        hours |= _hours(path / add["path"], _instant(first), _instant(last))
    return hours


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _hours(file: Path, first: datetime | None, last: datetime | None) -> set[datetime]:
    if first is None or last is None or last - first > _MOST_HOURS_OF_A_FILE * HOUR:
        return _read_hours(file)
    hour, hours = hour_of(first), set()
    while hour <= last:
        hours.add(hour)
        hour += HOUR
    return hours


def _read_hours(file: Path) -> set[datetime]:
    if not file.exists():
        raise FileNotFoundError(file)
    with duckdb.connect() as connection:
        found = connection.read_parquet(str(file)).project("epoch_us(received_at) // 3600000000 AS hour").distinct()
        return {_EPOCH_HOUR if h is None else _EPOCH_HOUR + h * HOUR for (h,) in found.fetchall()}


def coordinates(
    connection: duckdb.DuckDBPyConnection, path: Path, hours: Iterable[datetime]
) -> duckdb.DuckDBPyRelation | None:
    """Relation over the table's files that may hold rows of `hours`; None when there is no table or no such file."""
    if not (path / "_delta_log").exists():
        return None
    wanted = sorted(hours)
    files = [
        str(path / f["path"])
        for f in pa.table(DeltaTable(path).get_add_actions(flatten=True)).to_pylist()
        if _overlaps(f.get("min.received_at"), f.get("max.received_at"), wanted)
    ]
    return connection.read_parquet(files, hive_partitioning=False, union_by_name=True) if files else None


def _overlaps(first: datetime | None, last: datetime | None, wanted: Sequence[datetime]) -> bool:
    if first is None or last is None:
        return True
    return any(hour <= last and first < hour + HOUR for hour in wanted)
