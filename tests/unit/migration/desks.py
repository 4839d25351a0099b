"""A lake of its own and an old desk as files: what tests of a migration copy from and into. No stack."""

from __future__ import annotations

from pathlib import Path

from pipelines import contracts
from pipelines.cleaning.context import CleaningContext
from pipelines.io.delta import DeltaStore, open_store
from pipelines.io.migration_files import FileTable
from pipelines.io.migration_lake import HistoryLake
from pipelines.migration import declaration
from pipelines.migration.copying import Copier
from pipelines.privacy.keys import MasterKey
from pipelines.simulation import legacy_desk

KEY = MasterKey({1: bytes(range(32))})
RECEIVED_US = 1_767_945_600_000_000  # 2026-01-09 08:00 UTC


class Desk:
    """Old desk as a folder of files, its declaration, and a lake below ``folder``."""

    def __init__(self, folder: Path, rows: int = 0, *, seed: int = 7, kind: str = "csv", chunk_rows: int = 500, **spec):
        self.folder, self.kind, self.chunk_rows = folder, kind, chunk_rows
        self.source = folder / "delivered"
        self.source.mkdir(exist_ok=True)
        self.dirt: dict[str, str] = {}
        for nth, batch in enumerate(legacy_desk.batches(rows, seed, batch_rows=50_000, dirt_per_million=4_000)):
            write = batch.rows.write_csv if kind == "csv" else batch.rows.write_parquet
            write(self.source / f"fw_jl_{nth:03}.{kind}")
            self.dirt |= batch.dirt
        stated = legacy_desk.declaration({"kind": kind}, path=str(self.source))
        stated["tables"]["fw_jl"] |= spec
        self.migration = declaration.parse(stated)
        (self.table,) = self.migration.tables
        self.topic = self.migration.topic(self.table)
        self.vault: dict[str, str] = {}
        self.clock_us = RECEIVED_US

    def path(self, name: str) -> Path:
        """Folder of a table."""
        return self.folder.joinpath("lake", *name.split("."))

    def open(self, name: str) -> DeltaStore:
        """As the tiering service opens it."""
        table = contracts.table(name)
        return open_store(self.path(name), contracts.arrow_schema(table), table.partition_by, name=name, description="")

    def lake(self) -> HistoryLake:
        """Seen by a process that starts anew."""
        return HistoryLake(self.open, self.path, KEY, self.topic)

    def copier(self) -> Copier:
        """As the command makes it: new context, new view of the lake."""
        return Copier(
            self.table, self.topic, self.lake(), CleaningContext.create(KEY), self.vault.update, self._now,
            self.chunk_rows,
        )  # fmt: skip

    def files(self) -> FileTable:
        """The source."""
        return FileTable(self.kind, self.table)

    def _now(self) -> int:
        self.clock_us += 1_000_000
        return self.clock_us

    def rows(self, name: str):
        """All rows of a table."""
        import polars as pl
        from deltalake import DeltaTable

        return pl.from_arrow(DeltaTable(str(self.path(name))).to_pyarrow_table())
