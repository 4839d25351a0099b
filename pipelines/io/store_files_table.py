"""``bronze.store_files``: what became of each file, one row a delivery. Written under the import's lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.delta import open_store
from pipelines.io.lake_tables import arrow_files

TABLE, RAW_EVENTS, TOPIC = "bronze.store_files", "bronze.raw_events", "raw.store"


def note(settings: Settings, rows: Iterable[Mapping[str, Any]]) -> int:
    """Append the deliveries that the table does not know, in one commit; how many. Again: nothing new."""
    table = contracts.table(TABLE)
    schema = contracts.arrow_schema(table)
    path = settings.table_path(TABLE)
    known = set()
    if (path / "_delta_log").exists():
        there = DeltaTable(str(path)).to_pyarrow_table(columns=["delivery_id"], filesystem=arrow_files(path))
        known = set(there["delivery_id"].to_pylist())
    fresh = {row["delivery_id"]: row for row in rows if row["delivery_id"] not in known}
    if not fresh:
        return 0
    store = open_store(path, schema, table.partition_by, name=TABLE, description=table.description)
    return store.append(pa.Table.from_pylist(list(fresh.values()), schema=schema), {})


def refs_in_bronze(settings: Settings, since_us: int) -> set[str]:
    """``source_ref`` of every message of raw.store that stands in bronze and was received since (µs)."""
    path = settings.table_path(RAW_EVENTS)
    if not (path / "_delta_log").exists():
        return set()
    since = datetime.fromtimestamp(since_us / 1e6, UTC)
    of_stores = (ds.field("raw_topic") == TOPIC) & (ds.field("received_date") >= since.date())
    rows = DeltaTable(str(path)).to_pyarrow_dataset(filesystem=arrow_files(path))
    found = rows.to_table(columns=["headers"], filter=of_stores)
    refs = (orjson.loads(headers).get("source_ref") for headers in pl.from_arrow(found)["headers"].drop_nulls())
    return {ref for ref in refs if ref is not None}
