"""Who spends the cores and the memory: samples of CPU time and resident memory, by part, while something runs."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import psutil

from infra.stack import processes
from infra.stack.settings import Settings
from tests.bench import figures
from tests.bench.machine_probe import probe_ms

EVERY_S = 1.0
_LOOK_FOR_NEW_EVERY = 5  # samples; finding processes costs more than reading them
Found = Iterable[tuple[psutil.Process, str]]

# What a thread of the task manager works for, by the beginning of its name (the kernel keeps 15 characters).
_THREADS = (
    ("Source", "source and records to Python"),
    ("kafka-producer", "sink"),
    ("Sink", "sink"),
    ("OverAgg", "state and sink writer"),
    ("Over", "state and sink writer"),
    ("feedback", "state and sink writer"),
    ("rocksdb", "state"),
    ("G1", "garbage collection"),
    ("GC", "garbage collection"),
    ("VM Thread", "garbage collection"),
    ("C1", "JIT compiler"),
    ("C2", "JIT compiler"),
    ("grpc", "records to Python"),
    ("kafka", "source fetcher"),
    ("Kafka", "source fetcher"),
    ("async", "checkpoints"),
    ("jobmanager_io", "checkpoints"),
)


_PARTS = {"kafka": "broker", "flink-jobmanager": "job manager", "supervisor": "supervision"}


def thread_role(name: str) -> str:
    """What a task-manager thread works for.

    >>> thread_role("kafka-producer-"), thread_role("C2 CompilerThre"), thread_role("flink-metrics-1")
    ('sink', 'JIT compiler', 'other')
    """
    return next((role for start, role in _THREADS if name.startswith(start)), "other")


def stack_processes(settings: Settings) -> Found:
    """The stack's processes by part; the Python workers of the task manager apart from its JVM."""
    for process, part in processes.of_home(settings.home):
        with contextlib.suppress(psutil.Error):
            name = process.name()
            if part == "flink-taskmanager":
                part = "task manager JVM" if name.startswith("java") else "Python workers"
            yield process, _PARTS.get(part, part)


def tree(root: psutil.Process, name_of: Callable[[psutil.Process], str]) -> Found:
    """A process and all it started."""
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                yield process, name_of(process)


class Sampler(threading.Thread):
    """Samples until stopped. Parts that ended keep what they had spent. Threads of one JVM are kept by role."""

    def __init__(self, find: Callable[[], Found], *, threads_of: str | None = None):
        super().__init__(name="core-seconds", daemon=True)
        self._find, self._threads_of = find, threads_of
        self._known: dict[psutil.Process, str] = {}
        self._spent: dict[psutil.Process, float] = {}
        self._thread_spent: dict[int, tuple[str, float]] = {}
        self._over = threading.Event()
        self.cpu: list[tuple[float, dict[str, float]]] = []
        self.threads: list[tuple[float, dict[str, float]]] = []
        self.idle: list[tuple[float, dict[str, float]]] = []
        self.memory: list[tuple[float, dict[str, float]]] = []
        self.probes: list[tuple[float, float]] = []

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(10)

    def run(self) -> None:
        """One sample a second."""
        count = 0
        while True:
            if count % _LOOK_FOR_NEW_EVERY == 0:
                self._known |= {p: part for p, part in self._find() if p not in self._known}
            self._sample(with_threads=count % _LOOK_FOR_NEW_EVERY == 0)
            count += 1
            if self._over.wait(EVERY_S):
                self._sample(with_threads=True)
                return

    def _sample(self, *, with_threads: bool) -> None:
        at, memory = time.time(), defaultdict(float)
        for process, part in self._known.items():
            with contextlib.suppress(psutil.Error):
                with process.oneshot():
                    times = process.cpu_times()
                    self._spent[process] = times.user + times.system
                    memory[part] += process.memory_info().rss / 1e6
                if with_threads and part == self._threads_of:
                    self._read_threads(process)
        cpu = defaultdict(float)
        for process, spent in self._spent.items():
            cpu[self._known[process]] += spent
        self.cpu.append((at, dict(cpu)))
        machine = psutil.cpu_times()
        # Stolen by the host: who measures on a shared machine must see the seconds that were not ours.
        self.idle.append((at, {"idle": machine.idle + machine.iowait, "stolen": getattr(machine, "steal", 0.0)}))
        self.memory.append((at, dict(memory)))
        self.probes.append((at, probe_ms()))
        if with_threads and self._thread_spent:
            roles = defaultdict(float)
            for role, spent in self._thread_spent.values():
                roles[role] += spent
            self.threads.append((at, dict(roles)))

    def _read_threads(self, process: psutil.Process) -> None:
        for thread in process.threads():
            with contextlib.suppress(OSError), open(f"/proc/{process.pid}/task/{thread.id}/comm") as comm:
                role = thread_role(comm.read().strip())
                self._thread_spent[thread.id] = (role, thread.user_time + thread.system_time)

    @property
    def peak_memory_mb(self) -> float:
        """Largest sum of resident memory over all parts, in MB (10^6 bytes); shared pages count in each process."""
        return round(max((sum(parts.values()) for _, parts in self.memory), default=0.0))

    def memory_at_peak(self) -> dict[str, int]:
        """Who held what when the sum was largest, MB."""
        _, parts = max(self.memory, key=lambda sample: sum(sample[1].values()), default=(0, {}))
        return {part: round(mb) for part, mb in sorted(parts.items(), key=lambda pair: -pair[1])}

    def by_second(self, began_at: float, ended_at: float) -> list[dict]:
        """``{"at", "idle", part: cores, …}`` of each second: who had the cores, and how much of them nobody."""
        told = []
        for at in range(int(began_at), int(ended_at)):
            used = figures.between(self.cpu, at, at + 1) | figures.between(self.idle, at, at + 1)
            told.append({"at": at} | {part: round(cores, 2) for part, cores in sorted(used.items())})
        return told

    def spent(self, began_at: float, ended_at: float, events: int) -> dict:
        """Core-seconds per million events between two moments, by part and, for one JVM, by role of its threads.

        ``probe_ms`` tells how fast the machine was meanwhile (the median; see machine_probe).
        """
        told = {"per_million": figures.per_million(figures.between(self.cpu, began_at, ended_at), events)}
        told["cores_used"] = round(
            sum(figures.between(self.cpu, began_at, ended_at).values()) / max(ended_at - began_at, 1e-9), 2
        )
        probes = [ms for at, ms in self.probes if began_at <= at <= ended_at]
        told["probe_ms"] = round(statistics.median(probes), 3) if probes else None
        if self.threads:
            roles = figures.between(self.threads, began_at, ended_at)
            told["task_manager_threads_per_million"] = figures.per_million(roles, events)
        return told
