"""Which processes belong to a stack, and clearing what an earlier part left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.stack import guard, processes

SLEEP = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(120)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(120)",
]


@pytest.fixture
def start() -> Iterator:
    started: list[subprocess.Popen] = []

    def _start(environment: dict[str, str], command: list[str] = SLEEP) -> subprocess.Popen:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process

    yield _start
    for process in started:
        process.kill()
        process.wait()


def test_only_marked_processes_of_this_home_count(tmp_path: Path, start) -> None:
    mine = start(processes.marks(tmp_path, "kafka"))
    start(processes.marks(tmp_path / "other", "kafka"))  # another stack
    start({"KEFULAKE_HOME": str(tmp_path)})  # a person's shell that works on this home
    assert [(process.pid, part) for process, part in processes.of_home(tmp_path)] == [(mine.pid, "kafka")]


def test_guard_clears_its_own_part_only(tmp_path: Path, start) -> None:
    worker = start(processes.marks(tmp_path, "flink-taskmanager"))  # a Python worker whose task manager was killed
    broker = start(processes.marks(tmp_path, "kafka"))
    assert guard.clear_leftovers("flink-taskmanager", tmp_path, wait_s=5) == 1
    assert not psutil.pid_exists(worker.pid)
    assert broker.poll() is None


def test_what_does_not_end_when_asked_is_killed(tmp_path: Path, start) -> None:
    stubborn = start(processes.marks(tmp_path, "kafka"), STUBBORN)
    killed = processes.stop_all([psutil.Process(stubborn.pid)], wait_s=0.5)
    assert [process.pid for process in killed] == [stubborn.pid]
    assert not psutil.pid_exists(stubborn.pid)


def test_guard_becomes_the_part_and_notes_its_pid(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "infra.stack.guard", "echo", str(tmp_path), "1", "--", "echo", "id-@PID@"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"id-{processes.pid_file(tmp_path, 'echo').read_text()}"
