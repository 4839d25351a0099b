"""Delta tables into a backup folder and out of it: files first, then the log entries that name them.

In the backup a table is a folder like in the lake, so every version that was shipped can be opened there as a Delta
table. Data files are never changed once written, so each is copied once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from pipelines.backup import store
from pipelines.backup.manifest import FILE, FORGOT, State
from pipelines.backup.manifest_writer import Writer
from pipelines.io.delta_upkeep import files_of

DATA, LOG = "data", "log"
SWEPT = ("lake", "topics", "identity", "airflow", "home")  # folders of a backup whose every file has a line
_LOG_FOLDER = "_delta_log"


@dataclass
class Shipped:
    """What a round brought: files, their bytes, and the version of each table that changed."""

    files: int = 0
    bytes: int = 0
    tables: dict[str, int] = field(default_factory=dict)


def folder_of(name: str) -> str:
    """A table's folder below the backup, as below the home.

    >>> folder_of("silver.orders")
    'lake/silver/orders'
    """
    return "lake/" + "/".join(name.split(".", 1))


def ship_table(writer: Writer, name: str, path: Path, shipped: Shipped) -> int:
    """Copy what the table's newest version needs and the backup lacks; that version.

    Raises FileNotFoundError when an erasure took a file meanwhile: the next round sees the version after it.
    """
    table = DeltaTable(path)
    version, have = table.version(), writer.state.files
    base, life = folder_of(name), str(table.metadata().id)
    if writer.state.tables.get(name) == version and _life(writer.state, base, version) in (None, life):
        return version
    _forget_another_life(writer, name, life)
    for file in files_of(table):
        if f"{base}/{file.path}" not in have:
            _copy(writer, path / file.path, f"{base}/{file.path}", {"what": DATA, "table": name}, shipped)
    for entry in sorted((path / _LOG_FOLDER).iterdir()):
        number = entry.name.partition(".")[0]
        whole = entry.suffix == ".json" or entry.name.endswith(".checkpoint.parquet")
        if number.isdigit() and int(number) <= version and whole and f"{base}/{_LOG_FOLDER}/{entry.name}" not in have:
            where = f"{base}/{_LOG_FOLDER}/{entry.name}"
            _copy(writer, entry, where, {"what": LOG, "table": name, "version": int(number), "life": life}, shipped)
    shipped.tables[name] = version
    return version


def _life(state: State, base: str, version: int) -> str | None:
    """The ID of the table whose version that was; None where the log entry went since."""
    return state.files.get(f"{base}/{_LOG_FOLDER}/{version:020}.json", {}).get("life")


def _forget_another_life(writer: Writer, name: str, life: str) -> None:
    """A table made anew begins with the same numbers: what the backup has under them is another table's."""
    lines = [line for what in (DATA, LOG) for line in writer.state.of(what).values() if line["table"] == name]
    if any(line.get("life", life) != life for line in lines):
        writer.discard(line["path"] for line in lines)
        writer.note({"kind": FORGOT, "table": name, "round": writer.state.rounds + 1})


def _copy(writer: Writer, source: Path, path: str, facts: dict[str, Any], shipped: Shipped) -> None:
    made = store.copy_in(source, writer.folder, path)
    writer.note({"kind": FILE, **made, **facts, "at": round(time.time(), 3)})
    shipped.files, shipped.bytes = shipped.files + 1, shipped.bytes + made["bytes"]


def logged(state: State, name: str, version: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of a table's log up to a version: what it is opened by, and its history before that, newest first.

    It is opened by the newest checkpoint and the entries since.
    """
    lines = [line for line in state.of(LOG).values() if line["table"] == name and line["version"] <= version]
    begins = max((line["version"] for line in lines if line["path"].endswith(".checkpoint.parquet")), default=0)
    history = [line for line in lines if line["version"] < begins]
    return (
        [line for line in lines if line["version"] >= begins],
        sorted(history, key=lambda line: line["version"], reverse=True),
    )


def data_of(state: State, folder: Path, name: str, version: int) -> list[dict[str, Any]]:
    """The lines of the data that a version of a table needs; its log in the backup must be sound.

    Raises store.BackupDamaged where the log names a file of which the manifest has no line.
    """
    base = folder_of(name)
    table = DeltaTable(folder / base, version=version)
    data = [f"{base}/{file.path}" for file in files_of(table)]
    missing = [path for path in data if path not in state.files]
    if missing:
        raise store.BackupDamaged("; ".join(f"{path}: in no line of the manifest" for path in missing))
    return [state.files[path] for path in data]


def forget_history(writer: Writer, name: str, version: int) -> int:
    """Take out of the backup what only versions before `version` show; how many files go with the round's seal.

    What an erasure does in the lake: a checkpoint stands for all before it. That checkpoint and the entries since stay,
    for the version is opened by them: writers append while an erasure runs.
    """
    base, state = folder_of(name), writer.state
    used = {f"{base}/{file.path}" for file in files_of(DeltaTable(writer.folder / base, version=version))}
    gone = [line["path"] for line in state.of(DATA).values() if line["table"] == name and line["path"] not in used]
    # Newest log entries go last, so that a reader in between finds no gap to start from.
    log = [line for line in state.of(LOG).values() if line["table"] == name]
    checkpoints = [line["version"] for line in log if line["path"].endswith(".checkpoint.parquet")]
    floor = max((at for at in checkpoints if at <= version), default=0)
    old = [line for line in log if line["version"] < floor]
    gone += [line["path"] for line in sorted(old, key=lambda line: line["version"])]
    writer.discard(gone)
    writer.note({"kind": FORGOT, "table": name, "round": state.rounds + 1})
    return len(gone)


def sweep(writer: Writer) -> int:
    """Delete what is in no line: leavings of writers that were killed; how many. After a seal, never before."""
    left = 0
    for root in SWEPT:
        for file in [path for path in (writer.folder / root).rglob("*") if path.is_file()]:
            if str(file.relative_to(writer.folder)) not in writer.state.files:
                file.unlink(missing_ok=True)
                left += 1
    return left
