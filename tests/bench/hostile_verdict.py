"""What became of hostile messages: read from Delta or from Kafka, and held against what must become of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from confluent_kafka import Consumer, Message, TopicPartition
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.privacy.bronze_cipher import BronzeCipherError, open_bronze
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import PayloadError, coordinates, open_payload
from tests.bench.hostile_payloads import Hostile
from tests.bench.lake_truth import OUTPUT_TABLES, Coordinate, table_of_topic

OUTCOMES = {"quarantine.rejects": "rejected", "quarantine.duplicates": "duplicate", "review.queue": "in review"}
_READ = ("raw_topic", "raw_partition", "raw_offset", "rule", "reason", "payload_encrypted")


class Output(NamedTuple):
    """A row or record that a raw message became; sealed: its encrypted bytes, where it keeps them."""

    outcome: str
    rule: str | None
    reason: str | None
    sealed: str | None


Outputs = Iterable[tuple[Coordinate, Output]]


def in_delta(settings: Settings) -> Outputs:
    """Every row of every output table, some at a time: rejects of 5 MB are no small table."""
    for name in OUTPUT_TABLES:
        if not (settings.table_path(name) / "_delta_log").exists():
            continue
        data = DeltaTable(settings.table_path(name)).to_pyarrow_dataset()
        columns = [column for column in _READ if column in data.schema.names]
        for batch in data.to_batches(columns=columns, batch_size=64):
            for row in batch.to_pylist():
                yield _output(row, OUTCOMES.get(name, "kept"))


def in_kafka(settings: Settings) -> Outputs:
    """Every committed record of every output topic, from its beginning to its end now."""
    topics = [t for t in contracts.topics().values() if "clean_interactions" in t.producers and t.format == "json"]
    names = [t.name for t in topics if t.name != "identity.vault"]
    for message in records(settings, names):
        yield _output(orjson.loads(message.value()), OUTCOMES.get(table_of_topic(message.topic()), "kept"))


def records(
    settings: Settings, topics: Iterable[str], since: Mapping[tuple[str, int], int] | None = None
) -> Iterator[Message]:
    """Committed records of the topics from their beginning (or `since`) to their end."""
    with _consumer(settings) as consumer:
        places = _partitions(consumer, topics)
        for place in places:
            place.offset = (since or {}).get((place.topic, place.partition), 0)
        consumer.assign(places)
        ended = set()
        while len(ended) < len(places):
            message = consumer.poll(30)
            if message is None:
                raise TimeoutError(f"{len(places) - len(ended)} partitions can't be read to their end")
            if message.error():
                ended.add((message.topic(), message.partition()))
            else:
                yield message


def ends(settings: Settings, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Where each partition of the topics ends now."""
    with _consumer(settings) as consumer:
        places = _partitions(consumer, topics)
        return {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=30)[1] for p in places}


def _partitions(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    there = consumer.list_topics(timeout=30).topics
    return [TopicPartition(topic, number) for topic in topics for number in there[topic].partitions]


@contextmanager
def _consumer(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap,
            "group.id": "hostile",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 16 << 20,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def _output(row: Mapping, outcome: str) -> tuple[Coordinate, Output]:
    place = (row["raw_topic"], row["raw_partition"], row["raw_offset"])
    return place, Output(outcome, row.get("rule"), row.get("reason"), row.get("payload_encrypted"))


@dataclass
class Verdict:
    """by_kind: how many of each kind were sent, ended where, and kept their bytes; wrong: what should not be so."""

    by_kind: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    rules: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def judge(sent: Mapping[Coordinate, Hostile], outputs: Outputs, key: MasterKey) -> Verdict:
    """Hold every output against what was sent: one output each, the right one, with rule, reason and bytes."""
    verdict, seen = Verdict(), Counter()
    for hostile in sent.values():
        verdict.by_kind[hostile.kind]["sent"] += 1
    for place, output in outputs:
        hostile = sent.get(place)
        if hostile is None:
            verdict.wrong.append(f"{place}: stands in an output, and nobody sent it")
            continue
        seen[place] += 1
        if seen[place] > 1:
            verdict.wrong.append(f"{_named(hostile, place)}: stands in {seen[place]} outputs")
            continue
        verdict.by_kind[hostile.kind][output.outcome] += 1
        verdict.rules[output.rule] += 1
        verdict.wrong += [f"{_named(hostile, place)}: {what}" for what in _faults(hostile, output)]
        if output.outcome in ("rejected", "in review"):
            intact = _opened(output, place, key) == (hostile.payload or b"")
            verdict.by_kind[hostile.kind]["bytes intact"] += intact
            if not intact:
                verdict.wrong.append(f"{_named(hostile, place)}: {output.outcome}, its bytes are not those sent")
    verdict.wrong += [f"{_named(sent[place], place)}: stands in no output" for place in sent.keys() - seen.keys()]
    return verdict


def _faults(hostile: Hostile, output: Output) -> Iterator[str]:
    if output.rule == "cleaning.failed":
        yield "the cleaning itself failed on it"
    if hostile.expect != "one output" and output.outcome != hostile.expect:
        yield f"{output.outcome} ({output.rule}), not {hostile.expect}"
    if output.outcome == "rejected" and not (output.rule and output.reason):
        yield "rejected without rule and reason"
    if output.outcome == "rejected" and hostile.rules and output.rule not in hostile.rules:
        yield f"rejected by {output.rule}, not by {' or '.join(hostile.rules)}"


def _opened(output: Output, place: Coordinate, key: MasterKey) -> bytes | None:
    try:
        return open_payload(output.sealed or "", key, coordinates(*place))
    except PayloadError:
        return None


def bronze_faults(settings: Settings, sent: Mapping[Coordinate, Hostile], key: MasterKey) -> list[str]:
    """What bronze lacks or holds otherwise: every message once, its decrypted bytes those that were sent."""
    data = DeltaTable(settings.table_path("bronze.raw_events")).to_pyarrow_dataset()
    seen, wrong = Counter(), []
    for batch in data.to_batches(columns=[*_READ[:3], "payload_ciphertext"], batch_size=64):
        for row in batch.to_pylist():
            place = (row["raw_topic"], row["raw_partition"], row["raw_offset"])
            seen[place] += 1
            hostile, sealed = sent.get(place), row["payload_ciphertext"]
            try:
                found = None if sealed is None else open_bronze(sealed, key, place[1], place[2])
            except BronzeCipherError as error:
                wrong.append(f"bronze: {error}")
                continue
            if hostile is None or found != hostile.payload:
                wrong.append(f"bronze: {place}: its bytes are not those sent")
    wrong += [f"bronze: {_named(sent[place], place)} is missing" for place in sent.keys() - seen.keys()]
    return wrong + [f"bronze: {place} stands there {times} times" for place, times in seen.items() if times > 1]


def place_all(
    known: Mapping[Coordinate, Hostile], taken_in: Iterable[Hostile], messages: Iterable
) -> tuple[dict[Coordinate, Hostile], list[str]]:
    """Coordinates of what the gateway took in, found by channel and bytes in the raw topics; and what does not fit.

    `messages`: all records of the raw topics; `known`: what was produced into them directly.
    """
    waiting: dict[tuple[str, bytes | None], list[Hostile]] = defaultdict(list)
    for hostile in taken_in:
        waiting[f"raw.{hostile.channel}", hostile.payload].append(hostile)
    sent, wrong = dict(known), []
    for message in messages:
        place = (message.topic(), message.partition(), message.offset())
        if place in known:
            continue
        named = waiting[message.topic(), message.value()]
        if named:
            sent[place] = named.pop()
        else:
            wrong.append(f"{place}: in the raw topic, and nobody was told so")
    missing = [hostile for named in waiting.values() for hostile in named]
    return sent, wrong + [f"{h.kind}, {h.channel}: acknowledged by the gateway, in no raw topic" for h in missing]


def _named(hostile: Hostile, place: Coordinate) -> str:
    return f"{hostile.kind}, {'/'.join(map(str, place))}"
