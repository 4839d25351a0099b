"""Which files of a backup a restore to a round needs, and which of them are not what was written.

Not all that the backup holds: a file that left its table years ago may be damaged, and nobody is refused for it.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

from pipelines.backup import store
from pipelines.backup.manifest import State
from pipelines.backup.soundness import newest_sound
from pipelines.backup.store import Damage
from pipelines.io import backup_home_files, backup_lake
from pipelines.io.backup_round import AIRFLOW, CERTIFICATE, IDENTITY
from pipelines.io.backup_topics import TAIL, VAULT_TAIL, newest_copies

Line = dict[str, Any]


def tables_needed(folder: Path, state: State) -> dict[str, list[Line]]:
    """The files of each table as of `state`; a table whose history an erasure took comes as it is in the newest round.

    With as much of its log's history as there is: retention takes the oldest, and no version needs it. The rest of the
    log must be sound: it tells which data a version needs. Raises store.BackupDamaged.
    """
    found = {}
    for name, (of, at) in _versions(state, newest_sound(folder)).items():
        opens, history = backup_lake.logged(of, name, at)
        whole = takewhile(lambda line: store.check(folder, line) is None, history)
        found[name] = [*opens, *whole, *backup_lake.data_of(of, folder, name, at)]
    return found


def needed(folder: Path, state: State) -> list[Line]:
    """Every line without which there is no restore to `state`. Raises as `tables_needed`."""
    newest = newest_sound(folder)
    versions = _versions(state, newest)
    data = [line for name, (of, at) in versions.items() for line in backup_lake.data_of(of, folder, name, at)]
    return [*_logs(versions), *data, *beside_the_tables(state, newest)]


def damaged_of(folder: Path, state: State) -> list[Damage]:
    """What a restore to `state` needs and is not as it was written, by hash; the tables' logs alone where they are."""
    logs = _logs(_versions(state, newest_sound(folder)))
    return store.damages(folder, logs) or store.damages(folder, needed(folder, state))


def _logs(versions: dict[str, tuple[State, int]]) -> list[Line]:
    return [line for name, (of, at) in versions.items() for line in backup_lake.logged(of, name, at)[0]]


def _versions(state: State, newest: State) -> dict[str, tuple[State, int]]:
    forgot = {name for name, round_ in newest.forgot.items() if state.forgot.get(name) != round_}
    return {
        name: (newest, newest.tables[name]) if name in forgot else (state, at)
        for name, at in sorted(state.tables.items())
    }


def beside_the_tables(state: State, newest: State) -> list[Line]:
    """Whole copies, the tails, files of the home: without what was taken out on purpose since."""
    tails = [line for line in newest.of(TAIL).values() if line["first"] < state.ends.get(line["place"], 0)]
    # An earlier round's own may have gone with the table that took it in.
    tails += [line for path, line in newest.of(VAULT_TAIL).items() if path in state.files]
    copies = {what: _standing(state, newest, what) for what in (IDENTITY, AIRFLOW)}
    topics = [line for line in newest_copies(state).values() if line["path"] in newest.files]
    copies[IDENTITY] = copies[IDENTITY] or list(newest.of(IDENTITY).values())  # an erasure since took the older ones
    dumps = [*copies[IDENTITY][-1:], *copies[AIRFLOW][-1:], *topics]
    return [*tails, *dumps, *newest.of(CERTIFICATE).values(), *backup_home_files.needed(state, newest)]


def _standing(state: State, newest: State, what: str) -> list[Line]:
    return [line for path, line in sorted(state.of(what).items()) if path in newest.files]
