"""One fault schedule from beginning to end: a source that changes and misbehaves, runs that die, the truth.

What must have arrived: a revision that was current from the beginning of a run to its good end. What counts as one
record: its event_id by the job's own rule; of what the job rejects, its bytes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pipelines.channels import PARSERS
from pipelines.channels.interaction import Reject
from pipelines.cleaning.batch import event_id
from pipelines.connectors import resources, source
from pipelines.connectors.access import Access
from pipelines.connectors.http_client import SourceClient
from pipelines.connectors.resources import (
    Connectors,
    DeletedList,
    KeyComparison,
    LinkPages,
    NumberPages,
    OffsetPages,
    Resource,
    TokenPages,
    Tombstones,
)
from pipelines.connectors.sync import Figures, Log, Sync
from pipelines.io.connector_log import CHANGED_AT, CONNECTOR, CURSOR, DELETED, RECORD, Sent
from pipelines.io.paced_producer import Record
from pipelines.simulation.api_faults import Schedule
from pipelines.simulation.api_http import serving
from pipelines.simulation.api_population import Population
from pipelines.simulation.api_server import CHANGES_A_RUN, SECRETS, MisbehavingApi

BEGIN_US = 1_767_916_800_000_000  # 2026-01-09 00:00 UTC
RECEIVED_US = BEGIN_US + 30 * 86_400_000_000
SECRET = b"connectors-test-secret-32-bytes!"
RESOURCES = ("crm_customers", "ticket_events", "orders", "app_events")
READ_TIMEOUT_S, STALL_S = 0.15, 0.3
_MOST_TRIES = 40


class Killed(BaseException):
    """As kill -9: nothing of ours runs any more."""


@dataclass
class SkippingClock:
    """The real clock, but sleeping takes no time: it is skipped."""

    skipped_s: float = 0.0

    def monotonic(self) -> float:
        """Seconds, with those skipped."""
        import time

        return time.monotonic() + self.skipped_s

    def sleep(self, seconds: float) -> None:
        """Skip them."""
        self.skipped_s += seconds


class MemoryLog:
    """A raw topic of one partition in memory, as `pipelines.io.connector_log.ConnectorLog` shows a real one."""

    cluster = "memory"

    def __init__(self) -> None:
        self.records: list[Record] = []

    def send(self, records: Sequence[Record]) -> dict[int, int]:
        """Append; the next offset."""
        self.records += records
        return {0: len(self.records)}

    def ends(self) -> dict[int, int]:
        """Its end."""
        return {0: len(self.records)}

    def sent_behind(self, connector: str, offsets: Mapping[int, int]) -> Iterator[Sent]:
        """From an offset on."""
        for offset, record in list(enumerate(self.records))[offsets.get(0, 0) :]:
            headers = {name: value.decode() for name, value in record.headers}
            if headers[CONNECTOR] == connector:
                at, cursor = headers.get(CHANGED_AT), headers.get(CURSOR)
                instants = at and int(at), cursor and int(cursor)
                yield Sent(headers[RECORD], *instants, 0, offset, record.value, False, DELETED in headers)

    def sent_ever(self, connector: str) -> Iterator[Sent]:
        """All of it."""
        return self.sent_behind(connector, {})


@dataclass
class KillingLog:
    """A log under which the process dies now and then: before, in the middle of, or after a send."""

    log: Log
    chance: random.Random
    share: float
    cluster: str = ""

    def __post_init__(self) -> None:
        self.cluster = self.log.cluster

    def send(self, records: Sequence[Record]) -> dict[int, int]:
        """Send all, or some and die."""
        if self.chance.random() >= self.share:
            return self.log.send(records)
        self.log.send(records[: self.chance.randrange(len(records) + 1)])
        raise Killed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


@dataclass
class Verdict:
    """lost, twice and strange: identities, with how often they came; empty when all is well."""

    records: int = 0
    revisions: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    rejected: int = 0
    runs: int = 0
    failed_runs: int = 0
    kills: int = 0
    rebuilds: int = 0
    unproven: int = 0
    faults: dict[str, int] = field(default_factory=dict)


def identity(channel: str, value: bytes, source_ref: str | None = None) -> str:
    """What makes two raw records one: the job's event_id, of a reject its bytes.

    The job's own where `source_ref` is the record's header: it names a record that carries no ID of its own.
    """
    parsed = PARSERS[channel](value, "default", RECEIVED_US, source_ref)
    if isinstance(parsed, Reject):
        return "reject " + blake2b(value, digest_size=8).hexdigest()
    return event_id(channel, "default", parsed, 0, value)


def as_sent(resource: Resource, value: bytes) -> bytes:
    """What the connector must make of a value of the source: itself, or a deletion in the channel's words."""
    fields, rule = orjson.loads(value), resource.deletions
    gone = isinstance(rule, DeletedList) or (isinstance(rule, Tombstones) and fields.get(rule.field))
    return orjson.dumps(fields | rule.becomes) if gone else value


def declared(seed: int, name: str, form: str | None = None, size: int | None = None) -> Connectors:
    """The project's policy with one resource (and what tells of its deletions), under names of this seed.

    ``form``: its pages; None: one of the four by the seed.
    """
    chance, policy = random.Random(f"{seed}/declared"), resources.declared()
    wanted = [name, "crm_deleted"] if name == "crm_customers" else [name]
    form = form or chance.choice(("number", "offset", "token", "link"))
    size = size or chance.randrange(6, 30)
    found = {}
    for one in wanted:
        resource = policy.resources[one]
        named = f"{one}_{seed}"
        found[named] = msgspec.structs.replace(resource, name=named, page=_pages(form, resource.records, size))
    limits = msgspec.structs.replace(policy.client, read_timeout_s=READ_TIMEOUT_S, save_every_s=0.02)
    return msgspec.structs.replace(policy, resources=found, client=limits)


def _pages(form: str, records: str, size: int) -> Any:
    front = "" if not records else records.rpartition(".")[0]
    front = front and front + "."
    if not records and form != "link":
        raise ValueError("an answer that is a list has no room for totals")
    match form:
        case "number":
            return NumberPages("page", "per_page", size, f"{front}total", f"{front}page")
        case "offset":
            return OffsetPages("offset", "limit", size, f"{front}total")
        case "token":
            return TokenPages("cursor", "limit", size, f"{front}next", f"{front}more", f"{front}count")
    return LinkPages("page_size", size, "X-Total-Count")


class World:
    """One resource of one schedule. ``log`` is the raw topic, ``folder`` where positions are kept."""

    def __init__(
        self, schedule: Schedule, connectors: Connectors, log: Log, folder: Path, *, rows: int = 60, kills: float = 0.0
    ) -> None:
        self.schedule, self.connectors, self.log, self.folder = schedule, connectors, log, folder
        self.chance = random.Random(f"{schedule.seed}/world")
        populations = {n: Population(r, schedule.seed, BEGIN_US) for n, r in connectors.resources.items()}
        self.names = list(populations)
        self.main = populations[self.names[0]]
        if len(populations) > 1:
            self.main.deleted = populations[self.names[1]]
            self.main.deleted.told_by = self.main
        self.main.fill(rows)
        self.api = MisbehavingApi(connectors, populations, schedule, STALL_S)
        self.killing = KillingLog(log, self.chance, kills)
        self.must: set[str] = set()
        self.verdict = Verdict()

    def play(self, rounds: int = 4) -> Verdict:
        """Runs and changes in turn; at the end the source is well once."""
        with serving(self.api) as address:
            for round_ in range(rounds):
                if round_:
                    self.api.pass_time(900)
                    self.main.change(self.chance.randrange(1, 25))
                if round_ == 2 and self.chance.random() < 0.5:
                    self._lose_position()
                for name in self.names:
                    self._until_good(name, address)
            self._get_well()
            for name in self.names:
                self._until_good(name, address)
            if isinstance(self.main.resource.deletions, KeyComparison):
                self._until_good(self.names[0], address, full=True)
        return self._judged()

    def _lose_position(self) -> None:
        self.verdict.rebuilds += 1
        for name in self.names:
            self._file(name).unlink(missing_ok=True)

    def _get_well(self) -> None:
        self.api.schedule = replace(self.schedule, share=0.0, churn=0.0)
        self.killing.share = 0.0

    def _until_good(self, name: str, address: str, *, full: bool = False) -> Figures:
        failed = "killed every time"
        begun = self._current(name)
        for _ in range(_MOST_TRIES):
            # A walk by token goes on where a killed run left it; what is committed late behind it is the next run's.
            walks = isinstance(self.connectors.resources[name].page, TokenPages)
            before = begun if walks else self._current(name)
            try:
                figures = self._run(name, address, full=full)
            except Killed:
                self.verdict.kills += 1
                continue
            self.verdict.unproven += figures.unproven
            if figures.failed is None:
                after = self._current(name)
                self.must |= {identity(self.main.resource.channel, one) for one in before & after}
                return figures
            self.verdict.failed_runs, failed = self.verdict.failed_runs + 1, figures.failed
            self.api.pass_time(60)
        raise AssertionError(f"{name} of schedule {self.schedule} never came to a good end: {failed}")

    def _run(self, name: str, address: str, *, full: bool) -> Figures:
        self.verdict.runs += 1
        self.api.changes_left = CHANGES_A_RUN
        resource = self.connectors.resources[name]
        declared_source = self.connectors.sources[resource.source]
        clock = SkippingClock()
        client = SourceClient(
            resource.source, declared_source, Access(address, SECRETS), self.connectors.client, clock, self.chance
        )
        sync = Sync(resource, self.connectors.client, "default", self.killing, self._file(name), clock, SECRET)
        siblings = tuple(self.names[1:])
        try:
            return source.run(sync, client, full=full, siblings=siblings)
        finally:
            client.close()

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _current(self, name: str) -> set[bytes]:
        population = self.api.populations[name]
        return {as_sent(population.resource, row.value) for row in population.rows.values()}

    def _judged(self) -> Verdict:
        channel, verdict = self.main.resource.channel, self.verdict
        came: Counter[str] = Counter()
        vanished: Counter[str] = Counter()
        known: set[str] = set()
        for name in self.names:
            for sent in self.log.sent_ever(name):
                verdict.records += 1
                if name == self.names[0] and sent.deleted and channel == "crm":
                    vanished[orjson.loads(sent.value)["customer_no"]] += 1
                    continue
                came[identity(channel, sent.value)] += 1
                if name == self.names[0] and channel == "crm":
                    known.add(str(orjson.loads(sent.value).get("customer_no")))
        possible = {
            identity(channel, as_sent(population.resource, value))
            for population in self.api.populations.values()
            for value in population.ever
        }
        # Whoever was never sent by a readable key cannot be missed.
        sent_keys = known & set(self.main.vanished)
        verdict.revisions = len(self.must) + len(sent_keys)
        verdict.lost = sorted(self.must - set(came)) + sorted(sent_keys - set(vanished))
        verdict.twice = [f"{one} x{n}" for one, n in (came + vanished).items() if n > 1]
        verdict.strange = sorted((set(came) - possible) | (set(vanished) & set(self.main.rows)))
        verdict.rejected = sum(one.startswith("reject") for one in came)
        verdict.faults = dict(self.api.met)
        return verdict
