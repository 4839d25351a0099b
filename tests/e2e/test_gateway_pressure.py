"""The gateway when Kafka stands still, when too much comes in, and when it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from infra.stack import supervisor


@pytest.fixture
def stopped_broker(stack):
    """The broker stands still, as it does in a long pause of its JVM; it goes on when the test ends."""
    pid = supervisor.states(stack)["kafka"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    yield lambda: os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)


def test_without_acknowledgement_there_is_no_2xx_and_a_retry_succeeds(gateway, stack, raw, stopped_broker):
    nonce = uuid.uuid4().hex
    started = time.monotonic()
    answer = gateway.post(b"wait for it", nonce=nonce)
    assert (answer.status_code, answer.json()["error"]) == (503, "kafka.unavailable")
    assert answer.headers["retry-after"] == "1"
    assert time.monotonic() - started < 5  # WeChat's patience
    stopped_broker()
    deadline = time.monotonic() + 60
    while gateway.post(b"wait for it", nonce=nonce).status_code != 200:
        assert time.monotonic() < deadline
    # The first try may have reached the log after all; the stream knows both as one event.
    assert set(raw.values()) == {b"wait for it"}
    assert gateway.post(b"wait for it", nonce=nonce).json()["duplicate"] == 1


def test_more_than_kafka_takes_is_answered_429(gateway, stopped_broker):
    async def flood():
        async with httpx.AsyncClient(timeout=30) as client:
            body = b"x" * 1_500_000

            async def one():
                return await client.post(
                    gateway.url + "/collect/app", content=body, headers=gateway.signed("/collect/app", body)
                )

            return await asyncio.gather(*(one() for _ in range(6)))

    answers = asyncio.run(flood())
    assert {answer.status_code for answer in answers} == {429, 503}
    assert all(answer.headers["retry-after"] == "1" for answer in answers)
    metrics = httpx.get(gateway.url + "/metrics").text
    assert "kefulake_gateway_in_flight_bytes 0.0" in metrics  # what was turned away is no longer held
    stopped_broker()
    deadline = time.monotonic() + 60
    while gateway.post(b"{}").status_code != 200:
        assert time.monotonic() < deadline


def test_what_was_taken_in_before_a_stop_is_acknowledged(gateway, raw):
    with ThreadPoolExecutor(20) as pool:
        sent = [pool.submit(gateway.post, f"last {n}".encode()) for n in range(100)]
        while not any(future.done() for future in sent):
            time.sleep(0.01)
        assert gateway.stop() == 0
        answered = 0
        for future in sent:
            with suppress(httpx.HTTPError):  # came too late: the sender knows that it was not taken
                answered += future.result().status_code == 200
    gateway.start()
    assert 0 < answered <= len(raw.values()) <= 100
