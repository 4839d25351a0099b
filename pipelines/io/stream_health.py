"""How the streams of a service fare, told to status and metrics through a small JSON file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from infra.stack.files import write_atomic


@dataclass
class Health:
    """How a stream fares, for status and metrics. Instants are UTC epoch seconds, or None."""

    state: str = "starting"  # starting | running | retrying | refused | gave_up | stopped
    error: str = ""
    last_commit_at: float | None = None
    caught_up_at: float | None = None
    rows_written: int = 0
    rows_waiting: int = 0
    unreadable: int = 0
    commits: int = 0
    lost_races: int = 0
    lag: dict[str, int] = field(default_factory=dict)


def write_status(path: Path, health: Mapping[str, Health], clock: Callable[[], float] = time.time) -> None:
    """``{"written_at", "pid", "tables": {name: Health}}``; instants as ISO 8601 in UTC."""
    tables = {}
    for name, now in health.items():
        told = dict(now.__dict__)
        for instant in ("last_commit_at", "caught_up_at"):
            told[instant] = _iso(told[instant])
        tables[name] = told | {"lag_total": sum(now.lag.values())}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"written_at": _iso(clock()), "pid": os.getpid(), "tables": tables}, indent=1))


def _iso(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).isoformat()
