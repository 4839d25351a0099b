"""A week of the stream's commits into silver.interactions, in simulated time, the same into several lakes at once.

The tiering service commits a file about every ten seconds: 60,480 a week. Through delta-rs, two tables of so many
take hours; so the files (one Parquet file and one log entry a commit, as the service writes them) are written here
directly, once, and linked into each lake. A test holds such a table to one that the service's store has written.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from pipelines import contracts
from pipelines.io.delta import open_store
from pipelines.simulation.phrases import CLOSINGS, FOLLOW_UPS, OPENINGS

TABLE = "silver.interactions"
APPLICATION = "cluster/topic/0"
CUSTOMERS = 20_000


@dataclass(frozen=True)
class Scale:
    """How much of the stream is simulated; 10 s a commit is what the service does."""

    days: int = 7
    commit_every_s: int = 10
    rows: int = 20

    @property
    def commits_a_day(self) -> int:
        """Of each lake."""
        return 86_400 // self.commit_every_s


class Week:
    """The stream into some lakes, commit by commit."""

    def __init__(self, lakes: Sequence[Path], scale: Scale, start: datetime, seed: int = 5):
        self.scale, self.start, self.commits = scale, start, 0
        self._rng = np.random.default_rng(seed)
        self._paths = [lake.joinpath(*TABLE.split(".")) for lake in lakes]
        contract = contracts.table(TABLE)
        self.schema = contracts.arrow_schema(contract)
        for path in self._paths:
            open_store(path, self.schema, contract.partition_by, name=TABLE, description=contract.description)
        self._channels = [c for c in contracts.field("channel").values if c not in ("crm", "orders")]
        self._texts = [f"{a}{b}" for a in OPENINGS for b in (*FOLLOW_UPS, *CLOSINGS)]

    @property
    def now(self) -> datetime:
        """Simulated time of the next commit."""
        return self.start + timedelta(seconds=self.commits * self.scale.commit_every_s)

    def commit(self) -> None:
        """The rows of one commit into every lake."""
        rows, day = self.batch(), self.now.date()
        name = f"received_date={day}/part-00000-{uuid.UUID(bytes=self._rng.bytes(16))}-c000.zstd.parquet"
        first, *others = (path / name for path in self._paths)
        first.parent.mkdir(exist_ok=True)
        pq.write_table(rows.drop(["received_date"]), first, compression="zstd", compression_level=1)
        for other in others:
            other.parent.mkdir(exist_ok=True)
            os.link(first, other)
        self.commits += 1
        entry = self._entry(name, str(day), first.stat().st_size, rows)
        for path in self._paths:
            log = path / "_delta_log" / f"{DeltaLog(path).next:020}.json"
            with log.open("x", encoding="utf-8") as file:
                file.write(entry)

    def age_log(self, path: Path, before: datetime, old_s: float) -> None:
        """Make what the log got before an instant (simulated) ``old_s`` old by the clock.

        Checkpoints and the upkeep's own commits too, which carry the real clock: of a log delta-rs deletes the old
        beginning alone, so one young entry would keep all behind it.
        """
        then, last = time.time() - old_s, -1
        for entry in (path / "_delta_log").glob("0*.json"):
            first = json.loads(entry.open(encoding="utf-8").readline())
            if first.get("commitInfo", {}).get("timestamp", math.inf) < before.timestamp() * 1000:
                last = max(last, int(entry.stem))
        for entry in (path / "_delta_log").glob("0*"):
            if int(entry.name.partition(".")[0]) <= last:
                os.utime(entry, (then, then))

    def batch(self) -> pa.Table:
        """The next rows; made anew from the same state they are the same."""
        count, offset = self.scale.rows, self.commits * self.scale.rows
        at = [self.now - timedelta(milliseconds=int(ms)) for ms in self._rng.integers(0, 8000, count)]
        channels, texts = (self._rng.choice(words, count) for words in (self._channels, self._texts))
        columns = {
            "raw_topic": [f"raw.{c}" for c in channels],
            "raw_partition": [0] * count, "raw_offset": range(offset, offset + count), "attempt": [0] * count,
            "event_id": [self._rng.bytes(16).hex() for _ in range(count)], "channel": channels,
            "account": ["default"] * count, "source_revision": [0] * count, "kind": ["message"] * count,
            "sender_role": ["customer"] * count, "identity_status": ["linked"] * count,
            "customer_id": [f"c_{n:06}" for n in self._rng.integers(0, CUSTOMERS, count)],
            "session_id": [self._rng.bytes(8).hex() for _ in range(count)], "text": texts,
            "occurred_at": at, "received_at": [self.now] * count, "processed_at": [self.now] * count,
            "received_date": [self.now.date()] * count,
        }  # fmt: skip
        arrays = [
            pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in self.schema
        ]
        return pa.table(arrays, schema=self.schema)

    def _entry(self, name: str, day: str, size: int, rows: pa.Table) -> str:
        now_ms = int(self.now.timestamp() * 1000)
        indexed = ("raw_topic", "raw_partition", "raw_offset", "received_at", "occurred_at", "event_id", "channel",
                   "customer_id")  # fmt: skip
        bounds = {c: pc.min_max(rows[c]).as_py() for c in indexed}
        stats = {
            "numRecords": rows.num_rows,
            "minValues": {c: _plain(b["min"]) for c, b in bounds.items()},
            "maxValues": {c: _plain(b["max"]) for c, b in bounds.items()},
            "nullCount": {c: 0 for c in indexed},
        }
        add = {
            "path": name, "partitionValues": {"received_date": day}, "size": size, "modificationTime": now_ms,
            "dataChange": True, "stats": json.dumps(stats),
        }  # fmt: skip
        moved = {"appId": APPLICATION, "version": self.commits * self.scale.rows, "lastUpdated": now_ms}
        info = {"timestamp": now_ms, "operation": "WRITE", "operationParameters": {"mode": "Append"}}
        return "".join(json.dumps(action) + "\n" for action in ({"commitInfo": info}, {"txn": moved}, {"add": add}))


class DeltaLog:
    """The log of a table that nobody else writes at the moment."""

    _known: dict[Path, int] = {}  # noqa: RUF012 - one process, one bench

    def __init__(self, path: Path):
        known = self._known.get(path)
        if known is None or (path / "_delta_log" / f"{known:020}.json").exists():
            known = DeltaTable(path).version() + 1
        self.next = known
        self._known[path] = known + 1


def _plain(value: object) -> object:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
