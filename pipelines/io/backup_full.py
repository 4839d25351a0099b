"""The daily full backup: every file checked by its hash, what is damaged copied again, and a new manifest begun.

Retention comes after it: what no state that is kept holds any more is deleted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines.backup import manifest, store
from pipelines.backup.manifest import ROUND, ManifestDamaged, State, locked
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.retention import Keep, thinned
from pipelines.backup.soundness import newest_sound
from pipelines.backup.store import Damage
from pipelines.io import backup_lake, restore_needs
from pipelines.io.backup_home_files import HOME_FILE
from pipelines.io.backup_lake import DATA, LOG

_WHOLE = ("identity", "airflow")


@dataclass
class Full:
    """What a full backup found. repaired: damaged files that the lake still had; damaged: those it has not.

    manifest_damage: what was wrong with the manifest, where it began anew from the last round before that.
    """

    files: int = 0
    bytes: int = 0
    repaired: list[str] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)
    unused: int = 0
    generation: int = 0
    leavings: int = 0
    manifest_damage: str = ""


def full(settings: Settings, folder: Path, tell: Callable[[int, int], None] = lambda done, of: None) -> Full:
    """Check everything, repair, seal a generation of its own; rounds go on while it reads.

    Where the manifest is damaged, a new one begins at the last round that is sound, and the next round ships again what
    came after it. Raises FileNotFoundError where no round is sound.
    """
    found, suspects = Full(), []
    lines = list(newest_sound(folder).files.values())
    for done, line in enumerate(lines, start=1):
        found.files, found.bytes = found.files + 1, found.bytes + line["bytes"]
        if store.check(folder, line) is not None:
            suspects.append(line)
        tell(done, len(lines))
    with locked(folder):
        writer = _opened(folder, found)
        for line in suspects:
            if writer.state.files.get(line["path"]) != line:
                continue  # a round dropped it meanwhile, on purpose
            damage = store.check(folder, line)
            if damage is None or _repaired(settings, folder, line):
                found.repaired.append(line["path"])
            else:
                found.damaged.append(damage)
        use = _use(writer, {damage.path for damage in found.damaged})
        found.unused = _mark_unused(writer, use)
        if found.manifest_damage:
            _let_go_of_what_went(writer, found, use)
        facts = writer.state.facts  # a full backup ships nothing, so it holds what the last round held
        writer.begin_generation()
        found.generation = writer.seal(at=time.time(), tables={}, ends={}, facts={**facts, "full": True}).generation
        if not found.manifest_damage:  # else files of lost lines stay, for a person to look at
            found.leavings = backup_lake.sweep(writer)
    return found


def _opened(folder: Path, found: Full) -> Writer:
    try:
        return Writer.open(folder)
    except ManifestDamaged as damaged:
        found.manifest_damage = str(damaged)
        return Writer(folder, newest_sound(folder))


def _repaired(settings: Settings, folder: Path, line: Mapping[str, Any]) -> bool:
    """True where the lake still has the very bytes, and the backup has them again."""
    source = settings.home / line.get("home_path", line["path"])
    if line["what"] not in (DATA, LOG, HOME_FILE) or not source.exists():
        return False
    try:
        made = store.copy_in(source, folder, line["path"])
    except FileNotFoundError:
        return False
    return made["sha256"] == line["sha256"]


class _Use(NamedTuple):
    """Paths that the tables' newest versions need; tables of which nobody knows it, for their log is damaged."""

    paths: set[str]
    unknown: set[str]

    def holds(self, path: str, line: Mapping[str, Any]) -> bool:
        return path in self.paths or line.get("table") in self.unknown


def _use(writer: Writer, damaged: set[str]) -> _Use:
    use = _Use(set(), set())
    for name, version in writer.state.tables.items():
        opens, _ = backup_lake.logged(writer.state, name, version)
        if any(line["path"] in damaged for line in opens):
            use.unknown.add(name)
            continue
        base = backup_lake.folder_of(name)
        table = DeltaTable(writer.folder / base, version=version)
        use.paths.update(line["path"] for line in opens)
        use.paths.update(f"{base}/{file.path}" for file in backup_lake.files_of(table))
    return use


def _mark_unused(writer: Writer, use: _Use) -> int:
    """Note since when files are in no table any more: from now on, unless it was noted before."""
    marked = 0
    for path, line in list(writer.state.of(DATA).items()):
        if not use.holds(path, line) and line.get("unused_since") is None:
            writer.note({**line, "unused_since": time.time()})
            marked += 1
    return marked


def _let_go_of_what_went(writer: Writer, found: Full, use: _Use) -> None:
    """The lost lines said of some files that they were dropped: those are no damage where no restore needs them."""
    state = writer.state
    beside = {line["path"] for line in restore_needs.beside_the_tables(state, state)}
    missing = [damage.path for damage in found.damaged if damage.why == store.MISSING]
    went = {path for path in missing if path not in beside and not use.holds(path, state.files[path])}
    writer.discard(went)
    found.damaged = [damage for damage in found.damaged if damage.path not in went]


def retain(folder: Path, policy: Mapping[str, Any], now: float) -> tuple[int, int, int]:
    """Delete what no kept state needs: files, their bytes, generations of the manifest."""
    with locked(folder):
        writer = Writer.open(folder)
        state, whole = writer.state, policy["whole_copies"]
        fulls = {number: at for number in manifest.generations(folder) if (at := _begun_at(folder, number)) is not None}
        keep = Keep.of(policy, fulls.values(), now)
        aging = {**state.of(DATA), **state.of(HOME_FILE)}
        gone = [path for path, line in aging.items() if not keep.needs(line)]
        gone += _old_entries(state, min([keep.since, *keep.days]))
        for what in _WHOLE:
            copies = [(path, line["at"]) for path, line in state.of(what).items()]
            gone += thinned(copies, keep, newest=whole)
        size = sum(state.files[path]["bytes"] for path in gone)
        writer.discard(gone)
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
    """When the first round of a generation was sealed; None where none was, or its beginning is damaged."""
    with contextlib.suppress(ManifestDamaged):
        for state, line in manifest.walk(folder, generation):
            if line["kind"] == ROUND:
                return state.at
    return None
