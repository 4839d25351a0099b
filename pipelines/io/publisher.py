"""Writes a finite set of records to a topic and waits until the broker has all of them."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaException, Message, Producer


class PublishError(RuntimeError):
    """Some records were not acknowledged; nothing says how many of them arrived, so publish again."""


def publish(
    bootstrap: str,
    topic: str,
    records: Iterable[tuple[str | None, bytes | None]],
    *,
    headers: Iterable[list[tuple[str, bytes]]] | None = None,
    partitions: Iterable[int] | None = None,
    timeout_s: float = 60.0,
) -> int:
    """Produce (key, value) records, idempotent and acknowledged by all replicas; the number written.

    `headers` and `partitions` run beside the records. Without `partitions` the client chooses by key, and not as
    Flink's Java client does: what has to replace or remove a record of the job's must name its partition. Raises
    PublishError.
    """
    failures: list[str] = []
    delivered = 0

    def on_delivery(error: KafkaException | None, message: Message) -> None:
        nonlocal delivered
        if error is None:
            delivered += 1
        else:
            failures.append(str(error))

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 20,
            "message.max.bytes": 8_388_608,
            "message.timeout.ms": int(timeout_s * 1000),
        }
    )
    beside = iter(headers) if headers is not None else None
    places = iter(partitions) if partitions is not None else None
    sent = 0
    for key, value in records:
        extra = next(beside) if beside is not None else None
        place = {} if places is None else {"partition": next(places)}
        while True:
            try:
                producer.produce(topic, value=value, key=key, headers=extra, on_delivery=on_delivery, **place)
                break
            except BufferError:  # the queue is full: let it drain
                producer.poll(0.1)
        sent += 1
        producer.poll(0)
    left = producer.flush(timeout_s)
    if failures or left or delivered != sent:
        why = failures[0] if failures else f"{left} records still wait after {timeout_s:.0f} s"
        raise PublishError(f"{sent - delivered} of {sent} records for {topic} were not acknowledged: {why}")
    return sent
