"""The lake out of a backup: tables as of a round, then everything that is not settled taken out of them.

``raw_records`` gives the bytes of what was taken out, and of what came after it, as far as the backup goes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.backup import cut, store
from pipelines.backup.manifest import State
from pipelines.backup.soundness import newest_sound
from pipelines.io import backup_lake, backup_topics
from pipelines.io.backup_topics import TAIL, Record
from pipelines.io.committed_log import CommittedLog
from pipelines.io.delta import Move
from pipelines.io.delta_upkeep import files_of
from pipelines.io.duckdb_lake import spilling
from pipelines.io.tiering_service import open_table
from pipelines.privacy.bronze_cipher import open_bronze
from pipelines.privacy.keys import MasterKey
from pipelines.tables.data_balance import BRONZE, ROLE_OF

COORDINATES = "raw_topic, raw_partition, raw_offset"
Tell = Callable[[str], None]


def bring_tables(settings: Settings, folder: Path, needed: Mapping[str, Sequence[dict]], tell: Tell) -> int:
    """Copy the tables into an empty lake, each file checked; bytes. Raises BackupDamaged naming all that differ."""
    wrong, total = [], 0
    for name, lines in needed.items():
        tell(f"{name}: {len(lines)} files …")
        for line in lines:
            try:
                store.copy_out(folder, line, settings.home / line["path"])
                total += line["bytes"]
            except store.BackupDamaged as error:
                wrong.append(str(error))
    if wrong:
        raise store.BackupDamaged("; ".join(wrong))
    return total


def cuts(settings: Settings, ends: Mapping[str, int]) -> dict[str, int]:
    """Where each raw partition begins again, by `pipelines.backup.cut.cuts` over the restored tables."""
    with spilling(settings.home / "scratch" / "restore") as connection:
        bronze = _relation(connection, settings, [BRONZE])
        return cut.cuts(connection, bronze, _relation(connection, settings, list(ROLE_OF)), ends)


def _relation(
    connection: duckdb.DuckDBPyConnection, settings: Settings, names: Sequence[str]
) -> duckdb.DuckDBPyRelation:
    files: list[str] = []
    for name in names:
        path = settings.table_path(name)
        if (path / "_delta_log").exists():
            files += [str(path / file.path) for file in files_of(DeltaTable(path))]
    empty = connection.sql("SELECT ''::VARCHAR raw_topic, 0 raw_partition, 0::BIGINT raw_offset WHERE false")
    if not files:
        return empty
    return connection.read_parquet(files, hive_partitioning=False, union_by_name=True).project(COORDINATES)


def take_out(settings: Settings, begin: Mapping[str, int]) -> dict[str, int]:
    """Remove every row at or beyond where its partition begins again; how many of each table."""
    removed = {}
    for name in (BRONZE, *ROLE_OF):
        path = settings.table_path(name)
        if begin and (path / "_delta_log").exists():
            told = DeltaTable(path).delete(cut.beyond(begin))
            removed[name] = int(told["num_deleted_rows"] or 0)
    return {name: rows for name, rows in removed.items() if rows}


def raw_records(
    folder: Path, key: MasterKey, begin: Mapping[str, int], ends: Mapping[str, int]
) -> dict[str, list[Record]]:
    """Every message from where its partition begins again up to the end, by partition, ascending.

    Out of the newest bronze of the backup and the tail files. Raises store.BackupDamaged.
    """
    newest = newest_sound(folder)
    found: dict[str, dict[int, Record]] = defaultdict(dict)
    if BRONZE in newest.tables:
        for place, record in _of_bronze(folder, newest, key, begin):
            if record.offset < ends[place]:
                found[place][record.offset] = record
    for path, line in newest.of(TAIL).items():
        place = line["place"]
        if place in begin and line["end"] > begin[place] and line["first"] < ends[place]:
            for record in backup_topics.opened(store.read_out(folder, line), key, path):
                if begin[place] <= record.offset < ends[place]:
                    found[place][record.offset] = record
    return {place: [by_offset[o] for o in sorted(by_offset)] for place, by_offset in found.items()}


def _of_bronze(folder: Path, newest: State, key: MasterKey, begin: Mapping[str, int]):
    base = folder / backup_lake.folder_of(BRONZE)
    table = DeltaTable(base, version=newest.tables[BRONZE])
    least = min(begin.values(), default=0)
    stats = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    # Of all topics together, so coarse; files of long ago hold small offsets only where every topic is busy.
    chosen = [f["path"] for f in stats if f.get("max.raw_offset") is None or f["max.raw_offset"] >= least]
    with duckdb.connect() as connection:
        hit = [path for path in chosen if _holds(connection, base / path, begin)]
        for path in hit:
            line = newest.files[f"{backup_lake.folder_of(BRONZE)}/{path}"]
            if (damage := store.check(folder, line)) is not None:
                raise store.BackupDamaged(str(damage))
            rows = connection.read_parquet(str(base / path), hive_partitioning=False).filter(cut.beyond(begin))
            columns = f"{COORDINATES}, epoch_ms(received_at), key_bytes, headers, payload_ciphertext"
            for topic, partition, offset, at_ms, its_key, headers, sealed in rows.project(columns).fetchall():
                value = None if sealed is None else open_bronze(bytes(sealed), key, partition, offset)
                told = None if headers is None else [(n, _bytes(v)) for n, v in json.loads(headers).items()]
                yield f"{topic}/{partition}", Record(offset, at_ms, its_key, told, value)


def _holds(connection: duckdb.DuckDBPyConnection, file: Path, begin: Mapping[str, int]) -> bool:
    try:
        rows = connection.read_parquet(str(file), hive_partitioning=False)
        return bool(begin) and rows.filter(cut.beyond(begin)).limit(1).fetchall() != []
    except duckdb.Error as error:
        raise store.BackupDamaged(f"{file}: cannot be read ({str(error).splitlines()[0]})") from error


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def begins(
    records: Mapping[str, Sequence[Record]], found: Mapping[str, int], ends: Mapping[str, int]
) -> dict[str, int]:
    """Where each log begins: at the first message there is from the cut on; where there is none, at the end.

    >>> begins({"raw.app/0": [Record(8, 0, None, None, b"")]}, {"raw.app/0": 6, "raw.sms/0": 3}, {"raw.app/0": 9,
    ...        "raw.sms/0": 5})  # 6 and 7 were erased; of raw.sms nothing is left from 3 on
    {'raw.app/0': 8, 'raw.sms/0': 5}
    """
    return {place: records[place][0].offset if records.get(place) else ends[place] for place in found}


def positions(settings: Settings, policy: dict, begin: Mapping[str, int]) -> None:
    """Bronze reads on where each raw partition begins: the new cluster's topics have IDs it knows nothing of."""
    table, reader = (
        open_table(settings, BRONZE, policy),
        CommittedLog(settings.bootstrap, contracts.table(BRONZE).topics),
    )
    moves = {s.application: Move(None, begin[str(s)]) for s in reader.sources() if str(s) in begin}
    table.append(table.schema.empty_table(), moves)
