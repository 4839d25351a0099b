"""``kefulake flush`` on a job whose next checkpoint is ten minutes away: only flush can make a message visible."""

from __future__ import annotations

import threading

import orjson
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from infra.stack.flink_records import JobRecord
from jobs import cli
from jobs.ops import deploy, flush
from pipelines.io import duckdb_lake
from tests.flink.conftest import tiering

JOB = "clean_interactions"


@pytest.fixture(scope="module")
def patient(flink):
    """The job with a checkpoint every ten minutes, and a tiering service."""
    arguments = [*deploy.job_arguments(flink), "--checkpoint-s", "600"]
    deploy.deploy(flink, JobRecord(JOB, deploy.JOBS[JOB], arguments, 2))
    with tiering(flink):
        yield flink
    deploy.stop_job(flink, JOB)


def turns(stack, *numbers: str) -> None:
    """Customer turns of a web chat, acknowledged by the broker."""
    base = {"session_id": "flush", "visitor_id": "v", "sender": "customer", "sent_at": 1_767_960_000}
    producer = Producer({"bootstrap.servers": stack.bootstrap, "acks": "all"})
    for number in numbers:
        turn = base | {"message_id": f"flush-{number}", "text": f"第{number}问"}
        producer.produce("raw.web_chat", orjson.dumps(turn))
    assert producer.flush(30) == 0


def shown(stack, table: str) -> list[str]:
    found = duckdb_lake.ask(
        stack.lake, f"SELECT source_message_id FROM {table} WHERE source_message_id LIKE 'flush-%' ORDER BY 1"
    )
    return [number for (number,) in found.rows]


def kefulake_flush():
    return CliRunner().invoke(cli.build(["flush"]), ["flush"], env={"COLUMNS": "150"})


def test_what_came_before_is_visible_when_it_returns(patient):
    turns(patient, "1", "2")
    first = kefulake_flush()
    assert first.exit_code == 0, (first.output, first.exception)
    assert shown(patient, "silver.interactions") == ["flush-1", "flush-2"]
    turns(patient, "3")
    second = kefulake_flush()
    assert second.exit_code == 0, (second.output, second.exception)
    assert shown(patient, "silver.interactions") == ["flush-1", "flush-2", "flush-3"]


def test_traffic_that_goes_on_does_not_hold_it_up(patient):
    """What comes in after the call stands in open transactions, and readers of the outputs stop before the first."""
    over = threading.Event()

    def chat() -> None:
        number = 0
        while not over.wait(0.02):
            number += 1
            turns(patient, f"later-{number:06}")

    traffic = threading.Thread(target=chat)
    traffic.start()
    try:
        turns(patient, "4")
        done = CliRunner().invoke(cli.build(["flush"]), ["flush", "--limit-s", "60"], env={"COLUMNS": "150"})
    finally:
        over.set()
        traffic.join(30)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "flush-4" in shown(patient, "silver.interactions")


def test_without_a_running_job_it_says_what_to_start(patient):
    deploy.stop_job(patient, JOB)
    turns(patient, "5")
    with pytest.raises(flush.FlushFailed, match="kefulake deploy clean_interactions"):
        flush.flush(patient, limit_s=30)
