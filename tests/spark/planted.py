"""Publishing with a defect planted, into the build or into a day of silver it would read; and what readers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable

from infra.stack.settings import Settings
from jobs.spark.publishing import publish_checked
from pipelines import contracts
from pipelines.io import duckdb_lake, spark_delta
from pipelines.quality.gate import GateFailed, Reconciliation
from tests.unit.quality.defects import identified
from tests.unit.quality.test_planted_defects import write


@dataclass
class Reader:
    """Somebody who reads a table all the time, through DuckDB and at the Delta version of the beginning."""

    settings: Settings
    table: str

    def __post_init__(self) -> None:
        self.pinned = DeltaTable(str(self.path)).version()
        self.first = self.rows()

    @property
    def path(self):
        return self.settings.table_path(self.table)

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows as DuckDB shows them."""
        return sorted(map(repr, duckdb_lake.ask(self.settings.lake, f"SELECT * FROM {self.table}").rows))

    def saw_bad(self) -> bool:
        """True where the newest version, or the pinned one, shows anything but the rows of the beginning."""
        pinned = DeltaTable(str(self.path), version=self.pinned).to_pyarrow_table().num_rows
        newest = DeltaTable(str(self.path)).version()
        return self.rows() != self.first or newest != self.pinned or pinned != len(self.first)


def frame_of(spark: Any, table: str, rows: list[Mapping[str, Any]]) -> Any:
    """Rows of a gold table as a build would bring them; key columns may be NULL."""
    schema = contracts.spark_schema(contracts.table(table))
    complete = [[row.get(name) for name in schema.names] for row in rows]
    return spark.createDataFrame(complete, spark_delta.ddl(schema))


def refused_build(spark: Any, settings: Settings, table: str, rows: list[Mapping[str, Any]]) -> str | None:
    """What the gate says of a build; None where it was published."""
    return _refused(frame_of(spark, table, rows), table, settings)


def refused_columns(spark: Any, settings: Settings, table: str, column: str) -> str | None:
    """What the gate says of a sound build that lacks a column."""
    return _refused(frame_of(spark, table, [identified(table, 0)]).drop(column), table, settings)


def refused_figure(spark: Any, settings: Settings, table: str) -> str | None:
    """What the gate says where a second path counted another figure."""
    frame, second = frame_of(spark, table, [identified(table, 0)]), [Reconciliation("rows_equal_source", 1, 2)]
    return _refused(frame, table, settings, reconciliations=second)


def refused_input(spark: Any, settings: Settings, table: str, source: str, bad: Mapping[str, Any]) -> str | None:
    """What the gate says of a sound build that reads a bad row of ``source``, which is taken out again afterwards."""
    path = settings.table_path(source)
    before = DeltaTable(str(path)).version()
    write(settings, source, [dict(bad)])
    versions = {source: DeltaTable(str(path)).version()}
    try:
        return _refused(frame_of(spark, table, [identified(table, 0)]), table, settings, notes={"sources": versions})
    finally:
        DeltaTable(str(path)).restore(before)


def _refused(frame: Any, table: str, settings: Settings, **how: Any) -> str | None:
    try:
        publish_checked(frame, table, settings, **how)
    except GateFailed as failed:
        return str(failed)
    return None
