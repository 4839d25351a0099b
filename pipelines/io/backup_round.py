"""One round of the shipper: everything new into the backup folder, sealed as one state that a restore can go to.

What is made of other tables goes before what it was made of, and the raw messages go last: so a message that stands
in an output of the round stands in the round's bronze or tail as well, and its tokens in the vault's table or tail.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from deltalake import DeltaTable
from sqlalchemy.exc import DBAPIError

from infra.stack.files import write_atomic
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.backup import store
from pipelines.backup.manifest import FILE, locked
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.places import FOLDER, backup_folder
from pipelines.backup.recovery_key import RecoveryKeyError
from pipelines.backup.retention import Keep, thinned
from pipelines.backup.sealed_files import seal_bytes
from pipelines.io import backup_identity, backup_topics, lake_tables
from pipelines.io.backup_home_files import ship_home_files
from pipelines.io.backup_keys import ship_keys
from pipelines.io.backup_lake import Shipped, ship_table
from pipelines.io.backup_topics import VAULT_TAIL, TopicTail
from pipelines.io.committed_log import LogRefused, Source, TopicChanged
from pipelines.io.compacted_tail import TailError
from pipelines.io.mariadb import connect
from pipelines.privacy.keys import MasterKey
from pipelines.tables.data_balance import BRONZE

log = logging.getLogger(__name__)

IDENTITY, AIRFLOW, CERTIFICATE = "identity", "airflow", "certificate"
VAULT = "identity.vault"
_ORDER = {"gold": 0, "bronze": 2}


@dataclass(frozen=True)
class Told:
    """What a round did. began_at: all acknowledged before it is in the backup (epoch seconds), unless `behind`.

    troubles: what could not be shipped. warning: why nobody could open what was.
    """

    round: int
    began_at: float
    took_s: float
    files: int
    bytes: int
    tail_records: int
    behind: bool
    troubles: list[str]
    warning: str


class AnothersBackup(RuntimeError):
    """The folder holds the backup of another home; the message says what to do."""


def home_id(settings: Settings) -> str:
    """Names this home, and no restored copy of it: a backup goes on only with the home it was begun with."""
    path = settings.home / "home_id"
    if not path.exists():
        write_atomic(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8").strip()


def require_ours(folder: Path, facts: Mapping[str, Any], home: str) -> None:
    """Nothing where a backup is this home's, or nobody's yet. Raises AnothersBackup."""
    if facts.get("home", home) != home:
        raise AnothersBackup(
            f"{folder} is the backup of another home (or of this one before a restore), and stays as it "
            f"is: name another folder by {FOLDER}"
        )


class Shipper:
    """Rounds of one home; keeps its place in the raw topics from one to the next."""

    def __init__(self, settings: Settings, policy: Mapping[str, Any], key: MasterKey):
        self._settings, self._policy, self._key = settings, policy, key
        self.folder = backup_folder(settings)
        self._tail = TopicTail(settings.bootstrap, contracts.table(BRONZE).topics, key)
        self._vault = TopicTail(settings.bootstrap, contracts.table(VAULT).topics, key, VAULT_TAIL)
        self._identity_seen, self._identity_rests_until, self._airflow_seen = "", 0.0, 0.0
        self._writer: Writer | None = None
        self._home, self._shipped = home_id(settings), {}

    def round(self) -> Told:
        """Ship what is new. Raises what Kafka, Delta and the disk raise; nothing then counts, and the next goes on."""
        with locked(self.folder):
            try:
                return self._round()
            except BaseException:
                self._begin_again()
                raise

    def _begin_again(self) -> None:
        """What was noted went with the writer, or the manifest is another: nothing that was seen before counts."""
        self._writer = None
        self._tail.forget()
        self._vault.forget()
        self._identity_seen, self._identity_rests_until, self._airflow_seen = "", 0.0, 0.0

    def _round(self) -> Told:
        began_at, began = time.time(), time.monotonic()
        writer, troubles, warned = self._opened(), [], ""
        number = writer.state.rounds + 1
        self._key.refresh()
        try:
            ship_keys(self._settings)
        except RecoveryKeyError as error:
            warned = str(error)
        shipped = Shipped()
        troubles += self._identity(writer, number)
        self._airflow(writer, number)
        self._certificates(writer)
        ship_home_files(writer, self._settings.home, number)  # before the raw tail: what it says was sent is in that
        for topic in self._policy["compacted_topics"]:
            try:
                backup_topics.ship_compacted(writer, self._settings.bootstrap, topic, self._key, number)
            except (TailError, KafkaException) as error:
                troubles.append(f"topic {topic}: {error}")
        there = lake_tables.present(self._settings.lake)
        for name in sorted(there, key=lambda name: (_ORDER.get(name.partition(".")[0], 1), name)):
            try:
                ship_table(writer, name, there[name], shipped)
            except FileNotFoundError as error:
                troubles.append(f"{name}: {error.filename} went meanwhile; the next round takes it")
        self._shipped = dict(writer.state.tables) | shipped.tables
        # After the rows: of a token that stands in one of them the value is in the vault's table or in its tail.
        self._tail_of(self._vault, VAULT, writer, number, troubles)
        tail = self._tail_of(self._tail, BRONZE, writer, number, troubles)
        behind = not (self._tail.at_end and self._vault.at_end)
        # Everything acknowledged before that is in the backup; a round that did not come to the log's end adds nothing.
        covers_until = writer.state.facts.get("covers_until", 0.0) if behind else began_at
        facts = {"began_at": began_at, "covers_until": covers_until, "newest_ms": tail.newest_ms, "home": self._home}
        state = writer.seal(at=time.time(), tables=shipped.tables, ends=tail.ends, facts=facts)
        took = time.monotonic() - began
        return Told(state.rounds, began_at, took, shipped.files, shipped.bytes, tail.records, behind, troubles, warned)

    def _opened(self) -> Writer:
        """The writer as it was left, or anew where another command wrote in between."""
        if self._writer is None or self._writer.is_stale():
            self._begin_again()
            writer = Writer.open(self.folder)
            require_ours(self.folder, writer.state.facts, self._home)
            self._writer = writer
        return self._writer

    def _tail_of(
        self, of: TopicTail, table: str, writer: Writer, number: int, troubles: list[str]
    ) -> backup_topics.Tail:
        """What the topics of a table hold beyond it; one that cannot be read is told, and keeps no other back."""
        try:
            covered = partial(self._covered, table)
            return of.ship(writer, covered, wait_s=self._policy["tail_wait_s"], round_=number)
        except (KafkaException, LogRefused, TopicChanged) as error:
            of.forget()
            troubles.append(f"topics of {table}: {error}")
            return backup_topics.Tail({}, 0, 0)

    def _covered(self, name: str, sources: list[Source]) -> dict[Source, int]:
        """Next offset of each source that a table as shipped by now holds, whatever was committed since."""
        if name not in self._shipped:
            return dict.fromkeys(sources, 0)
        table = DeltaTable(self._settings.table_path(name), version=self._shipped[name])
        return {source: table.transaction_version(source.application) or 0 for source in sources}

    def _identity(self, writer: Writer, number: int) -> list[str]:
        if time.monotonic() < self._identity_rests_until:
            return []
        began = time.monotonic()
        try:
            engine = connect(self._settings.database_url)
            try:
                if (seen := backup_identity.changed_at(engine)) == self._identity_seen:
                    return []
                content = backup_identity.dump(engine)
            finally:
                engine.dispose()
        except (DBAPIError, FileNotFoundError) as error:
            return [f"identity state: {getattr(error, 'orig', error)}"]
        path = f"{IDENTITY}/{number:08}.sealed"
        old = list(writer.state.of(IDENTITY))
        writer.note({"kind": FILE, "what": IDENTITY, "at": time.time(),
                     **store.write_in(writer.folder, path, seal_bytes(content, self._key, path))})  # fmt: skip
        self._superseded(writer, old)
        self._identity_seen = seen
        rest_s = self._policy["identity_rest_factor"] * (time.monotonic() - began)
        self._identity_rests_until = time.monotonic() + rest_s
        return []

    def _airflow(self, writer: Writer, number: int) -> None:
        """Its metadata database, by SQLite's own online copy."""
        database = self._settings.home / "airflow" / "airflow.db"
        if not database.exists():
            return
        written = [p.stat().st_mtime for p in (database, database.with_name("airflow.db-wal")) if p.exists()]
        if max(written) == self._airflow_seen:
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            copy = Path(scratch) / "airflow.db"
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as source, sqlite3.connect(copy) as target:
                source.backup(target)
            path = f"{AIRFLOW}/{number:08}.db"
            old = list(writer.state.of(AIRFLOW))
            writer.note({"kind": FILE, "what": AIRFLOW, "at": time.time(), **store.copy_in(copy, writer.folder, path)})
        self._superseded(writer, old)
        self._airflow_seen = max(written)

    def _certificates(self, writer: Writer) -> None:
        """Of erasures; one that is under way names tokens in a file of another name, which stays at home."""
        for file in sorted((self._settings.home / "erasures").glob("e_*.json")):
            path = f"erasures/{file.name}"
            if not file.name.endswith(".open.json") and path not in writer.state.files:
                made = store.copy_in(file, writer.folder, path)
                writer.note({"kind": FILE, "what": CERTIFICATE, "at": time.time(), **made})

    def _superseded(self, writer: Writer, paths: list[str]) -> None:
        """Whole copies that newer ones replace: the newest few stay, and one an hour until retention takes it."""
        copies = [(path, writer.state.files[path]["at"]) for path in paths]
        writer.discard(thinned(copies, Keep(0.0, ()), newest=self._policy["keep"]["whole_copies"]))
