"""The days of a table: which files hold the rows of each, by the Delta log at one version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from pipelines import contracts

DAY = "received_date"


@dataclass(frozen=True)
class TableDay:
    """The rows of one day of a table; ``day`` is None for a table without days: then all of its rows."""

    table: str
    day: date | None
    files: tuple[str, ...]

    @property
    def files_hash(self) -> str:
        """Names the files, whatever folder the lake lies in: other files, other hash.

        >>> TableDay("t", None, ("/a/lake/t/x.parquet",)).files_hash
        'fc8aec93e538f1f0'
        """
        names = sorted(Path(file).name for file in self.files)
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def open_at(path: Path, version: int | None) -> DeltaTable | None:
    """The table at a version (None: the newest); None where there is no table."""
    return DeltaTable(str(path), version=version) if DeltaTable.is_deltatable(str(path)) else None


def days(name: str, table: DeltaTable, path: Path) -> Iterator[TableDay]:
    """The days of a table that have rows, oldest first."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    if actions.is_empty():
        return
    files = actions.select(
        file=pl.concat_str(pl.lit(f"{path}/"), "path"),
        day=pl.col(f"partition.{DAY}").cast(pl.Date) if has_days(name) else pl.lit(None, pl.Date),
    )
    for (day,), part in sorted(files.group_by("day"), key=lambda found: str(found[0][0])):
        yield TableDay(name, day, tuple(sorted(part["file"].to_list())))


def has_days(name: str) -> bool:
    """Whether the table is kept by day of receipt."""
    return DAY in contracts.table(name).partition_by


def files_of(parts: Sequence[TableDay]) -> list[str]:
    """All files of some days."""
    return [file for part in parts for file in part.files]
