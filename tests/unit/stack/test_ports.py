"""Port bases: two stacks that look for one at the same moment never get the same."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from infra.stack import ports

FIRST = 20_000 + os.getpid() % 39 * 100  # two runs of these tests beside each other look in different places
ASK = f"from infra.stack import ports; print(ports.free_base({FIRST}), flush=True); input()"


def asked_at_once(processes: int) -> list[int]:
    """Bases that so many processes got, all of them alive until each has its own."""
    started = [
        subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        return [int(process.stdout.readline()) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_processes_that_ask_at_once_get_bases_of_their_own_and_give_them_back() -> None:
    got = asked_at_once(4)
    assert len(set(got)) == 4
    assert set(asked_at_once(4)) == set(got)  # all four were killed: nothing of them stays behind


def test_a_process_that_asks_twice_gets_two() -> None:
    first, second = ports.free_base(FIRST), ports.free_base(FIRST)
    assert second >= first + ports.PORTS_OF_A_STACK


def test_blocks_do_not_overlap_wherever_the_search_begins() -> None:
    first = ports.free_base(FIRST)
    beside = ports.free_base(first + 1)  # not on the edge of a block
    assert beside >= first + ports.PORTS_OF_A_STACK


def test_a_block_with_one_taken_port_is_passed_over() -> None:
    base = ports.free_base(FIRST)
    following = base + ports.PORTS_OF_A_STACK
    with socket.create_server(("127.0.0.1", following + 7)):
        assert ports.free_base(following) > following
    assert ports.free_base(following) == following  # free again, and it was not kept reserved
