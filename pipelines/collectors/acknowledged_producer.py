"""Produce to Kafka and wait, without blocking the event loop, until all in-sync replicas have the records.

One librdkafka producer (idempotent, acks=all) serves all requests; what arrives within the linger time shares a batch.
A thread polls for delivery reports and hands them to the event loop in one call a poll, not one a message.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from pipelines.collectors.refusals import Refusal

log = logging.getLogger(__name__)

POLL_S = 0.2
LOG_EVERY_S = 10.0  # a broker that is away must not fill the log
QUEUE_RECORDS = 200_000
# Key, headers and framing a record may have beside its value, as librdkafka and the broker count its size.
RECORD_OVERHEAD_BYTES = 2048
TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})


class Delivery:
    """The records of one request on their way; ``errors[i]`` is None once record i is acknowledged."""

    __slots__ = ("errors", "finished", "pending")

    def __init__(self, count: int, finished: asyncio.Future[None]) -> None:
        self.errors: list[KafkaError | None] = [None] * count
        self.pending = count
        self.finished = finished


class AcknowledgedProducer:
    """Sends records and reports each one's acknowledgement.

    ``acknowledge_timeout_s`` is librdkafka's message.timeout.ms: whatever is not acknowledged by then is given up, so
    that the answer to the sender is final. A record given up after it was sent may still stand in the log; the sender
    is told 503, sends it again, and the stream finds the second one by its event_id.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        acknowledge_timeout_s: float,
        linger_ms: float,
        max_queued_bytes: int,
        max_value_bytes: int,
    ) -> None:
        self._config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": "kefulake-gateway",
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "message.timeout.ms": int(acknowledge_timeout_s * 1000),
            "message.max.bytes": max_value_bytes + RECORD_OVERHEAD_BYTES,
            "queue.buffering.max.messages": QUEUE_RECORDS,
            "queue.buffering.max.kbytes": max_queued_bytes // 1024,
            "topic.metadata.refresh.interval.ms": 60_000,
            "reconnect.backoff.max.ms": 1000,  # a broker is back within seconds; senders wait for it
            "allow.auto.create.topics": False,
            "log_level": 3,
            "error_cb": self._on_error,
        }
        self._loop = asyncio.get_running_loop()
        self._finished: list[Delivery] = []
        self._lock = threading.Lock()
        self._logged_at_s = -LOG_EVERY_S
        self._fatal = False
        self._stopping = threading.Event()
        self._producer = Producer(self._config)
        self._thread = threading.Thread(target=self._poll_forever, name="delivery-reports", daemon=True)
        self._thread.start()

    async def send(
        self,
        topic: str,
        values: Sequence[bytes],
        *,
        timestamp_ms: int,
        headers: list[tuple[str, bytes]],
        key: bytes | None = None,
    ) -> list[KafkaError | None]:
        """Send ``values`` and wait for all; the result has None for an acknowledged one, else its error.

        Raises:
            Refusal: ``pressure.in_flight`` when not even the first record found room.
        """
        delivery = Delivery(len(values), self._loop.create_future())
        producer, sent = self._producer, 0
        try:
            for value in values:
                report = partial(self._reported, delivery, sent)
                producer.produce(topic, value, key, on_delivery=report, timestamp=timestamp_ms, headers=headers)
                sent += 1
        except (BufferError, KafkaException) as error:
            if not sent:
                raise _refusal(error) from error
            delivery.errors[sent:] = [_cause(error)] * (len(values) - sent)
            self._count_down(delivery, len(values) - sent)
        await delivery.finished
        return delivery.errors

    def _reported(self, delivery: Delivery, index: int, error: KafkaError | None, _message: Any) -> None:
        delivery.errors[index] = error
        self._count_down(delivery, 1)

    def _count_down(self, delivery: Delivery, records: int) -> None:
        with self._lock:  # delivery reports come on the polling thread, what found no room on the event loop's
            delivery.pending -= records
            if not delivery.pending:
                self._finished.append(delivery)

    def _poll_forever(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(POLL_S)
            if self._fatal:
                self._replace()
            with self._lock:
                finished, self._finished = self._finished, []
            if finished:
                self._loop.call_soon_threadsafe(_resolve, finished)

    def _replace(self) -> None:
        """A fatal error (the broker lost the producer's sequence) ends a librdkafka producer; a new one takes over."""
        self._fatal = False
        broken, self._producer = self._producer, Producer(self._config)
        broken.purge()
        broken.flush(1)
        log.warning("the Kafka producer was replaced after a fatal error; its open messages were answered with 503")

    def _on_error(self, error: KafkaError) -> None:
        self._fatal = self._fatal or error.fatal()
        now_s = time.monotonic()
        if error.fatal() or now_s - self._logged_at_s > LOG_EVERY_S:
            self._logged_at_s = now_s
            log.warning("Kafka: %s", error.str())

    def reachable(self, timeout_s: float = 1.0) -> bool:
        """True when a broker answers; blocks up to ``timeout_s``, so call it off the event loop."""
        try:
            return bool(self._producer.list_topics(timeout=timeout_s).brokers)
        except KafkaException:
            return False

    def close(self, timeout_s: float) -> None:
        """Send what is queued, wait up to ``timeout_s``, stop the thread; blocks."""
        self._producer.flush(timeout_s)
        self._stopping.set()
        self._thread.join()


def _resolve(finished: list[Delivery]) -> None:
    for delivery in finished:
        if not delivery.finished.done():
            delivery.finished.set_result(None)


def _cause(error: BufferError | KafkaException) -> KafkaError:
    return KafkaError(KafkaError._QUEUE_FULL) if isinstance(error, BufferError) else error.args[0]


def _refusal(error: BufferError | KafkaException) -> Refusal:
    cause = _cause(error)
    if cause.code() == KafkaError._QUEUE_FULL:
        return Refusal("pressure.in_flight")
    if cause.code() in TOO_LARGE:
        return Refusal("body.too_large", "over the broker's own limit")
    return Refusal("kafka.unavailable")
