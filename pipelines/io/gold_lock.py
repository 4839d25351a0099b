"""Gold builds beside each other, an erasure and the upkeep beside none.

A build that began before an erasure would publish the person again; one that began before its table's files were merged
would replace files that are not there any more, and leave the merged ones.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def building(home: Path) -> Iterator[None]:
    """Held by every gold build of the stack in ``home``; waits while an erasure is at work."""
    with _file(home) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def one_build_of(table: str, home: Path) -> Iterator[None]:
    """Held by a build that starts from the last one: a second one of ``table`` waits, and starts from this one."""
    with _file(home, f"{table}.lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.info("another build of %s is at work; this one waits for its end", table)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def no_build(home: Path, tell: Callable[[str], object], who: str = "the erasure") -> Iterator[None]:
    """Waits until every gold build has ended, and says so; those that begin later wait for the end of this."""
    with _file(home) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            tell(f"a gold build is at work; {who} waits for its end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _file(home: Path, name: str = "gold.lock") -> Iterator[object]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / name).open("w") as file:
        yield file
