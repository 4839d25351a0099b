"""Where a migration stands besides its tables, and who may work on it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from infra.stack.files import write_json
from infra.stack.settings import Settings
from pipelines.migration.declaration import Migration


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
    with (where / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeError(
                f"another command is at work on migration {migration.name}; wait until it ended"
            ) from error
        yield
