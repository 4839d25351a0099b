"""What a backup folder says of itself: an append-only, chained list of its files, and the rounds they were sealed by.

A generation is a file of lines, one JSON object each; the first lines of a generation repeat what there is, so each
can be read alone. Every line carries the hash of the line before it and itself (`chain`), so a changed, missing or
moved line is found and named; `head.json` holds the last chain, so a cut-off end is found as well. A ``round`` line
seals what stands before it: a restore goes to a round, never between two.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER, HEAD, LOCK = "manifest", "head.json", "backup.lock"
FILE, GONE, FORGOT, ROUND = "file", "gone", "forgot", "round"
_START = "0" * 64


class ManifestDamaged(RuntimeError):
    """A line of the manifest is not what was written; the message names file and line, `before` is what is sound."""

    def __init__(self, message: str, before: State):
        super().__init__(message)
        self.before = before


class BackupBusy(RuntimeError):
    """Another round, full backup or erasure works in the folder; the message says so."""


@dataclass
class State:
    """What the backup held at a round.

    files: path → line (``bytes``, ``sha256`` and what the writer added). tables: name → Delta version. ends: raw
    partition (``raw.app/0``) → next offset that is in the backup. forgot: table → round in which its history was taken
    out (an erasure, or the table was made anew).
    """

    generation: int = 0
    lines: int = 0
    chain: str = _START
    rounds: int = 0
    at: float = 0.0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    forgot: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def apply(self, line: Mapping[str, Any]) -> None:
        """Take one line in."""
        kind = line["kind"]
        if kind == FILE:
            self.files[line["path"]] = dict(line)
        elif kind == GONE:
            self.files.pop(line["path"], None)
        elif kind == FORGOT:
            self.forgot[line["table"]] = line["round"]
        elif kind == ROUND:
            self.rounds, self.at = line["round"], line["at"]
            self.tables |= line["tables"]
            self.ends |= line["ends"]
            self.facts = line["facts"]

    def of(self, what: str) -> dict[str, dict[str, Any]]:
        """The files of one sort."""
        return {path: line for path, line in self.files.items() if line["what"] == what}


def linked(chain: str, body: Mapping[str, Any]) -> str:
    """The chain after a line: over the one before it and the line's own words."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{chain}{text}".encode()).hexdigest()


def generations(folder: Path) -> list[int]:
    """Numbers of the generations that lie there, oldest first."""
    return sorted(int(path.stem) for path in (folder / FOLDER).glob("*.jsonl"))


def file_of(folder: Path, generation: int) -> Path:
    """Where a generation's lines stand."""
    return folder / FOLDER / f"{generation:08}.jsonl"


def walk(folder: Path, generation: int) -> Iterator[tuple[State, dict[str, Any]]]:
    """The state after each line, and the line; the same state object each time.

    Raises ManifestDamaged. A last line without its line break is a writer's that was killed: it is passed over.
    """
    path, state = file_of(folder, generation), State(generation)
    sound = State(generation)
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.endswith(b"\n"):
                break
            try:
                told = json.loads(raw)
                chain = told.pop("chain")
                if chain != linked(state.chain, told):
                    raise ValueError("chain")
            except (ValueError, KeyError, AttributeError) as error:
                raise ManifestDamaged(
                    f"{path}, line {number}: not what was written there (its chain does not fit)", sound
                ) from error
            state.apply(told)
            state.chain, state.lines = chain, number
            if told["kind"] == ROUND:
                sound = copied(state)
            yield state, told


def copied(state: State) -> State:
    """A state of its own: `walk` goes on changing the one it gives."""
    return State(state.generation, state.lines, state.chain, state.rounds, state.at, dict(state.files),
                 dict(state.tables), dict(state.ends), dict(state.forgot), dict(state.facts))  # fmt: skip


def read(folder: Path, *, until: float | None = None) -> State:
    """The state at the last round not later than `until` (epoch seconds; None: the last there is).

    Raises ManifestDamaged, FileNotFoundError where no round is that old.
    """
    for generation in reversed(generations(folder)):
        found = _at(folder, generation, until)
        if found is not None:
            _require_whole(folder, found, until)
            return found
    raise FileNotFoundError(f"{folder} holds no round" + (" so old" if until else "") + "; kefulake backup status")


def _at(folder: Path, generation: int, until: float | None) -> State | None:
    found = None
    for state, line in walk(folder, generation):
        if line["kind"] == ROUND:
            if until is not None and line["at"] > until:
                break
            found = copied(state)
    return found


def _require_whole(folder: Path, state: State, until: float | None) -> None:
    """The head is written after the lines it names: where they are not there, they were and are lost."""
    head = folder / HEAD
    told = json.loads(head.read_text(encoding="utf-8")) if head.exists() else None
    if not told or told["generation"] < state.generation:
        return
    newest = file_of(folder, told["generation"])
    if not newest.exists():
        raise ManifestDamaged(f"{newest}: is missing, and {told['lines']} lines were written there", state)
    if until is not None and until < told["at"]:
        return
    if told["generation"] > state.generation or told["lines"] > state.lines:
        there = state.lines if told["generation"] == state.generation else 0
        raise ManifestDamaged(
            f"{newest}: ends with line {there}, and line {told['lines']} was written: its end is cut off", state
        )


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """One writer of the folder at a time. Raises BackupBusy where `wait` is false and somebody works."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            raise BackupBusy(f"another command works in {folder}; try again when it has ended") from error
        yield
