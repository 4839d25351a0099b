"""A small lake by hand: what tests of readers look at. Rows are partial; the contract fills types and names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from pipelines import contracts

AT = datetime(2026, 1, 5, 2, tzinfo=UTC)


def write(lake: Path, table: str, rows: list[dict[str, Any]], *, without: tuple[str, ...] = ()) -> None:
    """Appends rows in one commit; ``without`` names columns that an older writer did not know yet."""
    contract = contracts.table(table)
    schema = pa.schema([f for f in contracts.arrow_schema(contract) if f.name not in without])
    complete = [{name: row.get(name) for name in schema.names} for row in rows]
    path = lake.joinpath(*table.split("."))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(
        str(path), pa.Table.from_pylist(complete, schema=schema), mode="append", schema_mode="merge",
        partition_by=list(contract.partition_by) or None,
    )  # fmt: skip


def interaction(nth: int, **columns: Any) -> dict[str, Any]:
    """A row of silver.interactions with its coordinates and clocks filled in."""
    at = columns.get("received_at", AT)
    return {
        "raw_topic": f"raw.{columns.get('channel', 'web_chat')}", "raw_partition": 0, "raw_offset": nth, "attempt": 0,
        "event_id": f"e{nth}", "channel": "web_chat", "account": "default", "source_revision": 0, "kind": "message",
        "sender_role": "customer", "identity_status": "linked", "occurred_at": at, "received_at": at,
        "processed_at": at, "received_date": at.date(),
    } | columns  # fmt: skip
