"""Recognising the processes of one stack, even when their supervisor is gone.

Every supervised process carries two environment variables that nothing else sets: which home it belongs to and
which part it is. They are inherited by what it starts (Python workers of the task manager), so a search by them
finds all that a dead supervisor left behind and never touches a shell that merely has KEFULAKE_HOME set.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

HOME_MARK = "KEFULAKE_SUPERVISED_HOME"
PART_MARK = "KEFULAKE_SUPERVISED_PART"
SUPERVISOR = "supervisor"


def marks(home: Path, part: str) -> dict[str, str]:
    """The environment of a supervised process."""
    return {HOME_MARK: str(home), PART_MARK: part}


def pid_file(home: Path, part: str) -> Path:
    """Where a part's pid is written when it starts."""
    return home / "run" / f"{part}.pid"


def part_of(process: psutil.Process, home: Path) -> str | None:
    """The part this process is of the stack at `home`; None for anything else."""
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    return environment.get(PART_MARK) if environment.get(HOME_MARK) == str(home) else None


def of_home(home: Path) -> Iterator[tuple[psutil.Process, str]]:
    """All living processes of one stack with their part; never the caller itself or its parents."""
    own = {os.getpid()}
    with contextlib.suppress(psutil.Error):
        own.update(parent.pid for parent in psutil.Process().parents())
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        part = part_of(process, home)
        if part is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            yield process, part


def resident_mb(process: psutil.Process) -> float:
    """Resident memory of a process and all it started, in MB (10^6 bytes)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total / 1e6


def stop_all(found: Iterable[psutil.Process], wait_s: float) -> list[psutil.Process]:
    """Asks the processes to end, waits, kills what is left; returns what had to be killed.

    psutil compares the start time before each signal, so a reused pid is never hit.
    """
    alive = list(found)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=wait_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=10)
    return alive
