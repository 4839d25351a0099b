"""The daily full backup: every file checked by its hash, what is damaged copied again, and a new manifest begun.

Retention comes after it: what no state that is kept holds any more is deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines.backup import manifest, store
from pipelines.backup.manifest import ROUND, State, Writer, locked
from pipelines.backup.retention import Keep, thinned
from pipelines.backup.store import Damage
from pipelines.io import backup_lake
from pipelines.io.backup_lake import DATA, LOG, drop

_WHOLE = ("identity", "airflow")


@dataclass
class Full:
    """What a full backup found. repaired: damaged files that the lake still had; damaged: those it has not."""

    files: int = 0
    bytes: int = 0
    repaired: list[str] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)
    unused: int = 0
    generation: int = 0


def full(settings: Settings, folder: Path, tell: Callable[[int, int], None] = lambda done, of: None) -> Full:
    """Check everything, repair, seal a generation of its own; rounds go on while it reads. Raises ManifestDamaged."""
    found, suspects = Full(), []
    lines = list(manifest.read(folder).files.values())
    for done, line in enumerate(lines, start=1):
        found.files, found.bytes = found.files + 1, found.bytes + line["bytes"]
        if store.check(folder, line) is not None:
            suspects.append(line)
        tell(done, len(lines))
    with locked(folder):
        writer = Writer.open(folder)
        for line in suspects:
            if writer.state.files.get(line["path"]) != line:
                continue  # a round dropped it meanwhile, on purpose
            damage = store.check(folder, line)
            if damage is None or _repaired(settings, folder, line):
                found.repaired.append(line["path"])
            else:
                found.damaged.append(damage)
        if not found.damaged:
            found.unused = _mark_unused(writer)
        facts = _facts(folder)
        writer.begin_generation()
        found.generation = writer.seal(at=time.time(), tables={}, ends={}, facts={**facts, "full": True}).generation
    return found


def _facts(folder: Path) -> dict[str, Any]:
    """What the last round said: a full backup ships nothing, so it holds what that held."""
    return {name: value for name, value in manifest.read(folder).facts.items() if name != "full"}


def _repaired(settings: Settings, folder: Path, line: Mapping[str, Any]) -> bool:
    """True where the lake still has the very bytes, and the backup has them again."""
    source = settings.home / line["path"]
    if line["what"] not in (DATA, LOG) or not source.exists():
        return False
    try:
        made = store.copy_in(source, folder, line["path"])
    except FileNotFoundError:
        return False
    return made["sha256"] == line["sha256"]


def _mark_unused(writer: Writer) -> int:
    """Note since when files are in no table any more: from now on, unless it was noted before."""
    used = set()
    for name, version in writer.state.tables.items():
        base = backup_lake.folder_of(name)
        table = DeltaTable(writer.folder / base, version=version)
        used |= {f"{base}/{file.path}" for file in backup_lake.files_of(table)}
    marked = 0
    for path, line in list(writer.state.of(DATA).items()):
        if path not in used and line.get("unused_since") is None:
            writer.note({**line, "unused_since": time.time()})
            marked += 1
    return marked


def retain(folder: Path, policy: Mapping[str, Any], now: float) -> tuple[int, int, int]:
    """Delete what no kept state needs: files, their bytes, generations of the manifest."""
    with locked(folder):
        writer = Writer.open(folder)
        state, whole = writer.state, policy["whole_copies"]
        fulls = {number: at for number in manifest.generations(folder) if (at := _begun_at(folder, number)) is not None}
        keep = Keep.of(policy, fulls.values(), now)
        gone = [path for path, line in state.of(DATA).items() if not keep.needs(line)]
        gone += _old_entries(state, min([keep.since, *keep.days]))
        for what in _WHOLE:
            copies = [(path, line["at"]) for path, line in state.of(what).items()]
            gone += thinned(copies, keep, newest=whole)
        size = sum(state.files[path]["bytes"] for path in gone)
        drop(writer, gone)
        facts = state.facts
        writer.seal(at=time.time(), tables={}, ends={}, facts=facts)
        oldest = min([keep.since, *keep.days])
        # The last generation begun before the oldest state that is kept holds that state.
        old = sorted(number for number, at in fulls.items() if at < oldest)[:-1]
        for number in old:
            manifest.file_of(folder, number).unlink()
    return len(gone), size, len(old)


def _old_entries(state: State, oldest: float) -> list[str]:
    """Log entries before the checkpoint that the oldest state that is kept can start from."""
    begins: dict[str, int] = {}
    for path, line in state.of(LOG).items():
        if path.endswith(".checkpoint.parquet") and line["at"] <= oldest:
            begins[line["table"]] = max(begins.get(line["table"], 0), line["version"])
    return [path for path, line in state.of(LOG).items() if line["version"] < begins.get(line["table"], 0)]


def _begun_at(folder: Path, generation: int) -> float | None:
    """When the first round of a generation was sealed."""
    for state, line in manifest.walk(folder, generation):
        if line["kind"] == ROUND:
            return state.at
    return None
