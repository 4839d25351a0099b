"""Delta tables for Spark jobs: pinned reads, builds aside, one commit to publish."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import contracts
from pipelines.io.lake_tables import files, require_plain_files

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


def version_of(path: Path) -> int | None:
    """Newest version of the Delta table at ``path``; None where there is none yet."""
    from deltalake import DeltaTable

    return DeltaTable(str(path)).version() if DeltaTable.is_deltatable(str(path)) else None


def row_count(path: Path, *, unknown: int) -> int:
    """Rows by the log; a file without statistics counts as ``unknown``."""
    import polars as pl
    from deltalake import DeltaTable

    actions = pl.DataFrame(DeltaTable(str(path)).get_add_actions(flatten=True))
    if "num_records" not in actions.columns:
        return unknown * actions.height
    return int(actions.get_column("num_records").fill_null(unknown).sum())


def read(spark: SparkSession, path: Path, table: str, version: int | None) -> DataFrame:
    """The contract's columns of a table at one version, so that two reads of a build see the same rows.

    A table that isn't there yet is empty; a column it doesn't have yet is NULL.

    Raises:
        ValueError: an unpartitioned table uses deletion vectors.
    """
    from pyspark.sql import functions as F

    contract = contracts.table(table)
    schema = contracts.spark_schema(contract)
    if version is None:
        return spark.createDataFrame([], ddl(schema))
    if not contract.partition_by:
        # The log of an unpartitioned table is its list of files. Spark's own reading of it is three jobs, 3 s.
        named = _files(table, path, version)
        return spark.read.schema(ddl(schema)).parquet(*named) if named else spark.createDataFrame([], ddl(schema))
    found = spark.read.format("delta").option("versionAsOf", version).load(str(path))
    return found.select(
        *[F.col(f.name) if f.name in found.columns else F.lit(None).cast(f.dataType).alias(f.name) for f in schema]
    )


def _files(name: str, path: Path, version: int) -> list[str]:
    from deltalake import DeltaTable

    table = DeltaTable(str(path), version=version)
    require_plain_files(name, table)
    return files(table, path)


def ddl(schema: StructType) -> str:
    """A schema as text, which Spark and Sail read alike.

    Sail gives the columns of a ``StructType`` empty metadata, and then finds a struct made of two such columns to be of
    another type than it had planned.

    >>> from pyspark.sql.types import LongType, StructField, StructType
    >>> ddl(StructType([StructField("customer_id", LongType())]))
    '`customer_id` bigint'
    """
    return ", ".join(f"`{f.name}` {f.dataType.simpleString()}" for f in schema)


def stage(build: DataFrame, folder: Path) -> DataFrame:
    """Writes a build aside, outside the lake, and gives it back as written; an earlier one there is replaced."""
    import pyarrow.parquet as pq

    shutil.rmtree(folder, ignore_errors=True)
    build.write.parquet(str(folder))
    if not any(folder.glob("*.parquet")):  # Sail writes no file for no row, and whoever reads asks for the columns
        if build.limit(1).count():
            raise RuntimeError(f"rows were written to {folder}, and there is no file of them")
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(build.limit(0).toArrow(), folder / "none.parquet")
    return build.sparkSession.read.schema(ddl(build.schema)).parquet(str(folder))


def publish(staged: Path, path: Path, *, replace: str | None, notes: Mapping[str, Any]) -> int:
    """Replaces all rows, or those ``replace`` selects, by a staged build in one commit; gives its version.

    ``notes`` go into the commit (sources and their versions, run ID), so that a row can be traced to its build.
    """
    import pyarrow.dataset as ds
    from deltalake import CommitProperties, DeltaTable, write_deltalake

    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"userMetadata": json.dumps(dict(notes), ensure_ascii=False, default=str)}
    write_deltalake(
        str(path),
        # Rows pass through; read ahead, sixty columns of a million customers would lie in memory beside the engine.
        ds.dataset(staged, format="parquet").scanner(batch_readahead=1, fragment_readahead=1).to_reader(),
        mode="overwrite",
        predicate=replace if DeltaTable.is_deltatable(str(path)) else None,
        schema_mode="overwrite" if replace is None else "merge",
        commit_properties=CommitProperties(custom_metadata=told),
    )
    return DeltaTable(str(path)).version()


def notes(path: Path) -> Iterator[dict[str, Any]]:
    """What the commits of a table that carry notes say of themselves, the newest first."""
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(str(path)):
        return
    for commit in DeltaTable(str(path)).history():
        if told := commit.get("userMetadata"):
            yield json.loads(told)


def replace_rows(path: Path, rows: pa.Table, predicate: str) -> None:
    """The rows instead of those the predicate selects, in one commit; no commit where there are neither."""
    from deltalake import DeltaTable, write_deltalake

    if not DeltaTable.is_deltatable(str(path)):
        if rows.num_rows:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_deltalake(str(path), rows)
    elif rows.num_rows:
        write_deltalake(str(path), rows, mode="overwrite", predicate=predicate, schema_mode="merge")
    else:
        DeltaTable(str(path)).delete(predicate)


def append_rows(path: Path, table: str, rows: list[dict[str, Any]]) -> None:
    """Appends plain rows of the contract's columns in one commit (small logs such as gold.quality_results)."""
    import pyarrow as pa
    from deltalake import write_deltalake

    schema = contracts.arrow_schema(contracts.table(table))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(path), pa.Table.from_pylist(rows, schema=schema), mode="append", schema_mode="merge")


def drop_old_versions(path: Path, *, keep_hours: int = 168) -> int:
    """Removes files that no version of the last ``keep_hours`` needs; gives how many: a running query keeps its own."""
    from deltalake import DeltaTable

    return len(DeltaTable(str(path)).vacuum(retention_hours=keep_hours, dry_run=False))
