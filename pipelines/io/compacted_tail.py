"""Reads a compacted topic to its end, then follows it: small tables a worker keeps in memory (identity, baselines)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

LOG = logging.getLogger(__name__)
Record = tuple[str, bytes | None]
_BATCH = 10_000
_NEEDS_A_PERSON = frozenset(
    [
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._AUTO_OFFSET_RESET,
    ]
)


class TailError(RuntimeError):
    """The topic is not there, or its end was not reached in time; the message says which."""


class CompactedTail:
    """One reader of one compacted topic. Value None means: the key was removed.

    No consumer group and no committed offsets: every worker reads the whole topic when it opens. Use::

        tail = CompactedTail("127.0.0.1:19200", "identity.map")
        for records in tail.load_to_end(): ...      # before the job joins
        records = tail.poll_if_due(now_s)           # then with each batch: at most one poll a second
    """

    def __init__(self, bootstrap: str, topic: str, *, timeout_s: float = 30.0, every_s: float = 1.0):
        self.topic = topic
        self._timeout_s = timeout_s
        self._every_s = every_s
        self._polled_at_s = float("-inf")
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"tail-of-{topic}",  # the client wants a name; nothing is ever committed to it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "auto.offset.reset": "error",
            }
        )
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in self._partitions()])

    def _partitions(self) -> list[int]:
        found = self._consumer.list_topics(self.topic, timeout=self._timeout_s).topics.get(self.topic)
        if found is None or found.error is not None or not found.partitions:
            self._consumer.close()
            raise TailError(f"Topic {self.topic} is not on the broker; run 'kefulake up' first, it makes the topics.")
        self._waiting = set(found.partitions)
        return sorted(found.partitions)

    def load_to_end(self) -> Iterator[list[Record]]:
        """All records up to the end of every partition, in batches.

        Raises TailError if nothing arrives for `timeout_s` before the end is reached.
        """
        heard_at_s = time.monotonic()
        while self._waiting:
            records, messages = self._take(0.2)
            if messages:
                heard_at_s = time.monotonic()
            elif time.monotonic() - heard_at_s > self._timeout_s:
                raise TailError(f"The end of topic {self.topic} was not reached: nothing for {self._timeout_s:.0f} s.")
            if records:
                yield records

    def poll_if_due(self, now_s: float) -> list[Record]:
        """What is new, at most once in `every_s`; never waits. A broker that is away for a moment is no error here."""
        if now_s - self._polled_at_s < self._every_s:
            return []
        self._polled_at_s = now_s
        return self._take(0.0)[0]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _take(self, wait_s: float) -> tuple[list[Record], int]:
        records: list[Record] = []
        messages = self._consumer.consume(_BATCH, timeout=wait_s)
        for message in messages:
            error = message.error()
            if error is None:
                if message.key() is not None:
                    records.append((message.key().decode("utf-8", "replace"), message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._waiting.discard(message.partition())
            elif error.fatal() or error.code() in _NEEDS_A_PERSON:
                raise KafkaException(error)
            else:  # the broker is away for a moment: the client keeps trying, and what is known stays in use
                LOG.warning("topic %s: %s", self.topic, error.str())
        return records, len(messages)
