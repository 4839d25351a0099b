"""A real stack in a folder of its own for one measurement; it is stopped and its folder emptied whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.stack import lifecycle, ports
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines.backup import places

OVERRIDES = (
    "KEFULAKE_KAFKA", "KEFULAKE_DATABASE_URL", "KEFULAKE_MASTER_KEY", "KEFULAKE_LAKE", places.FOLDER, places.KEYS,
)  # fmt: skip


@contextmanager
def scratch_stack(name: str, *, only: Sequence[str] | None = None, keep: bool = False) -> Iterator[Settings]:
    """Start ``only`` these parts (None: all) in ``build/<name>``; environment variables point to it meanwhile."""
    home = PROJECT_ROOT / "build" / name
    backup = home.with_name(f"{home.name}-backup")
    for folder in (home, backup, places.beside(backup)):
        shutil.rmtree(folder, ignore_errors=True)
    before = dict(os.environ)
    for override in OVERRIDES:
        os.environ.pop(override, None)
    settings = Settings.load(home, ports.free_base(24_000))
    os.environ |= {"KEFULAKE_HOME": str(home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    try:
        lifecycle.up(settings, only=list(only) if only else None, extra=None, tell=_quiet)
        yield settings
    finally:
        lifecycle.down(settings, _quiet)
        os.environ.clear()
        os.environ |= before
        if not keep:
            for folder in (home, backup, places.beside(backup)):
                shutil.rmtree(folder, ignore_errors=True)


def kefulake(*arguments: str, timeout_s: float = 900) -> str:
    """Run one ``kefulake`` command as a person would; its standard output. Raises RuntimeError with what it said."""
    command = [str(Path(sys.executable).parent / "kefulake"), *arguments]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"kefulake {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _quiet(part: str, doing: str) -> None:
    return None
