"""``quarantine.replays``: the note of what was sent again. Written after the broker acknowledged it.

A process that dies in between leaves a message that was sent and not noted. Sent once more it has the same event_id,
because that holds the attempt, and becomes a duplicate in the stream (policy deduplication: for 24 hours).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.delta import open_store
from pipelines.io.lake_tables import arrow_files

TABLE = "quarantine.replays"


class Replayed(NamedTuple):
    """One message sent again: where its first attempt stands, which attempt it is now, which rule had rejected it."""

    first_topic: str
    first_partition: int
    first_offset: int
    attempt: int
    rule: str | None = None


def read(settings: Settings) -> pl.DataFrame:
    """All that was ever sent again; empty before the first replay."""
    path = settings.table_path(TABLE)
    if not (path / "_delta_log").exists():
        return pl.from_arrow(contracts.arrow_schema(contracts.table(TABLE)).empty_table())
    return pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table(filesystem=arrow_files(path)))


def note(settings: Settings, replayed: Iterable[Replayed], at: datetime) -> int:
    """Append what was sent, in one commit; how many rows."""
    table = contracts.table(TABLE)
    schema = contracts.arrow_schema(table)
    rows = [one._asdict() | {"replayed_at": at} for one in replayed]
    if not rows:
        return 0
    store = open_store(
        settings.table_path(TABLE), schema, table.partition_by, name=TABLE, description=table.description
    )
    return store.append(pa.Table.from_pylist(rows, schema=schema), {})
