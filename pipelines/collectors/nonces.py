"""Which nonces were used, for which bytes: kept until the signature they belong to is no longer valid.

In memory for the question, in SQLite for the next start: asked for every message, SQLite took 150 µs beside its own
writer, a dictionary 1 µs. At 1,000 messages a second and a window of 300 s that is about 300,000 entries, 90 MB.

A nonce counts as used only when Kafka has acknowledged the message. The row is committed after the acknowledgement and
before the 2xx, so a gateway killed between the two forgets that one nonce: the sender, who saw no 2xx, tries again and
a second record reaches the raw topic. It has the same event_id, and the stream writes it to quarantine.duplicates.

The file survives kill -9 of the gateway. It is only ever appended to and never synced to the disk (with a key index and
syncs every answer waited for random pages of a busy disk, at times for a second), so a power cut may cost the last rows
or the file; the effect is the same: retries become duplicates, which the stream recognises.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from pipelines.collectors.refusals import Refusal

log = logging.getLogger(__name__)

GROUP_COMMIT_ROWS = 1000
EXPIRE_ROWS_PER_COMMIT = 5000


class Used(NamedTuple):
    """What was delivered under a nonce: the bytes' digest and, of a batch only partly acknowledged, the lines done."""

    digest: bytes
    expires_at_s: float
    lines: bytes | None


class Claim(NamedTuple):
    """One request's hold on a nonce, and what an earlier request with it and the same bytes has already delivered."""

    key: bytes
    digest: bytes
    expires_at_s: float
    everything: bool = False
    lines: frozenset[int] = frozenset()


class Nonces:
    """The memory of nonces. Use from one event loop; one gateway process owns the file.

    Raises sqlite3.Error when the file cannot be opened; a damaged file is set aside and a new one begun, loudly.
    """

    def __init__(self, path: Path, clock_s: Callable[[], float]) -> None:
        self._path = path
        self._clock_s = clock_s
        self._in_flight: dict[bytes, asyncio.Future[None]] = {}
        self._to_store: queue.SimpleQueue[tuple[bytes, Used, asyncio.Future[None]] | None] = queue.SimpleQueue()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._writer = self._open()
        except sqlite3.DatabaseError:
            aside = path.with_suffix(".damaged")
            log.exception("the memory of nonces %s is damaged; it is kept as %s and a new one begun", path, aside)
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._writer = self._open()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._store_forever, name="nonces", daemon=True)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS used_nonces"
            " (key BLOB NOT NULL, digest BLOB NOT NULL, expires_at_s REAL NOT NULL, lines BLOB)"
        )
        # Nonces expire about in the order they come, so this index grows at its end as the table does.
        connection.execute("CREATE INDEX IF NOT EXISTS used_nonces_expiry ON used_nonces (expires_at_s)")
        if (found := connection.execute("PRAGMA quick_check").fetchone()) != ("ok",):
            raise sqlite3.DatabaseError(found[0])
        self._path.chmod(0o600)
        rows = connection.execute("SELECT key, digest, expires_at_s, lines FROM used_nonces ORDER BY rowid")
        now_s = self._clock_s()
        # Of a batch delivered in parts the last row counts, as it does while we run.
        self._used: dict[bytes, Used] = {key: Used(*rest) for key, *rest in rows if rest[1] >= now_s}
        return connection

    @asynccontextmanager
    async def claim(self, key: bytes, payload: bytes, expires_at_s: float) -> AsyncIterator[Claim]:
        """Hold the nonce while its message is delivered; a second request with it waits for the first one's result.

        Raises:
            Refusal: ``nonce.reused`` when it was used, after a 2xx, for other bytes.
        """
        digest = hashlib.sha256(payload).digest()[:16]
        while (other := self._in_flight.get(key)) is not None:
            await asyncio.wait([other])
        mine = self._in_flight[key] = self._loop.create_future()
        try:
            yield self._seen(key, digest, expires_at_s)
        finally:
            del self._in_flight[key]
            mine.set_result(None)

    def _seen(self, key: bytes, digest: bytes, expires_at_s: float) -> Claim:
        used = self._used.get(key)
        if used is None or used.expires_at_s < self._clock_s():
            return Claim(key, digest, expires_at_s)
        if used.digest != digest:
            raise Refusal("nonce.reused")
        if used.lines is None:
            return Claim(key, digest, expires_at_s, everything=True)
        return Claim(key, digest, expires_at_s, lines=frozenset(_unpacked(used.lines)))

    def _forget_expired(self) -> None:
        """Drop from the oldest on; as no entry lives longer than two windows, one waits at most a window behind it."""
        now_s = self._clock_s()
        while self._used:
            oldest = next(iter(self._used))
            if self._used[oldest].expires_at_s >= now_s:
                return
            del self._used[oldest]

    async def used(self, claim: Claim, lines: frozenset[int] | None = None) -> None:
        """Remember that Kafka acknowledged the message, or of a batch so far only these ``lines``; returns when stored.

        A store that fails (disk full) is logged: the record is safe in Kafka and its nonce in memory, so 2xx is right.
        """
        self._forget_expired()
        used = Used(claim.digest, claim.expires_at_s, None if lines is None else _packed(lines))
        self._used[claim.key] = used
        stored = self._loop.create_future()
        self._to_store.put((claim.key, used, stored))
        await stored

    def _store_forever(self) -> None:
        closing = False
        while not closing:
            items = [self._to_store.get()]
            while len(items) < GROUP_COMMIT_ROWS and not self._to_store.empty():
                items.append(self._to_store.get())
            closing = None in items
            work = [item for item in items if item is not None]
            try:
                self._commit([(key, *used) for key, used, _ in work])
            except sqlite3.Error:
                log.exception("%d nonces not stored in %s: a restart will have forgotten them", len(work), self._path)
            if work:
                self._loop.call_soon_threadsafe(_resolve, [stored for _, _, stored in work])

    def _commit(self, rows: list[tuple[bytes, bytes, float, bytes | None]]) -> None:
        self._writer.execute("BEGIN")
        try:
            self._writer.executemany("INSERT INTO used_nonces VALUES (?, ?, ?, ?)", rows)
            self._writer.execute(
                "DELETE FROM used_nonces WHERE rowid IN (SELECT rowid FROM used_nonces WHERE expires_at_s < ? LIMIT ?)",
                (self._clock_s(), EXPIRE_ROWS_PER_COMMIT),
            )
            self._writer.execute("COMMIT")
        except sqlite3.Error:
            self._writer.execute("ROLLBACK")
            raise

    def count(self) -> int:
        """Nonces remembered right now."""
        return len(self._used)

    def close(self) -> None:
        """Store what is queued and close the file."""
        self._to_store.put(None)
        self._thread.join()
        self._writer.close()


def _resolve(stored: list[asyncio.Future[None]]) -> None:
    for future in stored:
        if not future.done():
            future.set_result(None)


def _packed(lines: frozenset[int]) -> bytes:
    bits = 0
    for line in lines:
        bits |= 1 << line
    return bits.to_bytes(bits.bit_length() // 8 + 1, "little")


def _unpacked(packed: bytes) -> list[int]:
    bits = int.from_bytes(packed, "little")
    return [line for line in range(bits.bit_length()) if bits >> line & 1]
