"""Gold builds beside each other, an erasure beside none: a build that began before would publish the person again."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def building(home: Path) -> Iterator[None]:
    """Held by every gold build of the stack in ``home``; waits while an erasure is at work."""
    with _file(home) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def no_build(home: Path, tell: Callable[[str], object]) -> Iterator[None]:
    """Waits until every gold build has ended, and says so; those that begin later wait for the end of this."""
    with _file(home) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            tell("a gold build is at work; the erasure waits for its end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _file(home: Path) -> Iterator[object]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "gold.lock").open("w") as file:
        yield file
