"""The newest round of a backup that can be believed, where its manifest is damaged."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pipelines.backup import manifest
from pipelines.backup.manifest import State


def newest_sound(folder: Path, until: float | None = None) -> State:
    """The last round not later than `until` (epoch seconds; None: the last there is); where the manifest is damaged
    before it, the last one before the damage. Raises FileNotFoundError.
    """
    try:
        return manifest.read(folder, until=until)
    except manifest.ManifestDamaged as damaged:
        return damaged.before if damaged.before.rounds else _sound_before(folder, damaged.before.generation, until)


def _sound_before(folder: Path, generation: int, until: float | None) -> State:
    """The last such round before a generation whose very beginning is damaged."""
    for earlier in reversed([number for number in manifest.generations(folder) if number < generation]):
        last = None
        with contextlib.suppress(manifest.ManifestDamaged):
            for state, line in manifest.walk(folder, earlier):
                if line["kind"] == manifest.ROUND:
                    if until is not None and line["at"] > until:
                        break
                    last = manifest.copied(state)
        if last is not None:
            return last
    raise FileNotFoundError(f"no sound round so old stands in {folder} before the damage")
