"""What the kill test watches: whether a killed part is back and its flow moves on, and when all is drained."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from infra.stack import flink, supervisor
from infra.stack.settings import Settings
from pipelines import contracts
from tests.bench.scripted_cleaning import Truth

DRAIN_LIMIT_S = 900


def pid_of(settings: Settings, part: str) -> int:
    """The pid the supervisor has for a part; 0 when it is not running."""
    info = supervisor.states(settings).get(part, {})
    return info["pid"] if info.get("statename") == "RUNNING" else 0


def moved(settings: Settings, part: str) -> int:
    """A number that grows with what flows through a part; -1 while it can't be seen."""
    try:
        if part.startswith("tiering"):
            return _versions(settings, "bronze.raw_events") + _versions(settings, "silver.interactions")
        if part in ("serving-writer", "mariadb"):
            return _database(settings, "SELECT coalesce(sum(next_offset), 0) FROM stream_offsets")
        return _end(settings, "raw.web_chat") if part == "kafka" else _checkpoint(settings)
    except Exception:  # a part that is down cannot be asked
        return -1


def _versions(settings: Settings, table: str) -> int:
    return max((int(p.stem) for p in (settings.table_path(table) / "_delta_log").glob("0*.json")), default=0)


def _checkpoint(settings: Settings) -> int:
    """When the newest completed checkpoint of the running job began (ms); old tasks write on, but complete none."""
    (job,) = [job for job in flink.rest(settings, "/jobs/overview")["jobs"] if job["state"] == "RUNNING"]
    newest = flink.rest(settings, f"/jobs/{job['jid']}/checkpoints")["latest"]["completed"]
    return newest["trigger_timestamp"] if newest else -1


def _end(settings: Settings, topic: str) -> int:
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0, "socket.timeout.ms": 5000})
    places = [TopicPartition(topic, partition) for partition in range(contracts.topic(topic).partitions)]
    found = admin.list_offsets(
        {place: OffsetSpec.latest() for place in places},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=5,
    )
    return sum(future.result(5).offset for future in found.values())


def _database(settings: Settings, sql: str) -> int:
    from sqlalchemy import create_engine, text

    engine = create_engine(settings.database_url, connect_args={"connect_timeout": 3})
    try:
        with engine.connect() as connection:
            return int(connection.execute(text(sql)).scalar_one())
    finally:
        engine.dispose()


def served_keys(settings: Settings) -> list[tuple[str, int, int]]:
    """Raw coordinates of all rows in MariaDB, as often as they stand there."""
    from sqlalchemy import create_engine, text

    engine = create_engine(settings.database_url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT raw_topic, raw_partition, raw_offset FROM interactions"))
            return [tuple(row) for row in rows]
    finally:
        engine.dispose()


def await_status(settings: Settings) -> None:
    """Until the tiering service says of every table that nothing is left. Raises TimeoutError."""
    _await(lambda: _caught_up(settings), 3, f"see {settings.run / 'tiering.json'}")


def _caught_up(settings: Settings) -> bool:
    path = settings.run / "tiering.json"
    if not path.exists() or time.time() - path.stat().st_mtime > 5:
        return False
    tables = json.loads(path.read_text(encoding="utf-8"))["tables"].values()
    return all(t["state"] == "running" and not t["lag_total"] and t["caught_up_at"] for t in tables)


def await_served(settings: Settings, truth: Truth) -> None:
    """Until lake and MariaDB hold at least as much as was sent, and three checkpoints more for what may come twice."""
    from tests.bench.lake_truth import OUTPUT_TABLES, row_count

    kept = truth.counts()["interactions.clean"]

    def all_there() -> bool:
        judged = sum(row_count(settings, table) for table in OUTPUT_TABLES)
        try:
            served = _database(settings, "SELECT count(*) FROM interactions")
        except Exception:  # on its way up after a kill
            return False
        return row_count(settings, "bronze.raw_events") >= len(truth.output_of) <= judged and served >= kept

    _await(all_there, 1, "see kefulake status and the logs")
    time.sleep(20)
    await_status(settings)


def _await(done: Callable[[], bool], times: int, where: str) -> None:
    deadline, in_a_row = time.monotonic() + DRAIN_LIMIT_S, 0
    while in_a_row < times:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not drained within {DRAIN_LIMIT_S} s; {where}")
        in_a_row = in_a_row + 1 if done() else 0
        time.sleep(1)
