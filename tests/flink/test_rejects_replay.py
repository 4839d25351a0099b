"""Rejects on their way back: the cause repaired, sent again, kept under their first coordinates, and never twice."""

from __future__ import annotations

import base64
import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from infra.stack.flink_records import JobRecord
from jobs import cli
from jobs.ops import deploy
from pipelines import contracts
from pipelines.io import balance_table, duckdb_lake, replays
from pipelines.io.answer import QueryRefused
from pipelines.service.attempts import FIRST
from tests.flink.conftest import tiering

JOB, TOPIC = "clean_interactions", "raw.web_chat"
RULE = "time.handle_impossible"
SENT = 1_767_960_000
WAIT_S = 120


def deployed(stack) -> None:
    """The job by the contracts KEFULAKE_SCHEMAS names, or ours; a checkpoint a second keeps the test short."""
    deploy.deploy(stack, JobRecord(JOB, deploy.JOBS[JOB], [*deploy.job_arguments(stack), "--checkpoint-s", "1"], 2))


@pytest.fixture(scope="module")
def strict(flink, tmp_path_factory):
    """The job deployed with a wrong threshold, an hour for two days, and a tiering service beside it."""
    schemas = tmp_path_factory.mktemp("strict") / "schemas"
    shutil.copytree(contracts.schemas_folder(), schemas)
    policy = schemas / "policies" / "cleaning.yaml"
    content = yaml.safe_load(policy.read_text())
    content["invalid"]["max_handle_time_s"] = 3600
    policy.write_text(yaml.safe_dump(content, allow_unicode=True))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(contracts.SCHEMAS_VARIABLE, str(schemas))
        deployed(flink)
    with tiering(flink):
        yield flink
    deploy.stop_job(flink, JOB)


def send(stack, value: bytes) -> tuple[str, int, int]:
    """Produce one message; its coordinates."""
    placed = []
    producer = Producer({"bootstrap.servers": stack.bootstrap, "acks": "all"})
    producer.produce(TOPIC, value, on_delivery=lambda error, message: placed.append((error, message)))
    producer.flush(30)
    [(error, message)] = placed
    assert error is None
    return message.topic(), message.partition(), message.offset()


def turn(number: str, **fields) -> bytes:
    base = {"message_id": f"again-{number}", "session_id": "again", "visitor_id": "v", "sender": "customer"}
    return orjson.dumps(base | {"sent_at": SENT, "text": f"第{number}个问题"} | fields)


def ask(stack, sql: str) -> list[tuple]:
    try:
        return list(duckdb_lake.ask(stack.lake, sql).rows)
    except QueryRefused:
        return []  # the table is not there yet


def rows(stack, table: str, first: tuple[str, int, int]) -> list[int]:
    """Attempts of a message in a table, by the coordinates of its first one."""
    topic, partition, offset = first
    return [
        attempt
        for (attempt,) in ask(
            stack,
            f"SELECT attempt FROM {table} WHERE coalesce(first_topic, raw_topic) = '{topic}' AND "
            f"coalesce(first_partition, raw_partition) = {partition} AND "
            f"coalesce(first_offset, raw_offset) = {offset} ORDER BY attempt",
        )
    ]


def await_rows(stack, table: str, first: tuple[str, int, int], attempts: list[int]) -> None:
    deadline = time.monotonic() + WAIT_S
    while (found := rows(stack, table, first)) != attempts:
        assert time.monotonic() < deadline, f"{first} has attempts {found} in {table}, not {attempts}"
        time.sleep(0.3)


def kefulake(*arguments: str) -> str:
    done = CliRunner().invoke(cli.build(list(arguments)), list(arguments), env={"COLUMNS": "150"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def ends(stack) -> list[int]:
    """Where the partitions of the topic end."""
    consumer = Consumer({"bootstrap.servers": stack.bootstrap, "group.id": "ends"})
    try:
        partitions = range(contracts.topic(TOPIC).partitions)
        return [consumer.get_watermark_offsets(TopicPartition(TOPIC, p), timeout=30)[1] for p in partitions]
    finally:
        consumer.close()


def test_rejects_go_out_again_and_are_kept_once(strict, tmp_path):
    one, two = (send(strict, turn(number, handle_time_s=7200)) for number in "12")
    broken = send(strict, turn("3")[:-1])
    for message in (one, two, broken):
        await_rows(strict, "quarantine.rejects", message, [0])
    deployed(strict)  # the repair of the threshold
    assert f"{TOPIC}: " in kefulake("rejects", "replay", "--rule", RULE)
    # Bytes that nobody can read are repaired by hand and come back in a file; the broken ones then stay where they are.
    kefulake("replay", str(repaired(tmp_path, broken, turn("3"))), "--channel", "web_chat", "--attempt", "1")
    kefulake("rejects", "replay", "--rule", "payload.not_json")
    for message in (one, two, broken):
        await_rows(strict, "silver.interactions", message, [1])
    noted = {row[:3]: row[3:] for row in replays.read(strict).select(*FIRST, "attempt", "rule").rows()}
    assert [noted[message] for message in (one, two, broken)] == [(1, RULE), (1, RULE), (1, None)]

    before = ends(strict)
    assert "sent again before and stay" in kefulake("rejects", "replay", "--rule", RULE)
    assert ends(strict) == before

    kefulake("rejects", "replay", "--rule", RULE, "--again")
    for message in (one, two):
        await_rows(strict, "silver.interactions", message, [1, 2])
    assert rows(strict, "silver.interactions", broken) == [1]
    assert [rows(strict, "quarantine.rejects", message) for message in (one, two, broken)] == [[0]] * 3
    assert balance_of_topic(strict) == {"missing": 0, "twice": 0, "unknown": 0}


def repaired(folder: Path, place: tuple[str, int, int], value: bytes) -> Path:
    """A file with the one message, as `kefulake replay --attempt` reads it."""
    topic, partition, offset = place
    entry = {"topic": topic, "partition": partition, "offset": offset}
    file = folder / "repaired.ndjson"
    file.write_text(json.dumps(entry | {"payload_base64": base64.b64encode(value).decode()}) + "\n", encoding="utf-8")
    return file


def balance_of_topic(stack) -> dict[str, int]:
    """What does not balance in the topic, over all its hours, nothing flowing any more."""
    deadline = time.monotonic() + WAIT_S
    while True:
        counted = balance_table.compute(
            stack, balance_table.all_hours(stack), passed_until=datetime(9999, 1, 1, tzinfo=UTC), grace=timedelta(0),
            memory_limit_mb=256, now=datetime.now(UTC),
        )  # fmt: skip
        lines = [line for line in counted.to_pylist() if line["raw_topic"] == TOPIC]
        wrong = {name: sum(line[name] for line in lines) for name in ("missing", "twice", "unknown")}
        if not any(wrong.values()) or time.monotonic() > deadline:
            return wrong
        time.sleep(0.3)
