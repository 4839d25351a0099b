"""The folder that stores deliver into: what lies there, what must wait, what is taken away once it is dealt with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from infra.stack.files import write_json
from pipelines.io.store_archive import StoreArchive
from pipelines.stores.arrivals import Arrival, Look
from pipelines.stores.verdicts import FileIncomplete


class Inbox:
    """A folder with files, also in folders below it. What earlier runs saw of waiting files is remembered beside."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self.folder, self._memory = folder, memory
        self._looks = _read_looks(memory)

    def arrivals(self) -> list[Arrival]:
        """Every file, oldest first. Left out: hidden ones, links, and the owner files (~$) of an open Excel."""
        found = []
        for path in self.folder.rglob("*"):
            parts = path.relative_to(self.folder).parts
            if any(part.startswith((".", "~$")) for part in parts) or path.is_symlink() or not path.is_file():
                continue
            found.append(self._arrival(path))
        return sorted(found, key=lambda one: (one.modified_ns, one.path))

    def links(self) -> list[str]:
        """Names that lead elsewhere; they are not followed, for they could lead anywhere."""
        return sorted(path.relative_to(self.folder).as_posix() for path in _links(self.folder))

    def _arrival(self, path: Path) -> Arrival:
        stat = path.stat()
        name = path.relative_to(self.folder).as_posix()
        return Arrival(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def read(self, arrival: Arrival) -> bytes:
        """The bytes. Raises FileIncomplete ``incomplete.growing`` when the file changed while it was read."""
        path = self.folder / arrival.path
        content = path.read_bytes()
        if self._arrival(path) != arrival or len(content) != arrival.size:
            raise FileIncomplete("incomplete.growing", "it was written to while it was read")
        return content

    def hash(self, arrival: Arrival) -> str:
        """SHA-256 of a file too large to be held."""
        with (self.folder / arrival.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, arrival: Arrival) -> bool:
        """Take away what was dealt with; False where another file came under its name meanwhile, which stays."""
        path = self.folder / arrival.path
        if not path.exists() or self._arrival(path) != arrival:
            return False
        path.unlink()
        return True

    def put_back(self, archive: StoreArchive, sha256: str, now_ns: int) -> str:
        """A refused file as it came, under its name, ready to be taken; its name. Raises ValueError for an unknown one.

        It leaves the refused ones once it lies here: a run that dies in between leaves it in both, and it is refused
        again or taken.
        """
        told = {found: row["file_name"] for found, row in archive.refused() if found.startswith(sha256)}
        if len(told) != 1:
            raise ValueError(f"{len(told)} refused files begin with {sha256}; see bronze.store_files, file_sha256")
        [(found, name)] = told.items()
        path = self.folder / name
        if path.exists():
            raise ValueError(f"{name} is in the inbox already; deal with that one first")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(archive.open_refused(found))
        settled_ns = now_ns - 10**9 * 24 * 3600  # it is whole: nobody writes to it any more
        os.utime(path, ns=(settled_ns, settled_ns))
        archive.forget_refused(found)
        return name

    # ---- what has to wait

    def look(self, arrival: Arrival) -> Look | None:
        """What an earlier run saw of a file."""
        return self._looks.get(arrival.path)

    def remember(self, looks: dict[str, Look]) -> None:
        """Keep what this run saw of the files that wait; others are forgotten."""
        write_json(self._memory, {name: list(look) for name, look in sorted(looks.items())})


def _links(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink())


def _read_looks(memory: Path) -> dict[str, Look]:
    try:
        return {name: Look(*look) for name, look in json.loads(memory.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
