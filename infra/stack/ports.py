"""Is a port free, and if not, who has it."""

from __future__ import annotations

import contextlib
import socket

import psutil

PORTS_OF_A_STACK = 20
_FIRST_EPHEMERAL = 32_768  # from here on Linux hands ports to outgoing connections, at any moment

# Kept open for the life of the process: an abstract name is ours until then, and nothing is left behind by a kill.
_reservations: list[socket.socket] = []


class PortTaken(RuntimeError):
    """A port of the stack is in use by something else."""


def is_free(port: int) -> bool:
    """True when a listener could be opened on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def answers(port: int, timeout_s: float = 1.0) -> bool:
    """True when something accepts connections on the loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=timeout_s):
        return True
    return False


def free_base(start: int) -> int:
    """The first port base from `start` on whose ports are all free (for tests, which run beside other stacks).

    It is this process's own until the process ends: whoever asks meanwhile, here or in another process, gets another.
    Raises PortTaken when there is none.
    """
    first = -(-start // PORTS_OF_A_STACK) * PORTS_OF_A_STACK  # blocks never overlap, wherever the search began
    for base in range(first, _FIRST_EPHEMERAL - PORTS_OF_A_STACK + 1, PORTS_OF_A_STACK):
        if _reserve(base):
            if all(is_free(port) for port in range(base, base + PORTS_OF_A_STACK)):
                return base
            _reservations.pop().close()
    raise PortTaken(f"no {PORTS_OF_A_STACK} free ports in a row from {start}")


def _reserve(base: int) -> bool:
    """True when nobody had reserved the base. An abstract socket lives in the same network namespace as the ports."""
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mark.bind(f"\0kefulake-port-base-{base}")
    except OSError:
        mark.close()
        return False
    _reservations.append(mark)
    return True


def holder(port: int) -> str:
    """Plain words for who listens on the port, as far as we may see."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    break
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"


def require_free(wanted: dict[str, int]) -> None:
    """Raises PortTaken naming each taken port, who holds it and how to use other ports.

    `wanted`: what the port is for → port.
    """
    taken = [f"  port {port} ({use}) is in use by {holder(port)}" for use, port in wanted.items() if not is_free(port)]
    if taken:
        raise PortTaken(
            "Nothing was started, because:\n"
            + "\n".join(taken)
            + "\nStop what holds it, or choose other ports: kefulake --port-base <number> up (or KEFULAKE_PORT_BASE)."
        )
