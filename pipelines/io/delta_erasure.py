"""Takes rows out of a Delta table for good: out of its rows, its history, its log and its folder.

The rows go in one commit, fenced like every rearrangement, so that two writers never both rewrite a file. Then what
could still show them goes: files only older versions refer to, log entries (they carry the least and greatest value
of some columns, a customer ID among them), and leavings of killed writers. Whoever reads an older version meanwhile
is turned away.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from pipelines.io.delta import writer_properties
from pipelines.io.delta_upkeep import SCRATCH, RearrangeFailed, TableFile, files_of, moved_in, replace_files

log = logging.getLogger(__name__)

Mask = Callable[[pl.DataFrame], pl.Series]
_BATCH_ROWS = 5_000
# A file nobody refers to may be one that a second service is about to commit; after this long it is a leaving.
_LEAVING_S = 3600
_MOST_TRIES = 20


@dataclass(frozen=True)
class Erased:
    """Counts of rows and files. young_leavings: files nobody refers to that are younger than an hour, and kept."""

    rows_before: int
    rows_removed: int
    files_rewritten: int
    files_deleted: int
    log_entries_deleted: int
    young_leavings: int


def erase(path: Path, columns: list[str], mask: Mask) -> Erased:
    """Remove every row for which `mask` (given `columns`) is true, and all history. Done again it removes nothing more.

    Raises RearrangeFailed when counts do not fit (nothing was committed), or when others rewrote the table all the
    time.
    """
    for _ in range(_MOST_TRIES):
        table = DeltaTable(path)
        files = files_of(table)
        hit = {file: found for file in files if (found := _count(path, file, columns, mask))}
        if not hit or _rewritten(path, table, hit, columns, mask):
            break
    else:
        raise RearrangeFailed(f"{path}: another writer was first {_MOST_TRIES} times; stop it, or try again")
    deleted, entries, young = forget_history(path)
    before = sum(file.rows for file in files)
    return Erased(before, sum(hit.values()), len(hit), deleted, entries, young)


def count(path: Path, columns: list[str], mask: Mask) -> int:
    """Rows of the newest version for which `mask` is true."""
    if not (path / "_delta_log").exists() or not columns:
        return 0
    return sum(_count(path, file, columns, mask) for file in files_of(DeltaTable(path)))


def _count(path: Path, file: TableFile, columns: list[str], mask: Mask) -> int:
    present = set(pads.dataset(str(path / file.path), format="parquet").schema.names)
    batches = _batches(path, file, pads.dataset(str(path / file.path), format="parquet").schema)
    wanted = [name for name in columns if name in present]
    return sum(int(mask(pl.from_arrow(pa.table(batch.select(wanted)))).sum()) for batch in batches) if wanted else 0


def _batches(path: Path, file: TableFile, schema: pa.Schema):
    rows = pads.dataset([str(path / file.path)], schema=schema, format="parquet")
    return rows.scanner(batch_size=_BATCH_ROWS, use_threads=False, batch_readahead=1, fragment_readahead=1).to_batches()


def _rewritten(path: Path, table: DeltaTable, hit: dict[TableFile, int], columns: list[str], mask: Mask) -> bool:
    scratch = path / SCRATCH / uuid.uuid4().hex
    try:
        adds = []
        for number, (file, found) in enumerate(hit.items()):
            if found < file.rows:
                adds += _without(path, scratch / str(number), table, file, found, columns, mask)
        return replace_files(table, adds, list(hit), what="erase", changes=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _without(
    path: Path, scratch: Path, table: DeltaTable, file: TableFile, found: int, columns: list[str], mask: Mask
) -> list[AddAction]:
    """The file's other rows, in their order, written beside and moved in."""
    schema, metadata = pa.schema(table.schema().to_arrow()), table.metadata()
    inner = pa.schema([f for f in schema if f.name not in metadata.partition_columns])
    wanted = [name for name in columns if name in inner.names]

    def others():
        for batch in _batches(path, file, inner):
            keep = ~mask(pl.from_arrow(pa.table(batch.select(wanted))))
            yield batch.filter(pa.array(keep.to_list(), pa.bool_()))

    write_deltalake(
        scratch,
        pa.RecordBatchReader.from_batches(inner, others()),
        mode="error",
        writer_properties=writer_properties(schema),
        configuration={k: v for k, v in metadata.configuration.items() if k == "delta.dataSkippingStatsColumns"},
    )
    logged = (scratch / "_delta_log" / f"{0:020}.json").read_text(encoding="utf-8").splitlines()
    adds = [action["add"] for action in map(json.loads, logged) if "add" in action]
    written = sum(json.loads(add["stats"])["numRecords"] for add in adds)
    if written != file.rows - found:
        raise RearrangeFailed(
            f"{path}: {file.path} holds {file.rows} rows, {found} of them to be erased, and {written} were written "
            "anew; nothing was changed"
        )
    return [moved_in(path, scratch, add, file, changes=True) for add in adds]


def forget_history(path: Path) -> tuple[int, int, int]:
    """Everything but the newest version: files deleted, log entries deleted, and young files nobody refers to, kept."""
    table = DeltaTable(path)
    deleted = len(table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=False))
    table = DeltaTable(path)
    table.create_checkpoint()
    entries = _drop_log_before(path / "_delta_log", table.version())
    used = {file.path for file in files_of(table)}
    young = 0
    for file in path.rglob("*.parquet"):
        place = file.relative_to(path)
        if place.parts[0] in ("_delta_log", SCRATCH) or str(place) in used:
            continue
        if time.time() - file.stat().st_mtime < _LEAVING_S:
            young += 1
            continue
        file.unlink(missing_ok=True)
        deleted += 1
    return deleted, entries, young


def _drop_log_before(folder: Path, version: int) -> int:
    """The checkpoint of `version` stands for all before it; newest first, so a reader finds no gap to start from."""
    old = [
        file
        for file in folder.iterdir()
        if (number := file.name.partition(".")[0]).isdigit() and int(number) < version
    ]  # fmt: skip
    for file in sorted(old):
        file.unlink(missing_ok=True)
    return len(old)
