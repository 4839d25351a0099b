"""Which files of a backup are not what was written, and which round needs none of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from pipelines.backup import manifest, store
from pipelines.backup.manifest import State
from pipelines.backup.store import Damage


def damaged_of(folder: Path, state: State, *, what: Iterable[str] | None = None) -> list[Damage]:
    """Files of a state that are damaged, by hash; whole copies that were thinned since are not missed."""
    wanted = None if what is None else set(what)
    newest = manifest.generations(folder)
    gone = _dropped(folder, state, newest)
    lines = [
        line for path, line in sorted(state.files.items())
        if path not in gone and (wanted is None or line["what"] in wanted)
    ]  # fmt: skip
    return store.damages(folder, lines)


def _dropped(folder: Path, state: State, generations: list[int]) -> set[str]:
    """Files that later lines say were deleted on purpose: by retention, an erasure, or because bronze has them."""
    dropped: set[str] = set()
    for generation in generations:
        if generation < state.generation:
            continue
        with contextlib.suppress(manifest.ManifestDamaged):  # who goes before the damage was told of it
            for now, line in manifest.walk(folder, generation):
                later = generation > state.generation or now.lines > state.lines
                if later and line["kind"] == manifest.GONE:
                    dropped.add(line["path"])
    return dropped


def newest_sound(folder: Path) -> State:
    """The newest round, or where the manifest is damaged the last one before. Raises FileNotFoundError."""
    try:
        return manifest.read(folder)
    except manifest.ManifestDamaged as damaged:
        return damaged.before if damaged.before.rounds else sound_before(folder, damaged.before.generation)


def sound_before(folder: Path, generation: int) -> State:
    """The last round before a generation whose very beginning is damaged. Raises FileNotFoundError."""
    for earlier in reversed([number for number in manifest.generations(folder) if number < generation]):
        try:
            last = None
            for state, line in manifest.walk(folder, earlier):
                if line["kind"] == manifest.ROUND:
                    last = manifest.copied(state)
            if last is not None:
                return last
        except manifest.ManifestDamaged as damaged:
            if damaged.before.rounds:
                return damaged.before
    raise FileNotFoundError(f"no sound round stands in {folder} before the damage")
