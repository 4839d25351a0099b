"""Damage over many seeds: a small desk copied once, its lake damaged anew for each seed and kind, and compared."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from pipelines.cleaning.context import CleaningContext
from pipelines.io import second_reading, stored_history
from pipelines.migration import certifying
from tests.bench import migration_damage
from tests.unit.migration.desks import KEY, Desk

ROWS, CHUNK = 5_000, 2_000
TABLES = ("silver.interactions", "silver.feedback")


def over_seeds(seeds: int) -> dict[str, object]:
    """How much was planted, how much of it found with the right key and columns, and nothing else."""
    planted = found = 0
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder), ROWS, chunk_rows=CHUNK)
        desk.copier().full(desk.files())
        context, whole = CleaningContext.create(KEY), Path(folder) / "whole"
        shutil.move(Path(folder) / "lake", whole)
        for seed in range(seeds):
            for kind in migration_damage.KINDS:
                shutil.rmtree(Path(folder) / "lake", ignore_errors=True)
                shutil.copytree(whole, Path(folder) / "lake")
                chance = random.Random(f"{seed}/{kind}/seeds")
                damage = migration_damage.plant(desk.path(chance.choice(TABLES)), desk.topic, kind, chance)
                planted += 1
                if migration_damage.as_expected(_differences(desk, context), [damage]):
                    found += 1
                else:
                    missed.append(f"{kind}/{seed}")
    return {"rows": ROWS, "seeds": seeds, "planted": planted, "found": found, "missed": missed}


def _differences(desk: Desk, context: CleaningContext) -> list:
    with stored_history.stored(desk.table, desk.topic, desk.path, desk.folder) as connection:
        return certifying.compare(
            desk.table, lambda: second_reading.expected_rows(desk.kind, desk.table, None), connection, context, "secret"
        ).differences
