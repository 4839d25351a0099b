"""The vault's topic: which master-key version its newest entries are wrapped by, and wrapping them anew.

Read twice, written once: the first pass learns the newest record of each token, the second wraps just those anew that
an old version wraps, in bounded batches. A token whose newest record is a removal stays removed. Whoever erases must
not do so in between (`locked`): an entry wrapped anew after its removal would bring the person back.
"""

from __future__ import annotations

import fcntl
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from confluent_kafka import Message

from pipelines.io.committed_log import Collected, CommittedLog
from pipelines.io.publisher import publish
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.vault import rewrap, wrapped_by

log = logging.getLogger(__name__)

TOPIC = "identity.vault"
BATCH_ROWS = 5_000
_READ_ROWS, _READ_BYTES, _WAIT_S = 10_000, 16 << 20, 10.0


class VaultBusy(RuntimeError):
    """A rotation or an erasure is at work; the message says what to do."""


class LogStuck(RuntimeError):
    """The end of the topic was not reached; the message says after how long."""


@dataclass
class Newest:
    """The newest record of each token and partition: its offset, and how many stand under which version (0: removed).

    By partition, because the job's Java client and ours hash a key differently: a token may stand in two.
    """

    offsets: dict[tuple[int, bytes], int] = field(default_factory=dict)
    versions: Counter = field(default_factory=Counter)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one rotation or erasure at a time on this stack. Raises VaultBusy; the system frees a killed one's lock."""
    with (folder / "vault.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise VaultBusy("another rotation or erasure is at work on this stack; wait until it has ended") from error
        yield


def newest(bootstrap: str) -> Newest:
    """What counts in the topic now; some 200 bytes of memory a token."""
    wrapped: dict[tuple[int, bytes], int] = {}
    found = Newest()
    for message in records(bootstrap):
        place = message.partition(), message.key()
        found.offsets[place], wrapped[place] = message.offset(), _version_of(message)
    found.versions.update(wrapped.values())
    return found


def wrap_anew(bootstrap: str, key: MasterKey) -> int:
    """Wrap by the key's newest version every entry that counts and is wrapped by an older one; how many there were.

    Raises PublishError, KafkaException, or VaultError for an entry that does not open: then nothing of its batch was
    written, and what was written before is as good as it was.
    """
    counts, anew, places, done = newest(bootstrap), [], [], 0
    for message in records(bootstrap):
        if counts.offsets.get((message.partition(), message.key())) != message.offset():
            continue  # not the newest, or newer than the first pass
        if _version_of(message) in (0, key.version):
            continue
        anew.append((message.key(), rewrap(message.value(), key).encode()))
        places.append(message.partition())  # or compaction would keep the old one for ever
        if len(anew) >= BATCH_ROWS:
            done += publish(bootstrap, TOPIC, anew, partitions=places)
            anew, places = [], []
    return done + (publish(bootstrap, TOPIC, anew, partitions=places) if anew else 0)


def records(bootstrap: str, topic: str = TOPIC) -> Iterator[Message]:
    """Every committed record up to the end as it stands when the reader gets there. Raises LogStuck."""
    reader = CommittedLog(bootstrap, [topic])
    try:
        reader.start_at({source: reader.bounds(source)[0] for source in reader.sources()})
        while True:
            taken = reader.collect(Collected(), max_rows=_READ_ROWS, max_bytes=_READ_BYTES, wait_s=_WAIT_S)
            yield from taken.messages
            if reader.at_end():
                return
            if not taken.next_offset:
                raise LogStuck(f"nothing more of topic {topic} came for {_WAIT_S:.0f} s, and it is not at its end")
    finally:
        reader.close()


def _version_of(message: Message) -> int:
    if message.value() is None:
        return 0
    return wrapped_by(orjson.loads(message.value())["wrapped_key"])
