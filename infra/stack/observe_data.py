"""How far behind, how fresh, how much is rejected, and whether the balance closes: for status and metrics."""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.stack.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from pipelines.quality.reject_shares import RejectShare

CLEANING_GROUP = "kefulake-clean"
# Services that write a status file of the same shape into run/: {"tables": {name: {"state", "error", "lag", …}}}.
STREAM_SERVICES = {
    "tiering": "tiering.json",
    "serving writer": "serving_writer.json",
    "identity resolver": "identity_resolver.json",
}
BALANCE_COLUMNS = ("received", "kept", "rejected", "in_review", "duplicate", "missing", "twice", "unknown")


@dataclass(frozen=True)
class Lag:
    """How many messages of a topic (or for a table) a consumer has still to take. trouble: None when it takes them."""

    consumer: str
    what: str
    messages: int
    trouble: str | None = None


@dataclass(frozen=True)
class Freshness:
    """A table's newest received_at, and how long ago that is."""

    table: str
    newest_at: datetime
    age_s: float


@dataclass(frozen=True)
class Balance:
    """Sums of gold.data_balance over its closed hours; `twice` over all, because what stands twice stays so.

    closes: nothing missing, nothing twice, nothing unknown.
    """

    counts: dict[str, int]
    hours: int
    computed_at: datetime

    @property
    def closes(self) -> bool:
        """True when every raw message of the closed hours stands in exactly one output.

        >>> at = datetime(2026, 1, 9, tzinfo=UTC)
        >>> Balance({"missing": 0, "twice": 0, "unknown": 0}, 1, at).closes
        True
        >>> Balance({"missing": 1, "twice": 0, "unknown": 0}, 1, at).closes
        False
        """
        return not any(self.counts.get(name) for name in ("missing", "twice", "unknown"))


@dataclass(frozen=True)
class Rejects:
    """Share of rejects by channel over the last window; `stale`: measured too long ago to say anything of now."""

    channels: list[RejectShare]
    window_minutes: int
    age_s: float
    stale: bool


@functools.lru_cache(maxsize=2)
def _admin(bootstrap: str) -> AdminClient:
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 5000})


def cleaning_lag(settings: Settings) -> list[Lag]:
    """Raw messages the cleaning job has not committed yet, a topic a row (it commits with each checkpoint).

    Raises confluent_kafka.KafkaException when the broker does not answer.
    """
    from confluent_kafka import Consumer, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    from pipelines import contracts

    admin = _admin(settings.bootstrap)
    raw = {name for name, topic in contracts.topics().items() if topic.format == "raw"}
    there = admin.list_topics(timeout=5).topics
    places = [TopicPartition(name, p) for name in raw & set(there) for p in there[name].partitions]
    ends = {
        place: f.result().offset for place, f in admin.list_offsets(dict.fromkeys(places, OffsetSpec.latest())).items()
    }
    starts = {p: f.result().offset for p, f in admin.list_offsets(dict.fromkeys(places, OffsetSpec.earliest())).items()}
    # Not by the admin client: librdkafka 2.16 crashes the process when that asks a coordinator that is still loading.
    asking = Consumer(
        {"bootstrap.servers": settings.bootstrap, "group.id": CLEANING_GROUP, "enable.auto.commit": False}
    )
    try:
        committed = asking.committed(places, timeout=5)
    finally:
        asking.close()
    taken = {(place.topic, place.partition): place.offset for place in committed}
    behind: dict[str, int] = {}
    for place, end in ends.items():
        offset = taken.get((place.topic, place.partition), -1)
        behind[place.topic] = behind.get(place.topic, 0) + end - (offset if offset >= 0 else starts[place])
    return [Lag("clean_interactions", topic, messages) for topic, messages in sorted(behind.items())]


def stream_lag(settings: Settings) -> list[Lag]:
    """What the tiering service and the serving writer say of themselves, a table a row."""
    found = []
    for consumer, file in STREAM_SERVICES.items():
        path = settings.run / file
        if not path.exists():
            continue
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for table, health in told["tables"].items():
            trouble = None if health["state"] in ("running", "starting") else f"{health['state']}: {health['error']}"
            found.append(Lag(consumer, table, sum(health["lag"].values()), trouble))
    return found


def freshness(settings: Settings) -> list[Freshness]:
    """Every table that carries a received_at: its newest, out of the file statistics alone."""
    from pipelines.io.lake_tables import figures

    now_s = time.time()
    return [
        Freshness(table.name, newest, now_s - newest.timestamp())
        for table in figures(settings.lake)
        if (newest := _utc(table.newest_received_at)) is not None
    ]


def _utc(instant: datetime | None) -> datetime | None:
    return instant if instant is None or instant.tzinfo else instant.replace(tzinfo=UTC)


def balance(settings: Settings) -> Balance | None:
    """The last state of gold.data_balance; None while no hour is closed and nothing stands twice."""
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    from pipelines.io import lake_tables

    path = settings.table_path("gold.data_balance")
    if not (path / "_delta_log").exists():
        return None
    columns = [*BALANCE_COLUMNS, "hour_at", "closed", "computed_at"]
    rows = DeltaTable(str(path)).to_pyarrow_table(columns=columns, filesystem=lake_tables.arrow_files(path))
    closed = rows.filter(rows["closed"])
    counts = {name: int(pc.sum(closed[name]).as_py() or 0) for name in BALANCE_COLUMNS}
    counts["twice"] = int(pc.sum(rows["twice"]).as_py() or 0)
    if not closed.num_rows and not counts["twice"]:
        return None
    return Balance(counts, len(pc.unique(closed["hour_at"])), pc.max(rows["computed_at"]).as_py())


def rejects(settings: Settings) -> Rejects | None:
    """What the balance service said last of the share of rejects; None before it said anything."""
    from pipelines import contracts
    from pipelines.quality.reject_shares import RejectShare

    path = settings.run / "reject_shares.json"
    if not path.exists():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    age_s = time.time() - datetime.fromisoformat(told["written_at"]).timestamp()
    stale = age_s > contracts.policy("rejects")["alarm"]["stale_after_s"]
    return Rejects([RejectShare(**line) for line in told["channels"]], told["window_minutes"], age_s, stale)
