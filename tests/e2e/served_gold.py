"""A published gold.customer_360 for tests that serve it: rows by customer, everything else NULL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from pipelines import contracts
from pipelines.io.served_customers import GOLD, TAGS

AS_OF = datetime(2026, 1, 9, tzinfo=UTC)


class Gold:
    """Two Delta tables in a folder of their own."""

    def __init__(self, folder: Path):
        self.paths = {name: folder / name for name in (GOLD, TAGS)}

    def publish(self, *rows: dict, as_of_at: datetime = AS_OF) -> None:
        """A build: these customers and nobody else."""
        schema = contracts.arrow_schema(contracts.table(GOLD))
        whole = [{"identity_status": "linked", "contacts": 1} | row | {"as_of_at": as_of_at} for row in rows]
        write_deltalake(str(self.paths[GOLD]), pa.Table.from_pylist(whole, schema=schema), mode="overwrite")

    def tag(self, *tags: tuple[str, str, str]) -> None:
        """(customer, tag, value) of all tags there are."""
        schema = contracts.arrow_schema(contracts.table(TAGS))
        rows = [dict(zip(("customer_id", "tag", "tag_value"), tag, strict=True)) for tag in tags]
        write_deltalake(str(self.paths[TAGS]), pa.Table.from_pylist(rows, schema=schema), mode="overwrite")
