"""PyArrow for the Spark peer, beside the environment: Spark 4.2 wants 18 or newer, Flink 2.3 holds the rest below 17.

The peer shall run on what it asks for, so its driver and workers find this folder first on their path.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from infra.stack.settings import PROJECT_ROOT

PYARROW = "pyarrow==21.0.0"
FOLDER = PROJECT_ROOT / "build" / "bench-peer"


class ArrowMissing(RuntimeError):
    """The peer's PyArrow could not be fetched; without it Spark refuses Arrow functions."""


def ensure() -> Path:
    """The folder with the peer's PyArrow, fetched once (40 MB). Raises ArrowMissing."""
    if not (FOLDER / f"{PYARROW.replace('==', '-')}.dist-info").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(FOLDER), PYARROW]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ArrowMissing(f"{PYARROW} could not be fetched for the Spark peer: {done.stderr.strip()[-300:]}")
    return FOLDER


def environment(base: dict[str, str]) -> dict[str, str]:
    """An environment in which Python finds the peer's PyArrow first, then this project."""
    return base | {"PYTHONPATH": os.pathsep.join([str(ensure()), str(PROJECT_ROOT)])}
