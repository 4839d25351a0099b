"""What an erasure does in each store; `jobs.ops.erase` says in which order."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable

import orjson
import polars as pl
from deltalake import DeltaTable

from infra.stack import mariadb
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import delta_erasure, mariadb_erasure
from pipelines.io.compacted_tail import CompactedTail
from pipelines.io.erasure_errands import COMMANDS, RESULTS, Command, erase_rows
from pipelines.io.lake_tables import arrow_files
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish
from pipelines.privacy.erasure import Person, columns_that_tell, concerned, speaks_of
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import PayloadError, coordinates, open_payload
from pipelines.privacy.quotations import quotes
from pipelines.privacy.tokens import Tokeniser

CLEANING_GROUP = "kefulake-clean"
SEALED = ("quarantine.rejects", "review.queue")
SERVED = "silver.interactions"
QUOTING = ("gold.hot_questions",)


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
            rows[name] = pl.from_arrow(table.to_pyarrow_table(columns=present, filesystem=arrow_files(path)))
    return rows


def messages_by_bytes(settings: Settings, key: MasterKey, who: Person, values: Iterable[str]) -> set[str]:
    """Rejected and doubtful messages that hold a value of the person: nothing else says whose they are."""
    tokeniser, values, found = Tokeniser(key), list(values), set()
    for name in SEALED:
        path = settings.table_path(name)
        if not (path / "_delta_log").exists():
            continue
        columns = ["raw_topic", "raw_partition", "raw_offset", "payload_encrypted"]
        rows = DeltaTable(str(path)).to_pyarrow_dataset(filesystem=arrow_files(path))
        for batch in rows.to_batches(columns=columns, batch_size=5_000):
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


def said_by(settings: Settings, who: Person) -> list[str]:
    """What the person wrote, of all kept messages."""
    said = []
    for name in (SERVED, "silver.feedback"):
        path = settings.table_path(name)
        if (path / "_delta_log").exists():
            columns = [*telling()[name], "text"]
            rows = pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table(columns=columns, filesystem=arrow_files(path)))
            said += rows.filter(concerned(rows, who))["text"].drop_nulls().to_list()
    return said


def erase_phrases(settings: Settings, said: list[str]) -> int:
    """Rows of figures that quote the person; how many went. The next build makes them anew of what others said."""
    gone, least = 0, contracts.policy("erasure")["quote_min_letters"]

    def quoting(rows: pl.DataFrame) -> pl.Series:
        return quotes(rows["question"], said, min_letters=least)

    for name in QUOTING:
        path = settings.table_path(name)
        if (path / "_delta_log").exists():
            gone += delta_erasure.erase(path, ["question"], quoting).rows_removed
    return gone


def erase_built_tables(settings: Settings, who: Person) -> None:
    """Tables that a build of ours writes (gold, replay notes): fenced the same way, by who erases.

    What builds staged goes too, whosever it is: no build is at work meanwhile (`gold_lock`).
    """
    shutil.rmtree(settings.home / "staging", ignore_errors=True)
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
    mariadb_erasure.delete_rows(engine, tables, who)
    if not settings.own_mariadb:
        return "rows deleted; on a server of your own its administrator takes them out of its files and backups"
    mariadb_erasure.scrub(connect(mariadb.root_url(settings)), sorted(tables))
    return ""
