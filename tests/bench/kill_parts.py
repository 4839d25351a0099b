"""The killer: which parts die when, the second tiering service, and how long each kill took to heal."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from rich.console import Console

from infra.stack.settings import PROJECT_ROOT, Settings
from tests.bench.kill_flow import moved, pid_of

RECOVERY_LIMIT_S = 120
console = Console()


@dataclass
class Kill:
    """One kill. recover_s: until the part ran again and its flow had moved on; None: not within the limit."""

    part: str
    at_s: float
    recover_s: float | None = None


@dataclass
class Second:
    """A second tiering service on the same tables, started anew whenever it dies: a supervisor of another host."""

    settings: Settings
    process: subprocess.Popen | None = None
    wanted: threading.Event = field(default_factory=threading.Event)

    def keep_running(self) -> None:
        """Call often; starts it when it should run and doesn't."""
        if self.wanted.is_set() and (self.process is None or self.process.poll() is not None):
            log = open(self.settings.logs / "tiering-second.out", "ab")  # noqa: SIM115 - lives as long as the process
            status = ["--status-file", str(self.settings.run / "tiering-second.json")]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobs.services.tiering", *status], cwd=PROJECT_ROOT, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Ends it for good."""
        self.wanted.clear()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


def busy_policies(folder: Path) -> Path:
    """A copy of ``schemas/`` in which rearranging never rests, so that kills meet it."""
    shutil.copytree(PROJECT_ROOT / "schemas", folder)
    path = folder / "policies" / "tiering.yaml"
    policy = yaml.safe_load(path.read_text(encoding="utf-8"))
    policy["batch"] |= {"commit_interval_s": 1.0}
    policy["upkeep"] |= {"every_s": 1, "compact_at_files": 4, "checkpoint_every_commits": 10, "vacuum_every_s": 5}
    policy["upkeep"] |= {"vacuum_retention_hours": 1}
    policy |= {"rest_after_lost_race_s": [0.1, 1.5]}
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    return folder


def kill_one(settings: Settings, part: str, second: Second) -> bool:
    """``kill -9`` and nothing else; False when there was nothing to kill."""
    pid = second.process.pid if part == "tiering-second" and second.process else pid_of(settings, part)
    if not pid or not psutil.pid_exists(pid):
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def await_recovery(settings: Settings, kill: Kill, old_pid: int, began: float) -> None:
    """Waits until the part has a new pid and what flows through it moved on after that."""
    base = -1
    while time.monotonic() - began < RECOVERY_LIMIT_S:
        back = kill.part == "tiering-second" or pid_of(settings, kill.part) not in (0, old_pid)
        now = moved(settings, kill.part) if back else -1
        if base >= 0 and now > base + 1:
            kill.recover_s = round(time.monotonic() - began, 1)
            return
        base = now if base < 0 else base
        time.sleep(0.2)


class Killer(threading.Thread):
    """Kills the parts in random order, spread over the events."""

    def __init__(self, settings: Settings, parts: list[str], kills: int, seed: int, share_done, second: Second):
        super().__init__(name="killer")
        self._settings, self._parts, self._count, self._second = settings, parts, kills, second
        self._random, self._share_done = random.Random(seed), share_done
        self.kills: list[Kill] = []
        self._began = time.monotonic()

    def run(self) -> None:
        """One kill after another: each waits for its share of the events, then a random moment, then for recovery."""
        for number in range(self._count):
            if number >= self._count // 2:
                self._second.wanted.set()
            while self._share_done() < number / (self._count + 1):
                self._second.keep_running()
                time.sleep(0.1)
            time.sleep(self._random.uniform(0, 3))
            self._kill_random_part()
        self._second.keep_running()

    def _kill_random_part(self) -> None:
        parts = [*self._parts, *(["tiering-second"] if self._second.wanted.is_set() else [])]
        part = self._random.choices(parts, [3 if p.startswith("tiering") else 1 for p in parts])[0]
        old_pid, began = pid_of(self._settings, part), time.monotonic()
        while not kill_one(self._settings, part, self._second):
            self._second.keep_running()
            time.sleep(0.2)
        kill = Kill(part, round(began - self._began, 1))
        self.kills.append(kill)
        self._second.keep_running()
        await_recovery(self._settings, kill, old_pid, began)
        console.print(f"  {kill.at_s:7.1f} s  kill -9 {part:18} back and flowing after {kill.recover_s} s")
