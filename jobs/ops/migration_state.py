"""Where a migration stands besides its tables, and who may work on it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from deltalake import DeltaTable

from infra.stack.files import write_json
from infra.stack.settings import Settings
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
    """One command a migration at a time. Raises RuntimeError; the system frees a killed one's lock."""
    where = folder(settings, migration)
    where.mkdir(parents=True, exist_ok=True)
    with _held(where):
        yield


@contextmanager
def _held(where: Path) -> Iterator[None]:
    with (where / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeError(f"another command is at work on migration {where.name}; wait until it ended") from error
        yield


@contextmanager
def at_rest(settings: Settings) -> Iterator[None]:
    """No migration is at work, and none has rows in bronze that stand in no table yet: of these nobody knows whose.

    Raises RuntimeError where one is, or was killed in between.
    """
    with ExitStack() as held:
        for state in sorted((settings.home / "migrations").glob("*/state.json")):
            held.enter_context(_held(state.parent))
            for table in orjson.loads(state.read_bytes())["tables"]:
                behind = _rows_on_the_way(settings, f"history.{state.parent.name}.{table}")
                if behind:
                    raise RuntimeError(
                        f"migration {state.parent.name} was ended with {behind:,} rows of {table} on their way into the"
                        " tables; whose they are is not known yet. First: kefulake migrate run with its declaration"
                    )
        yield


def _rows_on_the_way(settings: Settings, topic: str) -> int:
    ends = []
    for name in (BRONZE, LAST_OUTPUT):
        path = settings.table_path(name)
        table = DeltaTable(str(path)) if (path / "_delta_log").exists() else None
        positions = (table.transaction_version(f"{topic}/{n}") if table else None for n in (FULL, INCREMENTS))
        ends.append(sum(end or 0 for end in positions))
    return ends[0] - ends[1]
