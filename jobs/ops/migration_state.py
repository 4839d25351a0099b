"""Where a migration stands besides its tables, and who may work on it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import orjson
from deltalake import DeltaTable

from infra.stack.files import write_json
from infra.stack.settings import Settings
from pipelines.io import lake_tables
from pipelines.io.migration_lake import BRONZE
from pipelines.migration.chunks import FULL, INCREMENTS
from pipelines.migration.declaration import Migration
from pipelines.migration.history_rows import LAST_OUTPUT


def folder(settings: Settings, migration: Migration) -> Path:
    """State and certificates of a migration."""
    return settings.home / "migrations" / migration.name


@dataclass
class State:
    """What a migration knows besides its tables: by source table ``mark`` and ``full``.

    Lost, it costs time and nothing else: the copy finds in the lake where it stood, and an increment without a mark
    compares every row.
    """

    path: Path
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    cut_over_at: str | None = None

    @classmethod
    def load(cls, settings: Settings, migration: Migration) -> State:
        """As it was saved, or new."""
        path = folder(settings, migration) / "state.json"
        if not path.exists():
            return cls(path)
        return cls(path, **orjson.loads(path.read_bytes()))

    def save(self) -> None:
        """Whole or not at all."""
        write_json(self.path, {"tables": self.tables, "cut_over_at": self.cut_over_at})


@contextmanager
def locked(settings: Settings, migration: Migration) -> Iterator[None]:
    """One command a migration at a time, and none while somebody is erased.

    Raises RuntimeError; the system frees a killed one's lock.
    """
    where = folder(settings, migration)
    where.mkdir(parents=True, exist_ok=True)
    with (
        _held(where.parent, fcntl.LOCK_SH, "a person is being erased"),
        _held(where, fcntl.LOCK_EX, f"another command is at work on migration {migration.name}"),
    ):
        yield


@contextmanager
def _held(where: Path, how: int, otherwise: str) -> Iterator[None]:
    with (where / "lock").open("a") as file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeError(f"{otherwise}; wait until it ended") from error
        yield


@contextmanager
def at_rest(settings: Settings) -> Iterator[None]:
    """No migration is at work, and none has rows in bronze that stand in no table yet: of these nobody knows whose.

    Raises RuntimeError where one is, or was killed in between.
    """
    where = settings.home / "migrations"
    where.mkdir(parents=True, exist_ok=True)
    with _held(where, fcntl.LOCK_EX, "a command of a migration is at work"):
        for topic in _history_topics(settings.table_path(BRONZE)):
            if behind := _rows_on_the_way(settings, topic):
                raise RuntimeError(
                    f"{behind:,} rows of {topic} were on their way into tables when a command was ended; whose they "
                    "are is not known yet. First: kefulake migrate make-good with the declaration (it asks no source)"
                )
        yield


def _history_topics(bronze: Path) -> list[str]:
    """Out of the table: a state may be lost, and after a restore be older than the rows."""
    files = lake_tables.files(DeltaTable(str(bronze)), bronze) if (bronze / "_delta_log").exists() else []
    if not files:
        return []
    with duckdb.connect() as connection:
        rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
        topics = rows.filter("raw_topic LIKE 'history.%'").project("raw_topic").distinct()
        return sorted(topic for (topic,) in topics.fetchall())


def _rows_on_the_way(settings: Settings, topic: str) -> int:
    ends = []
    for name in (BRONZE, LAST_OUTPUT):
        path = settings.table_path(name)
        table = DeltaTable(str(path)) if (path / "_delta_log").exists() else None
        positions = (table.transaction_version(f"{topic}/{n}") if table else None for n in (FULL, INCREMENTS))
        ends.append(sum(end or 0 for end in positions))
    return ends[0] - ends[1]
