"""The files of a migrated table in the order of customers: ten years of one phone number lie in one file, not in all.

A chunk's files each hold every customer. Once a copy is whole its rows are written again in the order of the phone's
token, and the log's statistics then tell a look-up which file to open. No row changes; the commit is fenced as every
rearrangement is (`pipelines.io.delta_upkeep`), so the tiering service's own merging and this one cannot both happen.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from pipelines.io.delta import SKIPPING, writer_properties
from pipelines.io.delta_upkeep import SCRATCH, RearrangeFailed, TableFile, files_of, moved_in, replace_files
from pipelines.io.duckdb_lake import spilling
from pipelines.migration.second_path import literal

ORDER = ("phone_token", "customer_id", "occurred_at")
ROW_GROUP_ROWS = 16_384
#: Some 45 MB: above the tiering service's `small_file_bytes`, so that it leaves them as they are.
FILE_ROWS = 900_000
_TRIES = 5


def arrange(path: Path, topic: str, scratch: Path, *, memory_mb: int) -> int:
    """Bring the files that hold only rows of ``topic`` into order, a partition at a time; files that were merged.

    DuckDB sorts and spills into ``scratch``. Raises RearrangeFailed when the rows would not be the same in number, or
    others rearranged the table again and again.
    """
    if not (path / "_delta_log").exists():
        return 0
    ensure_statistics(path)
    merged = 0
    for partition in sorted(_waiting(path, topic)):
        for _ in range(_TRIES):
            table = DeltaTable(str(path))
            chosen = _waiting(path, topic).get(partition, [])
            done = not chosen or _rewritten(path, table, chosen, scratch, memory_mb)
            if done:
                merged += len(chosen)
                break
        else:
            raise RearrangeFailed(f"{path}: others rearranged the table {_TRIES} times meanwhile; try again")
    return merged


def _waiting(path: Path, topic: str) -> dict[tuple, list[TableFile]]:
    """By partition the files of this topic alone, unless each of them has its own range of tokens already."""
    table = DeltaTable(str(path))
    actions = pa.table(table.get_add_actions(flatten=True))
    told = dict(zip(actions["path"].to_pylist(), _bounds(actions), strict=True))
    found: dict[tuple, list[TableFile]] = defaultdict(list)
    for file in files_of(table):
        if told[file.path][:2] == (topic, topic):
            found[file.partition].append(file)
    return {partition: files for partition, files in found.items() if not _apart([told[f.path][2:] for f in files])}


def _bounds(actions: pa.Table) -> list[tuple]:
    nothing = [None] * actions.num_rows
    names = [f"{bound}.{column}" for column in ("raw_topic", "phone_token") for bound in ("min", "max")]
    return list(zip(*(actions[n].to_pylist() if n in actions.column_names else nothing for n in names), strict=True))


def _apart(ranges: Sequence[tuple[str | None, str | None]]) -> bool:
    """True where no two files hold the same stretch of tokens.

    >>> _apart([("a", "c"), ("d", "f")]), _apart([("a", "e"), ("b", "f")]), _apart([(None, None)])
    (True, False, False)
    """
    if any(least is None for least, _ in ranges):
        return False
    ordered = sorted(ranges)
    return all(before[1] <= after[0] for before, after in pairwise(ordered))


def ensure_statistics(path: Path) -> None:
    """A table made before look-ups by phone keeps statistics of that column from now on."""
    table = DeltaTable(str(path))
    kept = table.metadata().configuration.get(SKIPPING, "")
    if kept and "phone_token" not in kept.split(","):
        table.alter.set_table_properties({SKIPPING: f"{kept},phone_token"})


def _rewritten(path: Path, table: DeltaTable, chosen: list[TableFile], scratch: Path, memory_mb: int) -> bool:
    aside = path / SCRATCH / uuid.uuid4().hex
    try:
        adds = _sorted_files(path, aside, table, chosen, scratch, memory_mb)
        return replace_files(table, adds, chosen, what="arrange history")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sorted_files(
    path: Path, aside: Path, table: DeltaTable, chosen: list[TableFile], scratch: Path, memory_mb: int
) -> list[AddAction]:
    schema, metadata = pa.schema(table.schema().to_arrow()), table.metadata()
    inner = pa.schema([f for f in schema if f.name not in metadata.partition_columns])
    listed = ", ".join(literal(str(path / file.path)) for file in chosen)
    columns, order = ", ".join(f'"{name}"' for name in inner.names), ", ".join(f"{n} NULLS LAST" for n in ORDER)
    statistics = {k: v for k, v in metadata.configuration.items() if k == SKIPPING}
    blooms = {"customer_id": ROW_GROUP_ROWS // 4}
    layout = writer_properties(schema, row_group_rows=ROW_GROUP_ROWS, bloom_filters=blooms)
    with spilling(scratch, memory_mb) as connection:
        files = f"read_parquet([{listed}], hive_partitioning=false, union_by_name=true)"
        query = f"SELECT {columns} FROM {files} ORDER BY {order}"  # noqa: S608
        rows = connection.sql(query).to_arrow_reader(ROW_GROUP_ROWS)
        adds = []
        for nth, piece in enumerate(_pieces(rows, inner)):
            write_deltalake(
                str(aside / str(nth)), piece, mode="error", writer_properties=layout, configuration=statistics
            )
            logged = (aside / str(nth) / "_delta_log" / f"{0:020}.json").read_text(encoding="utf-8").splitlines()
            written = [action["add"] for action in map(json.loads, logged) if "add" in action]
            adds += [add | {"path": f"{nth}/{add['path']}"} for add in written]
    found, expected = sum(json.loads(a["stats"])["numRecords"] for a in adds), sum(f.rows for f in chosen)
    if found != expected:
        raise RearrangeFailed(f"{path}: {len(chosen)} files hold {expected} rows, sorted {found}; nothing was changed")
    # Each file's scratch table has a folder of its own; in the table they lie side by side under names of their own.
    return [_moved(path, aside, add, chosen[0]) for add in adds]


def _moved(path: Path, aside: Path, add: dict, like: TableFile) -> AddAction:
    folder, _, name = add["path"].rpartition("/")
    return moved_in(path, aside / folder, add | {"path": name}, like)


def _pieces(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of ``FILE_ROWS``, each of one chunk: several delta-rs would write as its threads get at them."""
    held, size = [], 0
    for batch in rows:
        held.append(pa.Table.from_batches([batch]).cast(schema))
        size += batch.num_rows
        if size >= FILE_ROWS:
            whole = pa.concat_tables(held).combine_chunks()
            held, size = [], 0  # before it is written: half a gigabyte that nobody needs
            yield whole
    if held:
        yield pa.concat_tables(held).combine_chunks()
