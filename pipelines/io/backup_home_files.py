"""Files of a home that no table holds, into a backup and out of it: the stores' archive, and what migrations know.

They change, and a restore to an earlier time needs them as they were: each state of a file is a file of its own in the
backup, until retention finds that nobody can ask for it any more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.stack.files import PRIVATE, private_folder
from pipelines.backup import store
from pipelines.backup.manifest import FILE, State
from pipelines.backup.manifest_writer import Writer

HOME_FILE = "home_file"
FOLDERS = ("archive", "migrations")


def current(state: State) -> dict[str, dict[str, Any]]:
    """The line of each file that was there at a state, by its path below the home."""
    return {line["home_path"]: line for line in state.of(HOME_FILE).values() if line.get("unused_since") is None}


def ship_home_files(writer: Writer, home: Path, round_: int) -> int:
    """Copy what is new or changed since the last round, and note what is gone; how many were copied.

    Told by size and time of change: whoever writes there puts a new file in the old one's place.
    """
    known, there, copied = current(writer.state), set(), 0
    for path in _files(home):
        name = str(path.relative_to(home))
        try:
            stat = path.stat()
            line = known.get(name)
            if line is None or (line["bytes"], line["mtime_ns"]) != (stat.st_size, stat.st_mtime_ns):
                made = store.copy_in(path, writer.folder, f"home/{name}/{round_:08}")
                _replaced(writer, line)
                facts = {"what": HOME_FILE, "home_path": name, "mtime_ns": stat.st_mtime_ns, "at": time.time()}
                writer.note({"kind": FILE, **made, **facts})
                copied += 1
            there.add(name)
        except FileNotFoundError:  # it went meanwhile
            continue
    for name in known.keys() - there:
        _replaced(writer, known[name])
    return copied


def _files(home: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            lock = path.name == "lock" or path.suffix == ".lock"
            if not (path.name.startswith(".") or lock) and path.is_file():  # drafts begin with a dot
                yield path


def _replaced(writer: Writer, line: dict[str, Any] | None) -> None:
    if line is not None:
        writer.note({**line, "unused_since": time.time()})


def forget_older(writer: Writer) -> int:
    """Only the files as they are now stay in the backup; how many go. An erasure asks for it."""
    old = [path for path, line in writer.state.of(HOME_FILE).items() if line.get("unused_since") is not None]
    writer.discard(old)
    return len(old)


def needed(state: State, newest: State) -> list[dict[str, Any]]:
    """The lines a restore to a state needs; of what an erasure took since, the file as it is after it, if at all."""
    now = current(newest)
    stands = [line if line["path"] in newest.files else now.get(name) for name, line in current(state).items()]
    return [line for line in stands if line is not None]


def bring_home_files(folder: Path, home: Path, state: State, newest: State) -> int:
    """Copy them into a home, with their times of change; how many. Raises store.BackupDamaged."""
    lines = needed(state, newest)
    for line in lines:
        target = home / line["home_path"]
        private_folder(target.parent)
        store.copy_out(folder, line, target)
        target.chmod(PRIVATE)
        os.utime(target, ns=(line["mtime_ns"], line["mtime_ns"]))
    return len(lines)
