"""How far a resource has been read: cursor, walk, and the records of the overlap, in a file that is never half written.

The file is a note, not the truth. Each raw record says in its headers which record of which resource it is and where
the cursor stood; so what a kill or a restore has taken from the file is read back from the log and the lake, and cannot
be ahead of what is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.stack.files import PRIVATE, write_atomic
from pipelines.connectors.pages import Step

_VERSION = 1
_US = 1_000_000


@dataclass
class Position:
    """``seen``: each record handed on that may come again, with the instant round which it was met (µs).

    ``open``: a run is at work, or one was killed; then records may be in the log behind ``next_offsets`` (by partition)
    of cluster ``cluster`` that are not in ``seen``.
    """

    cluster: str
    cursor_us: int | None = None
    walk: Step | None = None
    seen: dict[str, int] = field(default_factory=dict)
    next_offsets: dict[int, int] = field(default_factory=dict)
    open: bool = False
    #: `seen` holds all that was ever handed on, not only what the overlap can bring again.
    whole: bool = field(default=False, compare=False)
    #: Records met in this run that do not say when they changed; when they come again nobody can say.
    undated: set[str] = field(default_factory=set, compare=False)

    def remember(self, record: str, at_us: int | None, met_us: int | None) -> None:
        """Mark a record as handed on: it changed at ``at_us``, as far as it says so, and was met beside ``met_us``.

        What it says of itself may be missing or wrong, and it will come again where it was met; and one dated ahead of
        time comes again until its time has come.
        """
        if at_us is None:
            self.undated.add(record)
        self.seen[record] = max(self.seen.get(record, 0), at_us or 0, met_us or 0)

    def bound(self, most: int) -> None:
        """Of more than ``most`` records forget the ones marked first."""
        for record in list(self.seen)[: max(0, len(self.seen) - most)]:
            del self.seen[record]

    def forget(self, overlap_s: int) -> None:
        """At the end of a run: forget what lies before the overlap and cannot come again; undated ones count as of now.

        >>> position = Position("c", cursor_us=1_000_000_000)
        >>> position.remember("a", 300_000_000, None)
        >>> position.remember("b", None, 350_000_000)
        >>> position.remember("c", 300_000_000, 400_000_000)
        >>> position.forget(600)
        >>> sorted(position.seen)
        ['b', 'c']
        """
        if self.cursor_us is not None:
            self.seen |= dict.fromkeys(self.undated & self.seen.keys(), self.cursor_us)
            # A second more: the filter of a source rounds down.
            from_us = self.cursor_us - (overlap_s + 1) * _US
            self.seen = {record: at_us for record, at_us in self.seen.items() if at_us >= from_us}


def load(path: Path, cluster: str) -> Position | None:
    """What the file says; None where there is none, or it speaks of another cluster or form, or cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION or content["cluster"] != cluster:
            return None
        walk = None if content["walk"] is None else Step(*content["walk"])
        offsets = {int(partition): offset for partition, offset in content["next_offsets"].items()}
        return Position(cluster, content["cursor_us"], walk, content["seen"], offsets, content["open"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, position: Position) -> None:
    """Write it; a reader sees the old content or the new one."""
    content: Mapping[str, object] = {
        "version": _VERSION,
        "cluster": position.cluster,
        "open": position.open,
        "cursor_us": position.cursor_us,
        "walk": position.walk,
        "next_offsets": position.next_offsets,
        "seen": position.seen,
    }
    write_atomic(path, json.dumps(content) + "\n", PRIVATE)
