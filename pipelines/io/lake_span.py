"""A table of the lake between two of its versions: which files came, which went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.io.duckdb_lake import rows_sql
from pipelines.io.lake_tables import files


class VersionGone(RuntimeError):
    """What a build read is not there any more: an erasure, or files kept for a week; the message says what."""


def table_ids(paths: Mapping[str, Path]) -> dict[str, str]:
    """By name the ID that each table got when it was made, of those that are there."""
    there = {name: path for name, path in paths.items() if DeltaTable.is_deltatable(str(path))}
    return {name: DeltaTable(str(path)).metadata().id for name, path in there.items()}


def require_same_tables(paths: Mapping[str, Path], before: Mapping[str, str]) -> None:
    """Raises VersionGone where a table of ``before`` is another one now: its version numbers began anew."""
    now = table_ids(paths)
    for name, made in before.items():
        if name in paths and now.get(name) != made:
            raise VersionGone(f"{name} was {'made anew' if name in now else 'taken away'} since")


@dataclass(frozen=True)
class Span:
    """A table between two versions: its files then and now."""

    name: str
    table: DeltaTable | None
    before: tuple[str, ...]
    now: tuple[str, ...]

    @classmethod
    def of(cls, name: str, path: Path, before: int | None, now: int | None) -> Span:
        """Raises VersionGone where one of the versions is not there any more."""
        try:
            then = () if before is None else tuple(files(DeltaTable(str(path), version=before), path))
            table = None if now is None else DeltaTable(str(path), version=now)
        except DeltaError as error:
            raise VersionGone(f"{name} can't be read at version {before} or {now} any more: {error}") from error
        return cls(name, table, then, () if table is None else tuple(files(table, path)))

    @property
    def came(self) -> tuple[str, ...]:
        return tuple(sorted({*self.now} - {*self.before}))

    @property
    def went(self) -> tuple[str, ...]:
        return tuple(sorted({*self.before} - {*self.now}))

    def rows(self, files: Sequence[str]) -> str:
        """The query over some of the files. Raises VersionGone where one is not there any more."""
        if gone := [file for file in files if not Path(file).exists()]:
            raise VersionGone(f"{self.name}: {len(gone)} files of an earlier version are gone, e.g. {gone[0]}")
        return f"({rows_sql(self.name, self.table, files, declared=True)})"
