"""Keeps a Delta table quick to read: small files into bigger ones, log checkpoints, removal of what nobody refers to.

Nothing here changes a row. delta-rs 1.6.6 lets two compactions of the same files both commit, and every row is there
twice afterwards (DECISIONS.md tells the experiment); its ``optimize`` takes no application transaction either. So the
files are merged here and committed with an application ID of their own: of two such commits planned on one snapshot
delta-rs refuses the second. Appends run on beside it.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.io.delta import SKIPPING, writer_properties
from pipelines.io.pace import paced

log = logging.getLogger(__name__)

REARRANGE = "kefulake/rearrange"
SCRATCH = "_rearrange"  # readers and vacuum pass over folders that begin with an underscore
_SCRATCH_LIFETIME_S = 3600
_BATCH_ROWS = 5_000


class RearrangeFailed(Exception):
    """The merged files do not hold what the small ones held; nothing was committed. The message has the counts."""


@dataclass(frozen=True)
class Upkeep:
    """How a table is kept; see ``schemas/policies/tiering.yaml``."""

    compact_at_files: int
    small_file_bytes: int
    round_bytes: int
    rest_factor: float
    checkpoint_every_commits: int
    vacuum_retention_hours: int

    def __post_init__(self):
        if self.vacuum_retention_hours < 1:
            raise ValueError(
                "vacuum_retention_hours must be at least 1: a second service may be writing a file right now"
            )

    @classmethod
    def of(cls, policy: Mapping[str, Any]) -> Upkeep:
        """From the ``upkeep`` section of the policy."""
        return cls(**{name: policy[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class TableFile:
    """A file of a table; `partition` as in its log: column and value as text."""

    path: str
    size: int
    rows: int
    written_ms: int
    partition: tuple[tuple[str, str | None], ...]


def compact(path: Path, keep: Upkeep) -> int:
    """One round: the partition with most small files, oldest files first, at most `round_bytes`. Files merged, or 0.

    Losing against another rearrangement is no error: 0, and the next round sees the new files.
    Raises RearrangeFailed when the merged rows are not as many as those read.
    """
    table = DeltaTable(path)
    chosen = _choose(files_of(table), keep)
    if not chosen:
        return 0
    scratch = path / SCRATCH / uuid.uuid4().hex
    try:
        adds = _merge(path, scratch, chosen, table, keep.rest_factor)
        return len(chosen) if replace_files(table, adds, chosen) else 0
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def files_of(table: DeltaTable) -> list[TableFile]:
    """The files of the snapshot."""
    actions = pa.table(table.get_add_actions(flatten=True))
    partition_columns = table.metadata().partition_columns
    raw = {c: actions.column(f"partition.{c}").cast(pa.string()).to_pylist() for c in partition_columns}
    partitions = zip(*raw.values(), strict=True) if raw else [()] * actions.num_rows
    columns = [actions.column(c).to_pylist() for c in ("path", "size_bytes", "num_records")]
    written = actions.column("modification_time").cast(pa.int64()).to_pylist()
    return [
        TableFile(p, size, rows, ms, tuple(zip(partition_columns, values, strict=True)))
        for p, size, rows, ms, values in zip(*columns, written, partitions, strict=True)
    ]


def _choose(files: list[TableFile], keep: Upkeep) -> list[TableFile]:
    small: dict[tuple, list[TableFile]] = defaultdict(list)
    for file in files:
        if file.size < keep.small_file_bytes and file.rows is not None:
            small[file.partition].append(file)
    fullest = max(small.values(), key=len, default=[])
    if len(fullest) < keep.compact_at_files:
        return []
    chosen, size = [], 0
    for file in sorted(fullest, key=lambda f: f.written_ms):
        if chosen and size + file.size > keep.round_bytes:
            break
        chosen.append(file)
        size += file.size
    return chosen if len(chosen) > 1 else []


def _merge(
    path: Path, scratch: Path, chosen: list[TableFile], table: DeltaTable, rest_factor: float
) -> list[AddAction]:
    """Write the rows of `chosen` beside the table by delta-rs (its statistics come with it), then move them in."""
    # The table's own schema, not today's contract: a contract that lost a column must not take its data with it.
    schema, metadata = pa.schema(table.schema().to_arrow()), table.metadata()
    inner = pa.schema([f for f in schema if f.name not in metadata.partition_columns])
    rows = pads.dataset([str(path / file.path) for file in chosen], schema=inner, format="parquet")
    batches = rows.scanner(batch_size=_BATCH_ROWS, use_threads=False, batch_readahead=1, fragment_readahead=1)
    write_deltalake(
        scratch,
        pa.RecordBatchReader.from_batches(inner, paced(batches.to_batches(), rest_factor)),
        mode="error",
        writer_properties=writer_properties(schema),
        configuration={k: v for k, v in metadata.configuration.items() if k == SKIPPING},
    )
    logged = (scratch / "_delta_log" / f"{0:020}.json").read_text(encoding="utf-8").splitlines()
    adds = [action["add"] for action in map(json.loads, logged) if "add" in action]
    found, expected = sum(json.loads(a["stats"])["numRecords"] for a in adds), sum(f.rows for f in chosen)
    if found != expected:
        raise RearrangeFailed(f"{path}: {len(chosen)} files hold {expected} rows, merged {found}; nothing was changed")
    return [moved_in(path, scratch, add, chosen[0]) for add in adds]


def moved_in(path: Path, scratch: Path, add: dict[str, Any], like: TableFile, *, changes: bool = False) -> AddAction:
    """The file of a scratch table, moved beside `like` into the table's folder, as the action that adds it."""
    target = Path(like.path).parent / add["path"]
    (scratch / add["path"]).rename(path / target)
    return AddAction(str(target), add["size"], dict(like.partition), add["modificationTime"], changes, add["stats"])


def replace_files(
    table: DeltaTable,
    adds: list[AddAction],
    chosen: list[TableFile],
    *,
    what: str = "rearrange",
    changes: bool = False,
    notes: Mapping[str, str] | None = None,
) -> bool:
    """Commit `adds` for `chosen`, fenced: False when another rearrangement came in between; then nothing happened.

    `changes` says that rows differ (an erasure, retention); a mere rearrangement is passed over by who follows the
    table. `notes` go into the commit beside `what`.
    """
    now_ms = int(time.time() * 1000)
    removes = [RemoveAction(f.path, changes, now_ms, f.size, dict(f.partition)) for f in chosen]
    fence = Transaction(REARRANGE, (table.transaction_version(REARRANGE) or 0) + 1)
    try:
        table.create_write_transaction(
            [*adds, *removes],
            "append",
            table.schema(),
            table.metadata().partition_columns,
            commit_properties=CommitProperties(
                app_transactions=[fence], custom_metadata={"kefulake": what, **(notes or {})}
            ),
            post_commithook_properties=PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False),
        )
    except CommitFailedError as error:
        log.info("%s: another rearrangement was first (%s); looking again later", table.table_uri, error)
        return False
    return True


def checkpoint(path: Path, keep: Upkeep) -> bool:
    """Write a log checkpoint when enough commits came since the last, and drop log files past their retention."""
    table = DeltaTable(path)
    pointer = path / "_delta_log" / "_last_checkpoint"
    last = json.loads(pointer.read_text(encoding="utf-8"))["version"] if pointer.exists() else 0
    if table.version() - last < keep.checkpoint_every_commits:
        return False
    table.create_checkpoint()
    table.cleanup_metadata()
    return True


def vacuum(path: Path, keep: Upkeep) -> int:
    """Delete files no version within the retention refers to, and leavings of killed writers. Gives how many."""
    for scratch in (path / SCRATCH).glob("*"):
        if time.time() - scratch.stat().st_mtime > _SCRATCH_LIFETIME_S:
            shutil.rmtree(scratch, ignore_errors=True)
    table, told = DeltaTable(path), {"enforce_retention_duration": False, "full": True}
    # Asked first: for as long as the log remembers that files were removed, delta-rs lists them although they are long
    # deleted, and writes two commits (begin and end) each time.
    listed = table.vacuum(keep.vacuum_retention_hours, dry_run=True, **told)
    there = sum((path / name).exists() or (path / unquote(name)).exists() for name in listed)
    if there:
        table.vacuum(keep.vacuum_retention_hours, dry_run=False, **told)
    return there
