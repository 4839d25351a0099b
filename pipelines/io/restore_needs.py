"""Which files of a backup a restore to a round needs, and which of them are not what was written.

Not all that the backup holds: a file that left its table years ago may be damaged, and nobody is refused for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.backup import store
from pipelines.backup.manifest import State
from pipelines.backup.soundness import newest_sound
from pipelines.backup.store import Damage
from pipelines.io import backup_home_files, backup_lake
from pipelines.io.backup_round import AIRFLOW, CERTIFICATE, IDENTITY
from pipelines.io.backup_topics import TAIL, TOPIC

Line = dict[str, Any]


def tables_needed(folder: Path, state: State) -> dict[str, list[Line]]:
    """The files of each table as of `state`; a table whose history an erasure took comes as it is in the newest round.

    The logs must be sound: they tell which data a version needs. Raises store.BackupDamaged.
    """
    versions = _versions(state, newest_sound(folder))
    return {
        name: [*backup_lake.logged(of, name, at), *backup_lake.data_of(of, folder, name, at)]
        for name, (of, at) in versions.items()
    }


def needed(folder: Path, state: State) -> list[Line]:
    """Every line that a restore to `state` reads. Raises store.BackupDamaged where a log names an unknown file."""
    tables = [line for lines in tables_needed(folder, state).values() for line in lines]
    return [*tables, *_beside_the_tables(state, newest_sound(folder))]


def damaged_of(folder: Path, state: State) -> list[Damage]:
    """What a restore to `state` needs and is not as it was written, by hash; the tables' logs alone where they are."""
    versions = _versions(state, newest_sound(folder))
    logs = [line for name, (of, at) in versions.items() for line in backup_lake.logged(of, name, at)]
    return store.damages(folder, logs) or store.damages(folder, needed(folder, state))


def _versions(state: State, newest: State) -> dict[str, tuple[State, int]]:
    forgot = {name for name, round_ in newest.forgot.items() if state.forgot.get(name) != round_}
    return {
        name: (newest, newest.tables[name]) if name in forgot else (state, at)
        for name, at in sorted(state.tables.items())
    }


def _beside_the_tables(state: State, newest: State) -> list[Line]:
    """Whole copies, the raw tail, files of the home: without what was taken out on purpose since."""
    tails = [line for line in newest.of(TAIL).values() if line["first"] < state.ends.get(line["place"], 0)]
    copies = {what: _standing(state, newest, what) for what in (IDENTITY, AIRFLOW, TOPIC)}
    copies[IDENTITY] = copies[IDENTITY] or list(newest.of(IDENTITY).values())  # an erasure since took the older ones
    dumps = [*copies[IDENTITY][-1:], *copies[AIRFLOW][-1:], *copies[TOPIC]]
    return [*tails, *dumps, *newest.of(CERTIFICATE).values(), *backup_home_files.needed(state, newest)]


def _standing(state: State, newest: State, what: str) -> list[Line]:
    return [line for path, line in sorted(state.of(what).items()) if path in newest.files]
