"""Watches that nothing stops: the same job runs all along, and so do the processes that were there at the start."""

from __future__ import annotations

import threading
import time

import psutil

from infra.stack import flink, flink_jobs, processes
from infra.stack.settings import Settings

EVERY_S = 1.0


class Watch(threading.Thread):
    """Looks once a second; `faults` tells in the end what changed. Start it once the job has judged a message."""

    def __init__(self, settings: Settings, job: str):
        super().__init__(name="watch", daemon=True)
        self._settings, self._job, self._ended = settings, job, threading.Event()
        self._id = flink_jobs.running_job(settings, job).job_id
        self._first = _parts(settings)
        self.restarts = self.looks = 0
        self.heap_mb_max = 0.0
        self._seen: set[str] = set()

    def run(self) -> None:
        """Until `faults` is asked for."""
        while not self._ended.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        try:
            told = flink.rest(self._settings, f"/jobs/{self._id}")
            metric = flink.rest(self._settings, f"/jobs/{self._id}/metrics?get=numRestarts")
            heap = flink.rest(self._settings, "/taskmanagers/metrics?get=Status.JVM.Memory.Heap.Used&agg=max")
        except OSError as error:
            self._seen.add(f"the job manager did not answer: {error}")
            return
        self.looks += 1
        self.restarts = max([self.restarts, *(int(float(m["value"])) for m in metric)])
        self.heap_mb_max = max([self.heap_mb_max, *(m["max"] / 1e6 for m in heap)])
        states = {told["state"], *(vertex["status"] for vertex in told["vertices"])} - {"RUNNING"}
        self._seen |= {f"the job or a task of it was {state}" for state in states}

    def faults(self) -> list[str]:
        """Ends the watch: every way in which something stopped, was restarted or replaced."""
        self._ended.set()
        self.join()
        self._look()
        found = sorted(self._seen)
        if self.restarts:
            found.append(f"the job was restarted {self.restarts} times: {flink_jobs.failure(self._settings, self._id)}")
        last = _parts(self._settings)
        found += [f"{part} (pid {pid}) died" for pid, part in self._first.items() if pid not in last]
        if not self.looks:
            found.append("the job was never looked at")
        return found

    def workers(self) -> int:
        """Python workers that ran at the start."""
        return sum(part == "Python worker" for part in self._first.values())


def _parts(settings: Settings) -> dict[int, str]:
    """Process by pid: the supervised parts, and the Python workers below the task manager."""
    found = {}
    for process, part in processes.of_home(settings.home):
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "beam_sdk_worker_main" in command or "beam_boot" in command:
            found[process.pid] = "Python worker"
        elif process.ppid() and _own(process, part, settings):
            found[process.pid] = part
    return found


def _own(process: psutil.Process, part: str, settings: Settings) -> bool:
    file = processes.pid_file(settings.home, part)
    return file.exists() and file.read_text(encoding="utf-8").strip() == str(process.pid)


def wait_until(done, limit_s: float, every_s: float = 1.0) -> bool:
    """Poll `done` until it is true; False when it is not within the limit."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True
