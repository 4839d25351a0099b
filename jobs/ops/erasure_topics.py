"""What an erasure does in Kafka; `jobs.ops.erase` says when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from deltalake import DeltaTable

from infra.stack import kafka
from infra.stack.settings import Settings
from jobs.ops.erasure_stores import SERVED, ErasureFailed, telling
from pipelines import contracts
from pipelines.io import kafka_erasure, progress
from pipelines.io.committed_log import CommittedLog, Source
from pipelines.io.mariadb import connect
from pipelines.io.mariadb_positions import least_positions

CLEANING_GROUP = "kefulake-clean"


def topics_of_people() -> tuple[list[str], list[str]]:
    """Topics that can hold a person: those whose records go by offset, and the compacted ones keyed by token."""
    feeding = {topic for name in telling(["tiering"]) for topic in contracts.table(name).topics}
    by_offset = [name for name in sorted(feeding) if contracts.topic(name).cleanup == "delete"]
    by_key = sorted(n for n, topic in contracts.topics().items() if topic.cleanup == "compact" and topic.key == "token")
    return by_offset, by_key


def forget_offsets(settings: Settings, wait_s: float, tell: Callable[[str], None]) -> dict[str, int]:
    """Delete every record that all readers have passed from the topics that are read once; records deleted by topic.

    Everybody's: the lake has them. Raises ErasureFailed when a reader does not come past in time.
    """
    topics, _ = topics_of_people()
    sources = CommittedLog(settings.bootstrap, topics).sources()
    deadline = time.monotonic() + wait_s
    low = {source: CommittedLog(settings.bootstrap, [source.topic]).bounds(source)[0] for source in sources}
    begins = kafka_erasure.roll(settings.bootstrap, sources)  # what lies before has to be passed, and goes
    while late := _not_passed(settings, begins):
        tell(f"{len(late)} partitions wait for their readers …")
        if time.monotonic() > deadline:
            raise ErasureFailed(f"after {wait_s:.0f} s readers have not passed {', '.join(map(str, late))}")
        time.sleep(1)
    with kafka_erasure.hasty(settings.bootstrap, topics, kafka_erasure.DELETING):
        kafka_erasure.delete_before(settings.bootstrap, begins)
        while settings.own_kafka and (left := kafka_erasure.segments_before(kafka.data_folder(settings), begins)):
            tell(f"{len(left)} segments wait for the broker …")
            if time.monotonic() > deadline:
                raise ErasureFailed(f"after {wait_s:.0f} s the broker still has {left[0]} and {len(left) - 1} more")
            time.sleep(0.5)
    deleted: dict[str, int] = {}
    for source, end in begins.items():
        deleted[source.topic] = deleted.get(source.topic, 0) + end - low[source]
    return deleted


def _not_passed(settings: Settings, begins: Mapping[Source, int]) -> list[Source]:
    """Partitions that a reader still has to read: the tables, the jobs of policy erasure, the serving writer."""
    late = set(_not_served(settings, begins))
    for name in telling(["tiering"]):
        fed = [source for source in begins if source.topic in contracts.table(name).topics]
        if fed:
            path = settings.table_path(name)  # not there yet: nothing has been read for it
            table = DeltaTable(str(path)) if (path / "_delta_log").exists() else None
            passed = {s: table.transaction_version(s.application) if table else None for s in fed}
            late |= {source for source, position in passed.items() if (position or 0) < begins[source]}
    raw = {name for name, topic in contracts.topics().items() if topic.format == "raw"}
    for group in contracts.policy("erasure")["groups"]:
        positions = progress.committed(settings.bootstrap, group, [source.place for source in begins])
        for source in set(begins) - late:
            # The cleaning job reads every raw topic, also where it has committed nothing yet; others what they say.
            if str(source) in positions or (group == CLEANING_GROUP and source.topic in raw):
                position = positions.get(str(source), 0)
                if not kafka_erasure.sees_nothing_before(settings.bootstrap, source, position, begins[source]):
                    late.add(source)
    return sorted(late)


def _not_served(settings: Settings, begins: Mapping[Source, int]) -> set[Source]:
    """Readers that keep their positions in MariaDB: the serving writer reads its topics in any case, others may."""
    least = least_positions(connect(settings.database_url))
    served = contracts.table(SERVED).topics
    at = {source: least.get(source.application, 0 if source.topic in served else begin)
          for source, begin in begins.items()}  # fmt: skip
    # Where no serving writer ever ran, an earlier erasure has left markers that nobody's position passes.
    return {
        source
        for source, position in at.items()
        if not kafka_erasure.sees_nothing_before(settings.bootstrap, source, position, begins[source])
    }


def forget_keys(settings: Settings, topic: str, keys: Iterable[str], wait_s: float) -> tuple[int, int]:
    """Tombstone and compact until the log holds nothing of these keys; records left with and without a value."""
    keys, deadline = sorted(keys), time.monotonic() + wait_s
    if not keys:
        return 0, 0
    with kafka_erasure.hasty(settings.bootstrap, [topic], kafka_erasure.COMPACTING):
        sources = CommittedLog(settings.bootstrap, [topic]).sources()
        kafka_erasure.remove_keys(settings.bootstrap, sources, keys)
        while True:
            kafka_erasure.roll(settings.bootstrap, sources)
            time.sleep(2.5)  # the cleaner looks every 2 s
            left = kafka_erasure.records_of(settings.bootstrap, topic, keys)
            if left == (0, 0) or (left[0] == 0 and time.monotonic() > deadline):
                return left
            if time.monotonic() > deadline:
                raise ErasureFailed(f"after {wait_s:.0f} s topic {topic} still holds {left[0]} records of the person")
