"""One real stack (Kafka, Flink, MariaDB) for all tests that need one: starting it costs more than most of them."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from infra.stack import lifecycle, ports, processes
from infra.stack.settings import Settings

BASE_PARTS = ["kafka", "flink-jobmanager", "flink-taskmanager", "mariadb"]

# A slow machine is no failure of a rule: no test asserts an absolute time.
hypothesis.settings.register_profile("kefulake", deadline=None)
hypothesis.settings.load_profile("kefulake")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for a stack or a Spark session carries the marker, so that `-m "not stack"` never starts one."""
    for item in items:
        for marker in {"stack", "spark"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(marker)


@atexit.register  # at the very end: pytest gives stderr back after its last hook
def _summary_is_the_last_word() -> None:
    """Hides what DuckDB's bindings say, after pytest's summary, of what Great Expectations still holds."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running stack in a home of its own; KEFULAKE_HOME and KEFULAKE_PORT_BASE point to it."""
    settings = Settings.load(tmp_path_factory.mktemp("stack"), ports.free_base(27_000))
    with pytest.MonkeyPatch.context() as environment:
        for name in ("KEFULAKE_KAFKA", "KEFULAKE_DATABASE_URL", "KEFULAKE_MASTER_KEY"):
            environment.delenv(name, raising=False)
        environment.setenv("KEFULAKE_HOME", str(settings.home))
        environment.setenv("KEFULAKE_PORT_BASE", str(settings.ports.base))
        try:
            lifecycle.up(settings, only=BASE_PARTS, extra=None, tell=lambda part, doing: None)
            yield settings
        finally:
            lifecycle.down(settings, tell=lambda part, doing: None)
    assert list(processes.of_home(settings.home)) == []
