"""The one who appends to a manifest: lines are noted while a round is made, and count once it is sealed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.stack.files import write_json
from pipelines.backup.manifest import (
    FORGOT,
    GONE,
    HEAD,
    ROUND,
    ManifestDamaged,
    State,
    file_of,
    generations,
    linked,
    read,
)


class Writer:
    """Appends lines; the caller holds `locked`. Lines count from the `sealed` round on, and only then.

    Files leave the disk when the round that says so is sealed: killed before it, the round before has them all (but for
    a table made anew, whose log takes the places of the old one's).
    """

    def __init__(self, folder: Path, state: State | None):
        self.folder, self.state = folder, state or State()
        self._pending: list[str] = []
        self._leaving: list[str] = []
        self._sealed = (self.state.generation, self.state.lines)
        if self.state.generation == 0:
            self.begin_generation()

    @classmethod
    def open(cls, folder: Path) -> Writer:
        """At the end of what there is; what a killed writer left after its last round is cut off.

        Raises ManifestDamaged: a full backup begins a manifest anew from the last round that is sound.
        """
        try:
            state = read(folder) if generations(folder) else None
        except FileNotFoundError:  # its first writer was killed in the first round
            state = None
        except ManifestDamaged as damaged:
            hint = "kefulake backup full begins a new one at the last round before the damage"
            raise ManifestDamaged(f"{damaged}; {hint}", damaged.before) from damaged
        if state is not None:
            with file_of(folder, state.generation).open("rb+") as file:
                for _ in range(state.lines):
                    file.readline()
                file.truncate()
        return cls(folder, state)

    def is_stale(self) -> bool:
        """True where another writer sealed a round since."""
        head = self.folder / HEAD
        if not head.exists():
            return self.state.rounds > 0
        told = json.loads(head.read_text(encoding="utf-8"))
        return (told["generation"], told["lines"]) != self._sealed

    def begin_generation(self) -> None:
        """A new file of lines that repeats what there is."""
        before = self.state
        self._pending = []
        # A file of the next number may be there, of a writer that was killed, or damaged: it is let be.
        self.state = State(max([before.generation, *generations(self.folder)]) + 1, rounds=before.rounds)
        for line in before.files.values():
            self.note(line)
        for table, round_ in before.forgot.items():
            self.note({"kind": FORGOT, "table": table, "round": round_})
        self.state.tables, self.state.ends = {}, {}
        self._repeated = (before.tables, before.ends)

    def note(self, line: Mapping[str, Any]) -> None:
        """One more line, on disk with the round that seals it."""
        body = dict(line)
        chain = linked(self.state.chain, body)
        self.state.apply(body)
        self.state.chain, self.state.lines = chain, self.state.lines + 1
        self._pending.append(json.dumps(body | {"chain": chain}, sort_keys=True, ensure_ascii=False))

    def discard(self, paths: Iterable[str]) -> None:
        """Files that no round holds from the next on; they go from the disk with its seal, in this order."""
        for path in list(paths):
            self.note({"kind": GONE, "path": path})
            self._leaving.append(path)

    def seal(self, *, at: float, tables: Mapping[str, int], ends: Mapping[str, int], facts: Mapping[str, Any]) -> State:
        """End the round: its lines, then the head, each on disk before it counts."""
        old_tables, old_ends = getattr(self, "_repeated", (self.state.tables, self.state.ends))
        self._repeated = ({}, {})
        merged_tables, merged_ends = {**old_tables, **self.state.tables, **tables}, {
            **old_ends, **self.state.ends, **ends}  # fmt: skip
        self.note(
            {
                "kind": ROUND, "round": self.state.rounds + 1, "at": at, "facts": dict(facts),
                "tables": {n: v for n, v in merged_tables.items() if self.state.tables.get(n) != v},
                "ends": {n: v for n, v in merged_ends.items() if self.state.ends.get(n) != v},
            }
        )  # fmt: skip
        path = file_of(self.folder, self.state.generation)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in self._pending))
            file.flush()
            os.fsync(file.fileno())
        self._pending = []
        head = {"generation": self.state.generation, "lines": self.state.lines, "chain": self.state.chain, "at": at}
        write_json(self.folder / HEAD, head)
        self._sealed = (self.state.generation, self.state.lines)
        for gone in self._leaving:
            if gone not in self.state.files:  # else it was written anew in the same round
                (self.folder / gone).unlink(missing_ok=True)
        self._leaving = []
        return self.state
