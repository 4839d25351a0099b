"""Rows that are older than their policy keeps them: whole days go, in one fenced commit that says how many they were.

The commit itself carries the counts, so they can't get lost between two tables; ``audit.retention`` is written from it
afterwards, by the same run or the next one.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.delta import open_store, writer_properties
from pipelines.io.delta_upkeep import TableFile, files_of, replace_files
from pipelines.io.lake_tables import arrow_files

log = logging.getLogger(__name__)

RECORD = "audit.retention"
DAY = "received_date"
_NOTE = "retention"
_MOST_TRIES = 5


class NotRemoved(RuntimeError):
    """Rows could not be removed because others rewrote the table all the time; nothing was removed."""


def limits(policy: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Days by table of policy ``retention``.

    >>> limits({"keep_days": {"silver.feedback": 400}, "layers": ["bronze"]})
    Traceback (most recent call last):
    pipelines.contracts.model.ContractError: policies/retention.yaml: silver.feedback: figures are made of silver

    Raises:
        ContractError: a table that is not declared, not of a layer whose rows are only kept, not partitioned by
            received_date, or kept for less than its topics: what Kafka still holds could come in again.
    """
    policy = contracts.policy("retention") if policy is None else policy
    for name, days in policy["keep_days"].items():
        where, table = f"policies/retention.yaml: {name}", contracts.table(name)
        if table.layer not in policy["layers"]:
            raise contracts.ContractError(f"{where}: figures are made of {table.layer}")
        if DAY not in table.partition_by:
            raise contracts.ContractError(f"{where}: its rows do not lie by {DAY}, so no day of it can be removed")
        least = max(contracts.topic(topic).retention_ms for topic in table.topics) / 86_400_000
        if days <= least:
            raise contracts.ContractError(f"{where}: {days} days; its topics keep {least:.0f}, so more than these")
    return dict(policy["keep_days"])


def expired(table: DeltaTable, before: date) -> dict[date, list[TableFile]]:
    """Files of the days before one, by day. Rows without a day stay: when they came is not known."""
    found: dict[date, list[TableFile]] = defaultdict(list)
    for file in files_of(table):
        day = dict(file.partition).get(DAY)
        if day is not None and date.fromisoformat(day) < before:
            found[date.fromisoformat(day)].append(file)
    return dict(sorted(found.items()))


def remove_expired(
    path: Path,
    keep_days: int,
    *,
    today: date,
    now: datetime,
    settled: Callable[[date, int], str | None] = lambda day, rows: None,
) -> tuple[int, list[str]]:
    """Remove the days older than ``keep_days`` before ``today`` (UTC); rows removed, and why days were held back.

    Args:
        settled: given a day and its rows, None when it may go, else the reason why not.

    Raises:
        NotRemoved: another rearrangement was first each time.
    """
    held: list[str] = []
    for _ in range(_MOST_TRIES):
        table, held, going = DeltaTable(path), [], {}
        for day, files in expired(table, today - timedelta(days=keep_days)).items():
            if reason := settled(day, _rows(files)):
                held.append(f"{day}: {reason}")
            else:
                going[day] = files
        if not going:
            return 0, held
        told = {
            "keep_days": keep_days,
            "removed_at": now.isoformat(),
            "days": {
                str(day): {"rows": _rows(files), "files": len(files), "bytes": sum(f.size for f in files)}
                for day, files in going.items()
            },
        }
        chosen = [file for files in going.values() for file in files]
        if replace_files(table, [], chosen, what=_NOTE, changes=True, notes={_NOTE: json.dumps(told)}):
            return _rows(chosen), held
    raise NotRemoved(f"{path}: another writer rearranged it {_MOST_TRIES} times; try again when it is calmer")


def record(settings: Settings, names: list[str], now: datetime) -> int:
    """Bring ``audit.retention`` up to what the commits of some tables say; rows that were missing there."""
    known = {(r["table_name"], r["table_version"]) for r in removals(settings).to_pylist()}
    rows = [
        row
        for name in names
        if (settings.table_path(name) / "_delta_log").exists()
        for row in _told(name, settings.table_path(name))
        if (name, row["table_version"]) not in known
    ]
    if not rows:
        return 0
    contract = contracts.table(RECORD)
    schema, path = contracts.arrow_schema(contract), settings.table_path(RECORD)
    open_store(path, schema, contract.partition_by, name=RECORD, description=contract.description)
    write_deltalake(
        str(path), pa.Table.from_pylist(rows, schema=schema), mode="append", writer_properties=writer_properties(schema)
    )
    log.info("%s: %d days of removals recorded at %s", RECORD, len(rows), now.isoformat())
    return len(rows)


def removals(settings: Settings) -> pa.Table:
    """``audit.retention`` as it stands; empty while nothing was ever removed."""
    path = settings.table_path(RECORD)
    if not (path / "_delta_log").exists():
        return contracts.arrow_schema(contracts.table(RECORD)).empty_table()
    return DeltaTable(path).to_pyarrow_table(filesystem=arrow_files(path))


def removed_by_day(settings: Settings) -> dict[str, dict[date, int]]:
    """Rows removed so far, by table and day."""
    found: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for row in removals(settings).to_pylist():
        found[row["table_name"]][row[DAY]] += row["rows_removed"]
    return {name: dict(days) for name, days in found.items()}


def _told(name: str, path: Path) -> Iterator[dict[str, Any]]:
    for commit in DeltaTable(path).history():
        if _NOTE not in commit:
            continue
        told = json.loads(commit[_NOTE])
        for day, counts in told["days"].items():
            yield {
                "table_name": name,
                DAY: date.fromisoformat(day),
                "table_version": commit["version"],
                "rows_removed": counts["rows"],
                "files_removed": counts["files"],
                "bytes_removed": counts["bytes"],
                "keep_days": told["keep_days"],
                "removed_at": datetime.fromisoformat(told["removed_at"]),
            }


def _rows(files: list[TableFile]) -> int:
    return sum(file.rows for file in files)
