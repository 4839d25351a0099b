"""What an erasure does in the backup; `jobs.ops.erase` says when: after every store, so that what is shipped is erased.

In the backup the tables forget their history as they do in the lake: what is left of each is its newest version. A
restore to a time before takes that version and cuts it where the backup ended at that time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow.dataset as pads

from infra.stack.settings import Settings
from jobs.ops import erasure_archive
from jobs.ops.erasure_stores import QUOTING, telling
from pipelines import contracts
from pipelines.backup import manifest, places, store
from pipelines.backup.manifest import State, locked
from pipelines.backup.manifest_writer import Writer
from pipelines.backup.sealed_files import open_bytes
from pipelines.io import backup_identity, backup_lake, backup_topics
from pipelines.io.backup_home_files import HOME_FILE, forget_older
from pipelines.io.backup_round import IDENTITY, Shipper
from pipelines.io.store_archive import SUFFIX
from pipelines.privacy.bronze_cipher import open_bronze
from pipelines.privacy.erasure import Line, Person, columns_that_tell, concerned
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import coordinates

LAKE, TAIL, STATE = "backup: files of the lake", "backup: raw tail", "backup: identity state"
FILES, TOPICS, VAULT = "backup: archived files of stores", "backup: small topics", "backup: tail of the vault"
_BATCH_ROWS = 20_000


def count(settings: Settings, who: Person) -> dict[str, int]:
    """The person's rows by part of the backup, in every version that it holds; empty where no backup was begun.

    Raises store.BackupDamaged for files that cannot be looked into.
    """
    folder = places.backup_folder(settings)
    if not manifest.generations(folder):
        return {}
    key = MasterKey.load(settings)
    with locked(folder):  # tails and dumps live for a few rounds: while they are read no round takes them away
        state = manifest.read(folder)
        tails = sum(_of_tail(folder, path, line, key, who) for path, line in state.of(backup_topics.TAIL).items())
        vault = sum(_of_copy(folder, path, line, key, who) for path, line in state.of(backup_topics.VAULT_TAIL).items())
        topics = sum(_of_copy(folder, path, line, key, who) for path, line in state.of(backup_topics.TOPIC).items())
        dumps = sum(_of_dump(folder, path, line, key, who) for path, line in state.of(IDENTITY).items())
    return {
        LAKE: sum(_of_file(folder, line, who) for line in state.of(backup_lake.DATA).values()),
        TAIL: tails,
        VAULT: vault,
        FILES: _of_archive(folder, state, who, key),
        TOPICS: topics,
        STATE: dumps,
    }


def _of_file(folder: Path, line: dict, who: Person) -> int:
    columns = telling().get(line["table"], [])
    if not columns:
        return 0
    if not (folder / line["path"]).exists():
        if _goes(line):
            return 0
        raise store.BackupDamaged(f"{line['path']}: missing, so nobody can say whether it holds the person")
    rows = pads.dataset(str(folder / line["path"]), format="parquet")
    present = [name for name in columns if name in rows.schema.names]
    batches: Iterable = rows.to_batches(columns=present, batch_size=_BATCH_ROWS) if present else ()
    return sum(int(concerned(pl.from_arrow(batch), who).sum()) for batch in batches)


def _of_tail(folder: Path, path: str, line: dict, key: MasterKey, who: Person) -> int:
    topic, _, partition = line["place"].rpartition("/")
    records = backup_topics.opened(store.read_out(folder, line), key, path)
    return sum(coordinates(topic, int(partition), record.offset) in who.messages for record in records)


def _of_archive(folder: Path, state: State, who: Person, key: MasterKey) -> int:
    holds = erasure_archive.search(who, key)
    archived = [line for line in state.of(HOME_FILE).values() if line["home_path"].endswith(SUFFIX)]
    found = 0
    for line in archived:
        try:
            found += holds(open_bronze(store.read_out(folder, line), key, 0, 0))
        except store.BackupDamaged:
            if not _goes(line):
                raise
    return found


def _goes(line: dict) -> bool:
    """True for a file that no table and no home holds any more: the erasure deletes it, whatever is left of it."""
    return line.get("unused_since") is not None


def _of_copy(folder: Path, path: str, line: dict, key: MasterKey, who: Person) -> int:
    """Records that hold a token, customer or message of the person, as the command of an erasure does."""
    named = [one.encode() for one in (*who.tokens, *who.customer_ids, *who.messages)]
    records = backup_topics.opened(store.read_out(folder, line), key, path)
    return sum(any(one in (record.value or b"") + (record.key or b"") for one in named) for record in records)


def _of_dump(folder: Path, path: str, line: dict, key: MasterKey, who: Person) -> int:
    parts = backup_identity.unpack(open_bytes(store.read_out(folder, line), key, path))
    frames = [frame.select(columns_that_tell(frame.columns)) for frame in parts.values() if frame.height]
    return sum(int(concerned(frame, who).sum()) for frame in frames if frame.columns)


def forget(settings: Settings) -> int:
    """Ship what the stores hold by now, then delete what only older versions show; files deleted from the backup."""
    folder = places.backup_folder(settings)
    if not manifest.generations(folder):
        return 0
    told = Shipper(settings, contracts.policy("backup"), MasterKey.load(settings)).round()
    if told.troubles:
        raise store.BackupDamaged(f"the backup could not be brought up to date: {'; '.join(told.troubles)}")
    with locked(folder):
        writer = Writer.open(folder)
        state = writer.state
        gone = sum(
            backup_lake.forget_history(writer, name, state.tables[name])
            for name in sorted({*telling(), *QUOTING} & state.tables.keys())
        )
        gone += _superseded(writer, state)
        writer.seal(at=state.at, tables={}, ends={}, facts=state.facts)
        gone += backup_lake.sweep(writer)
    return gone


def _superseded(writer: Writer, state: State) -> int:
    """Whole copies but the newest of each."""
    dumps = sorted(state.of(IDENTITY), key=lambda path: state.files[path]["at"])[:-1]
    newest = {line["path"] for line in backup_topics.newest_copies(state).values()}
    older = [path for path in state.of(backup_topics.TOPIC) if path not in newest]
    writer.discard([*dumps, *older])
    return len(dumps) + len(older) + forget_older(writer)


def lines(before: dict[str, int], after: dict[str, int], files: int, folder: Path) -> list[Line]:
    """What the certificate says of the backup."""
    if not before:
        return [Line("backup", 0, 0, f"none was begun in {folder}")]
    note = f"{files:,} files deleted: tables keep their newest version"
    return [Line(name, rows, after[name], note if name == LAKE else "") for name, rows in before.items()]
