"""Up and down: the order of things, and nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from itertools import groupby

from infra.stack import keys, ports, processes, roots, supervisor
from infra.stack.files import private_folder, write_if_changed
from infra.stack.programs import PROGRAMS, Program, select
from infra.stack.settings import PORT_BASE_FILE, Settings

Progress = Callable[[str, str], None]
"""Called with a part's name and what it is doing now: 'preparing', 'starting', 'waiting: …', 'ready (3.2 s)'."""

RUNNING = {"RUNNING", "STARTING", "BACKOFF"}


class PartFailed(RuntimeError):
    """A part did not become healthy in its time; the message says which, why, and where its log is."""


@contextlib.contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """One up or down at a time for a home; a second one waits."""
    private_folder(settings.run)
    with open(settings.run / "lifecycle.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(settings: Settings, *, only: list[str] | None, extra: list[str] | None, tell: Progress) -> list[Program]:
    """Starts what does not run yet, stage by stage; returns the parts that now run.

    Raises ports.PortTaken before anything starts, PartFailed when a part stays unhealthy.
    """
    with exclusive(settings):
        chosen = select(settings, only, extra)
        for folder in (settings.logs, settings.lake, settings.checkpoints, settings.savepoints, settings.job_records):
            folder.mkdir(parents=True, exist_ok=True)
        private_folder(settings.home)
        roots.mark(settings)
        if not settings.own_kafka:
            roots.claim_cluster(settings)
        keys.ensure_master_key(settings)
        running = {name for name, info in supervisor.states(settings).items() if info["statename"] in RUNNING}
        if not running:
            _clear_orphans(settings, tell)
        fresh = [program for program in chosen if program.name not in running]
        ports.require_free({use: port for program in fresh for use, port in program.ports(settings).items()})
        for program in fresh:
            tell(program.name, program.preparing)
            program.prepare(settings)
        known = [program for program in PROGRAMS if program in chosen or program.name in running]
        proxy = supervisor.start(settings, known)
        write_if_changed(settings.home / PORT_BASE_FILE, str(settings.ports.base))
        for _, stage in groupby(chosen, key=lambda program: program.stage):
            _start_stage(settings, proxy, list(stage), running, tell)
        return chosen


def _start_stage(
    settings: Settings, proxy: xmlrpc.client.ServerProxy, stage: list[Program], running: set[str], tell: Progress
) -> None:
    began = time.monotonic()
    for program in stage:
        if program.name not in running:
            tell(program.name, "starting")
            with _ignore_fault("ALREADY_STARTED"):
                proxy.supervisor.startProcess(program.name, False)
    for program in stage:
        _await_healthy(settings, program, began + program.start_limit_s, tell)
        program.after(settings)  # idempotent; contracts may have gained a topic since the last start
        tell(program.name, "already up" if program.name in running else f"ready ({time.monotonic() - began:.1f} s)")


def trouble(settings: Settings, program: Program, states: dict[str, dict]) -> str | None:
    """Why a part is not well, None when it is: the supervisor's state first, then its own health check."""
    info = states.get(program.name)
    if info is None:
        return "not started"
    if info["statename"] != "RUNNING":
        return info["spawnerr"] or info["statename"].lower()
    return program.health(settings)


def _await_healthy(settings: Settings, program: Program, deadline: float, tell: Progress) -> None:
    while (why := trouble(settings, program, supervisor.states(settings))) is not None:
        if time.monotonic() > deadline:
            log = settings.logs / f"{program.name}.out"
            tail = (
                "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]) if log.exists() else ""
            )
            raise PartFailed(
                f"{program.name} is not healthy after {program.start_limit_s:.0f} s: {why}\nLog: {log}\n{tail}"
            )
        tell(program.name, f"waiting: {why}")
        time.sleep(0.25)


@contextlib.contextmanager
def _ignore_fault(name: str) -> Iterator[None]:
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if not fault.faultString.startswith(name):
            raise


def down(settings: Settings, tell: Progress) -> int:
    """Stops everything of this home in reverse order; returns how many processes had to be found without supervisor."""
    with exclusive(settings):
        _stop_supervised(settings, tell)
        orphans = _clear_orphans(settings, tell)
        supervisor.forget(settings)
        return orphans


def _stop_supervised(settings: Settings, tell: Progress) -> None:
    try:
        proxy = supervisor.connect(settings)
    except supervisor.SupervisorDown:
        return
    states = supervisor.states(settings)
    turns = sorted((p for p in PROGRAMS if p.name in states), key=lambda program: program.stop_turn)
    for _, group in groupby(turns, key=lambda program: program.stop_turn):
        turn = [program for program in group if states[program.name]["statename"] not in ("STOPPED", "EXITED", "FATAL")]
        for program in turn:
            tell(program.name, "stopping")
            if states[program.name]["statename"] == "RUNNING":
                program.before_stop(settings)
            with _ignore_fault("NOT_RUNNING"):
                proxy.supervisor.stopProcess(program.name, False)
        for program in turn:
            _await_stopped(settings, program)
            tell(program.name, "stopped")
    mother = [process for process, part in processes.of_home(settings.home) if part == processes.SUPERVISOR]
    proxy.supervisor.shutdown()
    processes.stop_all(mother, wait_s=20)


def _await_stopped(settings: Settings, program: Program) -> None:
    deadline = time.monotonic() + program.stop_limit_s + 10
    while supervisor.states(settings).get(program.name, {}).get("statename") in (*RUNNING, "STOPPING"):
        if time.monotonic() > deadline:
            return  # what is left is found by its marks afterwards
        time.sleep(0.1)


def _clear_orphans(settings: Settings, tell: Progress) -> int:
    """Stops what carries this home's marks though no supervisor looks after it, in stopping order."""
    found = list(processes.of_home(settings.home))
    order = {program.name: program.stop_turn for program in PROGRAMS} | {processes.SUPERVISOR: -1}
    limits = {program.name: program.stop_limit_s for program in PROGRAMS}
    found.sort(key=lambda pair: order.get(pair[1], 0))
    for part, group in groupby(found, key=lambda pair: pair[1]):
        tell(part, "left over from before: stopping")
        processes.stop_all([process for process, _ in group], limits.get(part, 10))
    return len(found)
