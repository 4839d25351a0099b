"""The embedded stack: up, healed, stopped, with nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.stack import kafka, lifecycle, observe, ports, processes, supervisor, topics
from infra.stack.settings import PROJECT_ROOT, Settings

pytestmark = [pytest.mark.stack, pytest.mark.soak]
HEALED_WITHIN_S = 120


def quiet(part: str, doing: str) -> None:
    """Progress nobody looks at."""


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """True as soon as the condition holds, False when it did not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def kefulake(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def pid_of(settings: Settings, part: str) -> int:
    return supervisor.states(settings)[part]["pid"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """A stack of this test alone, for what would disturb the others."""
    settings = Settings.load(tmp_path / "home", ports.free_base(28_000))
    yield settings
    lifecycle.down(settings, quiet)
    assert list(processes.of_home(settings.home)) == []


@pytest.mark.parametrize("part", ["kafka", "mariadb", "flink-taskmanager", "flink-jobmanager"])
def test_killed_part_is_healed_and_status_shows_it(stack: Settings, part: str) -> None:
    before = pid_of(stack, part)
    os.kill(before, signal.SIGKILL)
    assert within(5, lambda: pid_of(stack, part) != before)
    assert within(HEALED_WITHIN_S, lambda: all(p.trouble is None for p in observe.parts(stack)))
    status = kefulake(stack, "status")
    assert status.returncode == 0, status.stdout
    assert part in status.stdout


def test_up_twice_changes_nothing(stack: Settings) -> None:
    before = {part: info["pid"] for part, info in supervisor.states(stack).items()}
    again = kefulake(stack, "up", "--only", "kafka,mariadb")
    assert again.returncode == 0, again.stderr
    assert "already up" in again.stdout
    assert {part: info["pid"] for part, info in supervisor.states(stack).items()} == before


def test_topics_follow_the_contracts_and_a_second_time_nothing_changes(stack: Settings) -> None:
    from confluent_kafka.admin import AdminClient

    from pipelines import contracts

    there = AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=10).topics
    assert set(contracts.topics()) <= set(there)
    assert topics.ensure_topics(stack) == []


def test_every_port_listens_on_loopback_only(stack: Settings) -> None:
    own_pids = {process.pid for process, _ in processes.of_home(stack.home)}
    listening = [c for c in psutil.net_connections(kind="tcp") if c.status == "LISTEN" and c.pid in own_pids]
    assert listening
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_reader_may_not_write_and_writer_may_not_drop(stack: Settings) -> None:
    import sqlalchemy

    writer = sqlalchemy.create_engine(stack.database_url)
    reader = sqlalchemy.create_engine(stack.database_reader_url)
    with writer.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS rights (n INT)"))
        with pytest.raises(sqlalchemy.exc.OperationalError, match="DROP command denied"):
            connection.execute(sqlalchemy.text("DROP TABLE rights"))
    with reader.begin() as connection, pytest.raises(sqlalchemy.exc.OperationalError, match="INSERT command denied"):
        connection.execute(sqlalchemy.text("INSERT INTO rights VALUES (1)"))


def test_taken_port_is_named_and_nothing_starts(own: Settings) -> None:
    with socket.create_server(("127.0.0.1", own.ports.kafka_controller)):
        tried = kefulake(own, "up", "--only", "kafka")
    assert tried.returncode == 1
    assert f"port {own.ports.kafka_controller} (Kafka controller) is in use by" in tried.stderr
    assert f"pid {os.getpid()}" in tried.stderr
    assert "--port-base" in tried.stderr
    assert list(processes.of_home(own.home)) == []


def test_broker_of_another_stack_on_our_port_is_not_taken_for_ours(stack: Settings, tmp_path: Path) -> None:
    other = Settings.load(tmp_path / "other", stack.ports.base)  # chose the same ports at the same moment
    for folder in (other.run, other.logs):
        folder.mkdir(parents=True)
    kafka.prepare(other)
    assert "another broker answers" in (kafka.health(other) or "")
    assert kafka.health(stack) is None


def test_dead_supervisor_its_parts_are_taken_over_then_stopped(own: Settings) -> None:
    lifecycle.up(own, only=["kafka"], extra=None, tell=quiet)
    orphan = pid_of(own, "kafka")
    mother = [process for process, part in processes.of_home(own.home) if part == processes.SUPERVISOR]
    mother[0].kill()
    mother[0].wait(10)
    assert psutil.pid_exists(orphan)
    assert kefulake(own, "status").returncode == 1
    lifecycle.up(own, only=["kafka"], extra=None, tell=quiet)  # stale pid file and socket, living orphan
    assert pid_of(own, "kafka") != orphan
    mother = [process for process, part in processes.of_home(own.home) if part == processes.SUPERVISOR]
    mother[0].kill()
    mother[0].wait(10)
    stopped = kefulake(own, "down")  # without a supervisor to ask
    assert stopped.returncode == 0, stopped.stderr
    assert list(processes.of_home(own.home)) == []
    assert ports.is_free(own.ports.kafka)


def test_home_with_a_long_path_still_finds_a_place_for_its_sockets(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path / ("deep" * 30), ports.free_base(28_000))
    try:
        lifecycle.up(settings, only=["mariadb"], extra=None, tell=quiet)
        assert len(str(supervisor.socket_path(settings))) < 108
        assert [part.trouble for part in observe.parts(settings)] == [None]
    finally:
        lifecycle.down(settings, quiet)
