"""A staged build becomes a version of its table in one commit, with notes that say where it is from."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from pipelines.io import spark_delta


@pytest.fixture
def published(tmp_path):
    """``published(replace, run, **columns)`` stages rows, publishes them; gives the table, sorted, and its version."""
    path = tmp_path / "gold" / "view"

    def publish(replace: str | None, run: str, **columns: list) -> tuple[list[tuple], int]:
        staged = tmp_path / run
        staged.mkdir()
        pq.write_table(pa.table(columns), staged / "part.parquet")
        version = spark_delta.publish(staged, path, replace=replace, notes={"run_id": run, "sources": {"silver.x": 3}})
        return sorted(pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table()).rows()), version

    publish.path = path
    return publish


def test_without_a_condition_the_build_is_the_table(published):
    assert published(None, "one", period=["day", "week"], n=[1, 2]) == ([("day", 1), ("week", 2)], 0)
    assert published(None, "two", period=["day"], n=[3]) == ([("day", 3)], 1)
    assert published(None, "three", customer=["c_1"]) == ([("c_1",)], 2), "other columns, too"


def test_with_a_condition_the_rows_that_it_selects_are_replaced(published):
    published("period = 'day'", "first", period=["day"], n=[1])  # there is no table yet, and nothing to replace
    assert published("period = 'week'", "weeks", period=["week"], n=[7]) == ([("day", 1), ("week", 7)], 1)
    assert published("period = 'day'", "days", period=["day"], n=[2]) == ([("day", 2), ("week", 7)], 2)
    assert published("period = 'day'", "none", period=pa.array([], "string"), n=pa.array([], "int64")) == (
        [("week", 7)], 3,
    )  # fmt: skip


def test_the_notes_of_each_build_are_read_back_the_newest_first(published):
    for run in ("one", "two"):
        published(None, run, n=[1])
    assert [told["run_id"] for told in spark_delta.notes(published.path)] == ["two", "one"]
    assert next(spark_delta.notes(published.path))["sources"] == {"silver.x": 3}
