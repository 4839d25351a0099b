"""Where the backup of a home lies: KEFULAKE_BACKUP and KEFULAKE_BACKUP_KEYS, else folders beside the home."""

from __future__ import annotations

import os
from pathlib import Path

from infra.stack.settings import Settings

FOLDER, KEYS = "KEFULAKE_BACKUP", "KEFULAKE_BACKUP_KEYS"
PASSPHRASE = "KEFULAKE_BACKUP_PASSPHRASE"  # noqa: S105 - the name of the variable
RECOVERY, SEALED = "recovery.json", "keys.sealed"


def backup_folder(settings: Settings) -> Path:
    """The backup of this home: beside it, unless told otherwise."""
    return Path(os.environ.get(FOLDER) or settings.home.with_name(f"{settings.home.name}-backup")).resolve()


def keys_folder(settings: Settings) -> Path:
    """The sealed keys, apart from what they open."""
    told = os.environ.get(KEYS)
    return Path(told).resolve() if told else beside(backup_folder(settings))


def beside(folder: Path) -> Path:
    """Where the sealed keys of a backup lie unless told otherwise.

    >>> str(beside(Path("/mnt/kefulake-backup")))
    '/mnt/kefulake-backup-keys'
    """
    return folder.with_name(f"{folder.name}-keys")


def warnings(settings: Settings) -> list[str]:
    """What is not well about the places, in plain words."""
    folder, home = backup_folder(settings), settings.home
    if folder.is_relative_to(home) or home.is_relative_to(folder):
        return [f"the backup {folder} and the home {home} lie in one another: name another folder by {FOLDER}"]
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if home.exists() and there.stat().st_dev == home.stat().st_dev:
        return [f"the backup {folder} is on the disk of {home}: if it dies, both are gone. Name another by {FOLDER}"]
    return []
