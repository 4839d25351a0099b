"""What an erasure does in each store; `jobs.ops.erase` says in which order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import orjson
import polars as pl
from deltalake import DeltaTable

from infra.stack import kafka, mariadb
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import delta_erasure, kafka_erasure, mariadb_erasure, progress
from pipelines.io.committed_log import CommittedLog, Source
from pipelines.io.compacted_tail import CompactedTail
from pipelines.io.erasure_errands import COMMANDS, RESULTS, Command, erase_rows
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish
from pipelines.privacy.erasure import Person, columns_that_tell, concerned, speaks_of
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import PayloadError, coordinates, open_payload
from pipelines.privacy.tokens import Tokeniser

CLEANING_GROUP = "kefulake-clean"
SEALED = ("quarantine.rejects", "review.queue")
SERVED, SERVED_AS = "silver.interactions", "interactions"


class ErasureFailed(RuntimeError):
    """Something of the person is still there, or may be; run the same command again. The message says where."""


def telling(engines: Iterable[str] | None = None) -> dict[str, list[str]]:
    """Tables of the lake that can hold a person, with the columns that tell; all engines, or these."""
    tables = {n: t for n, t in contracts.tables().items() if engines is None or t.engine in engines}
    found = {name: columns_that_tell([field.name for field in table.fields]) for name, table in tables.items()}
    return {name: columns for name, columns in found.items() if columns}


# ---- what is theirs


def telling_rows(settings: Settings) -> dict[str, pl.DataFrame]:
    """The telling columns of every table; personal values are not among them."""
    rows = {}
    for name, columns in telling().items():
        path = settings.table_path(name)
        if (path / "_delta_log").exists():
            table = DeltaTable(str(path))
            present = [column for column in columns if column in {field.name for field in table.schema().fields}]
            rows[name] = pl.from_arrow(table.to_pyarrow_table(columns=present))
    return rows


def messages_by_bytes(settings: Settings, key: MasterKey, who: Person, values: Iterable[str]) -> set[str]:
    """Rejected and doubtful messages that hold a value of the person: nothing else says whose they are."""
    tokeniser, values, found = Tokeniser(key), list(values), set()
    for name in SEALED:
        path = settings.table_path(name)
        if not (path / "_delta_log").exists():
            continue
        columns = ["raw_topic", "raw_partition", "raw_offset", "payload_encrypted"]
        for batch in DeltaTable(str(path)).to_pyarrow_dataset().to_batches(columns=columns, batch_size=5_000):
            for topic, partition, offset, sealed in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                place = coordinates(topic, partition, offset)
                if sealed and _speaks(sealed, key, place, who, values, tokeniser):
                    found.add(place)
    return found


def _speaks(sealed: str, key: MasterKey, place: str, who: Person, values: list[str], tokeniser: Tokeniser) -> bool:
    try:
        return speaks_of(open_payload(sealed, key, place), who, values, tokeniser)
    except PayloadError:  # bytes that nobody can open name nobody
        return False


# ---- the lake


def count_in_lake(settings: Settings, who: Person) -> dict[str, int]:
    """The person's rows by table, newest version."""
    return {
        name: delta_erasure.count(settings.table_path(name), columns, lambda rows: concerned(rows, who))
        for name, columns in telling().items()
    }


def command_writers(settings: Settings, erasure_id: str, who: Person, wait_s: float) -> dict[str, dict]:
    """Have the tiering service remove the rows from its tables; what each says. Raises ErasureFailed at the limit."""
    tables = {name for name in telling(["tiering"]) if (settings.table_path(name) / "_delta_log").exists()}
    told: dict[str, dict] = {}
    results = CompactedTail(settings.bootstrap, RESULTS, every_s=0)
    try:
        commands = [Command(erasure_id, name, who) for name in sorted(tables)]
        publish(settings.bootstrap, COMMANDS, [(one.key, one.encoded()) for one in commands])
        deadline = time.monotonic() + wait_s
        while tables - set(told):
            if time.monotonic() > deadline:
                raise ErasureFailed(
                    f"after {wait_s:.0f} s no answer from the writer of {', '.join(sorted(tables - set(told)))}: is "
                    f"the tiering service up, and has it caught up? kefulake status. The commands stay in {COMMANDS}"
                )
            time.sleep(0.1)
            for key, value in results.poll_if_due(time.monotonic()):
                if key == erasure_id:
                    one = orjson.loads(value)
                    told[one["table_name"]] = one
    finally:
        results.close()
    return told


def erase_built_tables(settings: Settings, who: Person) -> None:
    """Tables that a build of ours writes (gold, replay notes): fenced the same way, by who erases."""
    for name in telling({table.engine for table in contracts.tables().values()} - {"tiering"}):
        if (settings.table_path(name) / "_delta_log").exists():
            erase_rows(settings, name, who)


# ---- MariaDB


def count_in_mariadb(settings: Settings, who: Person) -> dict[str, int]:
    """The person's rows by table of the serving database."""
    engine = connect(settings.database_url)
    tables = mariadb_erasure.telling_tables(engine)
    return {name: mariadb_erasure.count_rows(engine, name, columns, who) for name, columns in tables.items()}


def erase_in_mariadb(settings: Settings, who: Person) -> str:
    """Delete the rows and take them out of the server's files; what a person has to do, '' for nothing."""
    engine = connect(settings.database_url)
    tables = mariadb_erasure.telling_tables(engine)
    for name, columns in tables.items():
        mariadb_erasure.delete_rows(engine, name, columns, who)
    if not settings.own_mariadb:
        return "rows deleted; on a server of your own its administrator takes them out of its files and backups"
    mariadb_erasure.scrub(connect(mariadb.root_url(settings)), sorted(tables))
    return ""


# ---- Kafka


def topics_of_people() -> tuple[list[str], list[str]]:
    """Topics that can hold a person: those whose records go by offset, and the compacted ones keyed by token."""
    feeding = {topic for name in telling(["tiering"]) for topic in contracts.table(name).topics}
    by_offset = [name for name in sorted(feeding) if contracts.topic(name).cleanup == "delete"]
    by_key = [
        n for n in sorted(feeding) if contracts.topic(n).cleanup == "compact" and contracts.topic(n).key == "token"
    ]
    return by_offset, by_key


def forget_offsets(settings: Settings, wait_s: float, tell: Callable[[str], None]) -> dict[str, int]:
    """Delete every record that all readers have passed from the topics that are read once; records deleted by topic.

    Everybody's: the lake has them. Raises ErasureFailed when a reader does not come past in time.
    """
    topics, _ = topics_of_people()
    sources = CommittedLog(settings.bootstrap, topics).sources()
    deadline = time.monotonic() + wait_s
    with kafka_erasure.hasty(settings.bootstrap, topics):
        low = {source: CommittedLog(settings.bootstrap, [source.topic]).bounds(source)[0] for source in sources}
        ends = kafka_erasure.roll(settings.bootstrap, sources)  # what lies before has to be passed, and goes
        while late := _not_passed(settings, ends):
            tell(f"{len(late)} partitions wait for their readers …")
            if time.monotonic() > deadline:
                raise ErasureFailed(f"after {wait_s:.0f} s readers have not passed {', '.join(map(str, late))}")
            time.sleep(1)
        kafka_erasure.delete_before(settings.bootstrap, ends)
        while settings.own_kafka and (left := kafka_erasure.segments_before(kafka.data_folder(settings), ends)):
            tell(f"{len(left)} segments wait for the broker …")
            if time.monotonic() > deadline:
                raise ErasureFailed(f"after {wait_s:.0f} s the broker still has {left[0]} and {len(left) - 1} more")
            time.sleep(0.5)
    deleted: dict[str, int] = {}
    for source, end in ends.items():
        deleted[source.topic] = deleted.get(source.topic, 0) + end - low[source]
    return deleted


def _not_passed(settings: Settings, ends: Mapping[Source, int]) -> list[Source]:
    """Partitions that a reader still has to read: the tables, the cleaning job, the serving writer."""
    raw = {name for name, topic in contracts.topics().items() if topic.format == "raw"}
    job = progress.committed(settings.bootstrap, CLEANING_GROUP, [s.place for s in ends if s.topic in raw])
    late = set()
    for name in telling(["tiering"]):
        fed = [source for source in ends if source.topic in contracts.table(name).topics]
        if not fed:
            continue
        table = DeltaTable(str(settings.table_path(name)))
        late |= {s for s in fed if (table.transaction_version(s.application) or 0) < ends[s]}
    for source, end in ends.items():
        if source.topic in raw and source not in late:
            position = job.get(str(source), 0)
            if not kafka_erasure.sees_nothing_before(settings.bootstrap, source, position, end):
                late.add(source)
    return sorted(late | _not_served(settings, ends))


def _not_served(settings: Settings, ends: Mapping[Source, int]) -> set[Source]:
    from jobs.services.serving_writer import open_store
    from pipelines.contracts import policy

    fed = [source for source in ends if source.topic in contracts.table(SERVED).topics]
    store = open_store(settings, policy("serving") | {"load_data": "never"})
    known = store.positions([source.application for source in fed])
    return {source for source in fed if known.get(source.application, 0) < ends[source]}


def forget_keys(settings: Settings, topic: str, keys: Iterable[str], wait_s: float) -> tuple[int, int]:
    """Tombstone and compact until the log holds nothing of these keys; records left with and without a value."""
    keys, deadline = sorted(keys), time.monotonic() + wait_s
    if not keys:
        return 0, 0
    with kafka_erasure.hasty(settings.bootstrap, [topic], compact=True):
        kafka_erasure.remove_keys(settings.bootstrap, topic, keys)
        sources = CommittedLog(settings.bootstrap, [topic]).sources()
        while True:
            kafka_erasure.roll(settings.bootstrap, sources)
            time.sleep(2.5)  # the cleaner looks every 2 s
            left = kafka_erasure.records_of(settings.bootstrap, topic, keys)
            if left == (0, 0) or (left[0] == 0 and time.monotonic() > deadline):
                return left
            if time.monotonic() > deadline:
                raise ErasureFailed(f"after {wait_s:.0f} s topic {topic} still holds {left[0]} records of the person")
