"""supervisord (a library) underneath: rendering its configuration, starting it, talking to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path

from supervisor.xmlrpc import SupervisorTransport

from infra.stack import guard as guard_module
from infra.stack import processes
from infra.stack.files import write_atomic
from infra.stack.programs import Program
from infra.stack.settings import PROJECT_ROOT, Settings
from infra.stack.sockets import socket_folder


class SupervisorDown(RuntimeError):
    """No supervisor answers for this home."""


def socket_path(settings: Settings) -> Path:
    """The supervisor's socket."""
    return socket_folder(settings) / "supervisor.sock"


def _quoted(value: str) -> str:
    """A value inside supervisord's environment= list, which knows two quotes but no escape.

    >>> print(_quoted('100% "sure"'), _quoted("plain"))
    '100%% "sure"' "plain"

    Raises ValueError for a value with both quotes or a line break: it could not be passed on unchanged.
    """
    for quote in ('"', "'"):
        if quote not in value and "\n" not in value:
            return f"{quote}{value.replace('%', '%%')}{quote}"
    raise ValueError(f"a setting holds both kinds of quotes or a line break: {value[:40]!r}…")


def _program_section(settings: Settings, program: Program) -> str:
    guard = [sys.executable, "-m", "infra.stack.guard", program.name, str(settings.home), str(program.stop_limit_s)]
    nice = ["nice", "-n", str(program.niceness)] if program.niceness else []
    command = shlex.join([*guard, "--", *nice, *program.command(settings)]).replace("%", "%%")
    environment = program.environment(settings) | processes.marks(settings.home, program.name)
    scratch = program.scratch(settings)
    if scratch is not None:
        environment[guard_module.SCRATCH] = str(scratch)
    pairs = ",".join(f"{name}={_quoted(value)}" for name, value in environment.items())
    return f"""
[program:{program.name}]
command={command}
directory={PROJECT_ROOT}
environment={pairs}
autostart=false
autorestart=true
startsecs=1
startretries=1000000
stopasgroup=true
killasgroup=true
stopwaitsecs={program.stop_limit_s}
redirect_stderr=true
stdout_logfile={settings.logs / program.name}.out
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def render(settings: Settings, programs: Iterable[Program]) -> str:
    """The whole configuration. Nothing starts by itself: `up` starts stage by stage."""
    user = "user=root\n" if os.getuid() == 0 else ""
    head = f"""\
[supervisord]
nodaemon=true
silent=true
{user}pidfile={settings.run / "supervisor.pid"}
logfile={settings.logs / "supervisor.log"}
logfile_maxbytes=10MB
logfile_backups=2
childlogdir={settings.logs}
minfds=4096

[unix_http_server]
file={socket_path(settings)}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + "".join(_program_section(settings, program) for program in programs)


def connect(settings: Settings) -> xmlrpc.client.ServerProxy:
    """A proxy to the running supervisor. Raises SupervisorDown when none answers."""
    transport = SupervisorTransport(None, None, f"unix://{socket_path(settings)}")
    proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
    try:
        proxy.supervisor.getState()
    except (OSError, http.client.HTTPException) as error:
        raise SupervisorDown(f"no supervisor runs for {settings.home}") from error
    return proxy


def states(settings: Settings) -> dict[str, dict]:
    """Supervisor's view of each part: statename, pid, start (s since epoch), spawnerr; empty when it is down."""
    try:
        return {info["name"]: info for info in connect(settings).supervisor.getAllProcessInfo()}
    except SupervisorDown:
        return {}


def start(settings: Settings, programs: Iterable[Program], wait_s: float = 15) -> xmlrpc.client.ServerProxy:
    """Starts supervisord with these programs, or makes a running one know them; returns a proxy.

    Raises SupervisorDown with the end of its log when it does not come up.
    """
    configuration = settings.run / "supervisor.conf"
    write_atomic(configuration, render(settings, programs), 0o600)
    with contextlib.suppress(SupervisorDown):
        proxy = connect(settings)
        _learn(proxy)
        return proxy
    _remove_stale(settings)
    environment = os.environ | processes.marks(settings.home, processes.SUPERVISOR)
    environment |= {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    with open(settings.logs / "supervisor.out", "a", encoding="utf-8") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline and started.poll() is None:
        with contextlib.suppress(SupervisorDown):
            return connect(settings)
        time.sleep(0.1)
    tail = (settings.logs / "supervisor.out").read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
    raise SupervisorDown("supervisord did not come up:\n" + "\n".join(tail))


def _learn(proxy: xmlrpc.client.ServerProxy) -> None:
    """Takes over new and changed parts; running ones stay as they are, so `up` twice changes nothing."""
    added, changed, _ = proxy.supervisor.reloadConfig()[0]
    at_rest = [n for n in changed if proxy.supervisor.getProcessInfo(n)["statename"] in ("STOPPED", "EXITED", "FATAL")]
    for name in at_rest:
        proxy.supervisor.removeProcessGroup(name)
    for name in [*added, *at_rest]:
        proxy.supervisor.addProcessGroup(name)


def _remove_stale(settings: Settings) -> None:
    """No supervisor answers, so its pid file and socket are left over from a crash."""
    for path in (settings.run / "supervisor.pid", socket_path(settings)):
        path.unlink(missing_ok=True)


def forget(settings: Settings) -> None:
    """Removes the files of a supervisor that has ended."""
    _remove_stale(settings)
    (settings.run / "supervisor.conf").unlink(missing_ok=True)
    if socket_folder(settings) != settings.run:
        shutil.rmtree(socket_folder(settings), ignore_errors=True)
