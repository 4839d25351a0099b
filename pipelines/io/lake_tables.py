"""Which tables lie in the lake, their files and figures, out of the Delta logs alone: nothing is scanned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow.fs as fs
from deltalake import DeltaTable

from pipelines import contracts

_READABLE = frozenset({"timestampNtz", "v2Checkpoint", "typeWidening", "columnMapping", "appendOnly", "invariants"})


@dataclass(frozen=True)
class TableFigures:
    """One line of ``kefulake tables``. None: the log doesn't say (or the table isn't there yet)."""

    name: str
    grain: str
    rows: int | None = None
    size_bytes: int | None = None
    files: int | None = None
    version: int | None = None
    committed_at: datetime | None = None
    newest_received_at: datetime | None = None


def present(lake: Path) -> dict[str, Path]:
    """Tables that have a Delta log below the lake, by ``schema.table``, in name order."""
    logs = sorted(lake.glob("*/*/_delta_log"))
    return {f"{log.parent.parent.name}.{log.parent.name}": log.parent for log in logs}


def figures(lake: Path) -> Iterator[TableFigures]:
    """Every declared table, and every table that lies in the lake without a contract (say it, don't hide it)."""
    there, declared = present(lake), contracts.tables()
    for name in sorted(there.keys() | declared.keys()):
        grain = declared[name].grain if name in declared else "(no contract)"
        yield _figures(name, grain, there[name]) if name in there else TableFigures(name, grain)


def _figures(name: str, grain: str, path: Path) -> TableFigures:
    table = DeltaTable(str(path))
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    rows = actions.get_column("num_records") if "num_records" in actions.columns else None
    received = actions.get_column("max.received_at").max() if "max.received_at" in actions.columns else None
    return TableFigures(
        name,
        grain,
        rows=None if rows is None or rows.null_count() else int(rows.sum()),
        size_bytes=int(actions.get_column("size_bytes").sum()),
        files=actions.height,
        version=table.version(),
        committed_at=datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC),
        newest_received_at=received if isinstance(received, datetime) else None,
    )


def files(table: DeltaTable, path: Path) -> list[str]:
    """The files of a table that lies at ``path``, as the disk names them.

    delta-rs writes the folder as in an address (客服 is %E5%AE%A2%E6%9C%8D), and what is below it as on disk.
    """
    folder = table.table_uri.removeprefix("file://")
    return [str(path / uri.removeprefix(folder)) for uri in table.file_uris()]


def arrow_files(path: Path | str) -> fs.FileSystem:
    """How Arrow reads the files of a table that lies at ``path``: by itself.

    Left alone, delta-rs gives Arrow a file system written in Python. An Arrow thread that lets go of it while the
    interpreter ends aborts the process: seen at the end of `kefulake status` in 9 of 20 runs on busy cores.
    """
    return fs.SubTreeFileSystem(str(path), fs.LocalFileSystem())


def require_plain_files(name: str, table: DeltaTable) -> None:
    """Refuses a table whose rows are not simply those of its files.

    Raises:
        ValueError: deletion vectors are in use; reading the files as they are would bring deleted rows back.
    """
    if table.metadata().configuration.get("delta.enableDeletionVectors", "false") == "true":
        raise ValueError(f"{name} uses deletion vectors: its files hold rows that were deleted. Ask Trino instead.")
