"""What the running stack looks like: the one source of `kefulake status` and of the Prometheus metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from infra.stack import lifecycle, processes, supervisor
from infra.stack.programs import PROGRAMS
from infra.stack.settings import Settings


@dataclass(frozen=True)
class Part:
    """One supervised part. trouble: None when well, else why not. memory_mb: it and its children, resident."""

    name: str
    trouble: str | None
    pid: int
    up_s: float
    memory_mb: float
    address: str


def parts(settings: Settings) -> list[Part]:
    """Every part the supervisor looks after, in starting order; empty when nothing runs."""
    states = supervisor.states(settings)
    if not states:
        return []
    found = []
    for program in sorted((p for p in PROGRAMS if p.name in states), key=lambda p: p.stage):
        info = states[program.name]
        pid = info["pid"]
        memory_mb = processes.resident_mb(psutil.Process(pid)) if pid and psutil.pid_exists(pid) else 0.0
        ports = list(program.ports(settings).values())
        found.append(
            Part(
                name=program.name,
                trouble=lifecycle.trouble(settings, program, states),
                pid=pid,
                up_s=time.time() - info["start"] if pid else 0.0,
                memory_mb=memory_mb,
                address=f"127.0.0.1:{ports[0]}" if ports else "",
            )
        )
    return found
