"""What is in Kafka and not yet in the lake, into a backup: tails of the raw topics and the vault's, small topics whole.

Whole records (offset, time, key, headers, bytes) under a key of the master key, before they touch a disk.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import zstandard
from confluent_kafka import Message

from pipelines.backup import store
from pipelines.backup.manifest import FILE, State
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.sealed_files import open_bytes, seal_bytes
from pipelines.io.committed_log import Collected, CommittedLog, Source
from pipelines.io.compacted_tail import CompactedTail
from pipelines.io.kafka_erasure import ROLL
from pipelines.privacy.keys import MasterKey

TAIL, VAULT_TAIL, TOPIC = "tail", "vault_tail", "topic"
_MOST_ROWS, _MOST_BYTES = 200_000, 128 << 20


class Record(NamedTuple):
    """One message; `timestamp_ms` as its collector set it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    headers: list[tuple[str, bytes | None]] | None
    value: bytes | None


@dataclass(frozen=True)
class Tail:
    """What a round found of its topics: where the backup ends now, and the newest record's time (ms, 0: none)."""

    ends: dict[str, int]
    records: int
    newest_ms: int


class TopicTail:
    """Follows topics from round to round; nothing connects before the first. `what`: the kind of its files' lines.

    Of the vault also what open transactions wrote: a row may be in the lake while another transaction, begun before
    its entry, keeps readers of committed records from the entry. One that is taken back opens to the same value.
    """

    def __init__(self, bootstrap: str, topics: Iterable[str], key: MasterKey, what: str = TAIL):
        self._bootstrap, self._topics, self._key, self._what = bootstrap, list(topics), key, what
        self._log: CommittedLog | None = None
        self._at: dict[Source, int] = {}

    def ship(
        self, writer: Writer, covered: Callable[[list[Source]], Mapping[Source, int]], *, wait_s: float, round_: int
    ) -> Tail:
        """Records that the table in the backup does not cover and no tail file holds, each partition's into a file.

        `covered` gives the next offset that the table in the backup has of each source. Files whose records it has go.
        Raises KafkaException, LogRefused, TopicChanged: then `forget`, and the next round begins anew.
        """
        if self._log is None:
            self._log = CommittedLog(self._bootstrap, self._topics, open_too=self._what == VAULT_TAIL)
        sources = self._log.sources()
        in_table = covered(sources)
        kept = _kept(writer.state.of(self._what).values())
        begin = {s: max(in_table[s], kept.get((str(s), s.topic_id), 0)) for s in sources}
        if set(self._at) != set(sources) or any(begin[s] > self._at[s] for s in sources):
            # Offsets before the log's begin were deleted by an erasure, when every reader had passed them.
            begin = {s: max(at, self._log.bounds(s)[0]) for s, at in begin.items()}
            self._log.start_at(begin)
            self._at = begin
        taken = self._log.collect(Collected(), max_rows=_MOST_ROWS, max_bytes=_MOST_BYTES, wait_s=wait_s)
        self._log.check_unchanged()
        by_source: dict[tuple[str, int], list[Message]] = defaultdict(list)
        # Not what an erasure wrote to end a segment: only the table's idle position passes that, a minute later.
        for message in (one for one in taken.messages if one.key() != ROLL or one.value() is not None):
            by_source[message.topic(), message.partition()].append(message)
        self._at = self._at | taken.next_offset
        for source in sources:
            if messages := by_source.get((source.topic, source.partition)):
                self._write(writer, source, messages, round_)
        writer.discard([p for p, line in writer.state.of(self._what).items() if _passed(line, sources, in_table)])
        newest = max((message.timestamp()[1] for message in taken.messages), default=0)
        ends = {str(source): at for source, at in self._at.items()}
        return Tail(ends, len(taken.messages), newest)

    @property
    def at_end(self) -> bool:
        """True when the last round read everything there was."""
        return self._log is not None and self._log.at_end()

    def forget(self) -> None:
        """After an error: begin anew."""
        if self._log is not None:
            self._log.close()
        self._log, self._at = None, {}

    def _write(self, writer: Writer, source: Source, messages: list[Message], round_: int) -> None:
        records = [Record(m.offset(), m.timestamp()[1], m.key(), m.headers(), m.value()) for m in messages]
        first, end = records[0].offset, records[-1].offset + 1
        life = source.topic_id.replace("/", "_")
        path = f"topics/{source.topic}-{source.partition}/{life}/{first:020}-{end:020}.{round_}.sealed"
        made = store.write_in(writer.folder, path, seal(records, self._key, path))
        writer.note({"kind": FILE, "what": self._what, "place": str(source), "topic_id": source.topic_id,
                     "first": first, "end": end, "at": time.time(), **made})  # fmt: skip


def _kept(lines: Iterable[Mapping]) -> dict[tuple[str, str], int]:
    """Next offset after the tail files of each partition and life of its topic."""
    ends: dict[tuple[str, str], int] = {}
    for line in lines:
        where = line["place"], line["topic_id"]
        ends[where] = max(ends.get(where, 0), line["end"])
    return ends


def _passed(line: Mapping, sources: Iterable[Source], in_table: Mapping[Source, int]) -> bool:
    for source in sources:
        if str(source) == line["place"] and source.topic_id == line["topic_id"]:
            return in_table[source] >= line["end"]
    return True  # another life of the topic: nothing refers to it any more


def ship_compacted(writer: Writer, bootstrap: str, topic: str, key: MasterKey, round_: int) -> None:
    """The newest value of each key of a small compacted topic, where it differs from what the backup has."""
    tail, newest = CompactedTail(bootstrap, topic), {}
    try:
        for records in tail.load_to_end():
            newest |= dict(records)
    finally:
        tail.close()
    records = [Record(n, 0, k.encode(), None, v) for n, (k, v) in enumerate(sorted(newest.items())) if v is not None]
    content = _encoded(records)
    # Under a key: the hash of a short list could be guessed from what it may hold.
    digest = hmac.digest(key.derive("backup/content", key.token_version), content, "sha256").hex()
    before = newest_copies(writer.state).get(topic)
    if before is not None and before["content"] == digest:
        return
    path = f"topics/{topic}/{round_}.sealed"
    made = store.write_in(writer.folder, path, seal(records, key, path))
    writer.note({"kind": FILE, "what": TOPIC, "topic": topic, "content": digest, "at": time.time(), **made})


def newest_copies(state: State) -> dict[str, dict[str, Any]]:
    """The line of the newest copy of each compacted topic: what was taken back since is in older ones only."""
    ordered = sorted(state.of(TOPIC).values(), key=lambda line: line["at"])
    return {line["topic"]: line for line in ordered}


def seal(records: Iterable[Record], key: MasterKey, path: str) -> bytes:
    """Records of a file, compressed and encrypted, bound to the file's place.

    >>> key = MasterKey({1: bytes(32)})
    >>> opened(seal([Record(7, 1, b"k", [("a", None)], b"v")], key, "p"), key, "p")
    [Record(offset=7, timestamp_ms=1, key=b'k', headers=[('a', None)], value=b'v')]
    """
    return seal_bytes(zstandard.ZstdCompressor(level=1).compress(_encoded(records)), key, path)


def opened(content: bytes, key: MasterKey, path: str) -> list[Record]:
    """The reverse of `seal`. Raises store.BackupDamaged."""
    lines = zstandard.ZstdDecompressor().decompress(open_bytes(content, key, path)).splitlines()
    return [_record(*json.loads(line)) for line in lines]


def _encoded(records: Iterable[Record]) -> bytes:
    return b"".join(
        json.dumps(
            [r.offset, r.timestamp_ms, _text(r.key),
             None if r.headers is None else [[n, _text(v)] for n, v in r.headers], _text(r.value)]
        ).encode() + b"\n"
        for r in records
    )  # fmt: skip


def _record(offset: int, timestamp_ms: int, key: str | None, headers: list | None, value: str | None) -> Record:
    told = None if headers is None else [(name, _bytes(v)) for name, v in headers]
    return Record(offset, timestamp_ms, _bytes(key), told, _bytes(value))


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
