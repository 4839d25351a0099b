"""A staged build of no rows still has its columns: what reads it next asks for them by name."""

from __future__ import annotations

import duckdb
import pytest

from pipelines.io import spark_delta

pytestmark = pytest.mark.spark


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([], 0),  # nobody is concerned: Sail writes no file at all
        ([("c_1", 1), ("c_2", None)], 2),
    ],
)
def test_staged_rows_are_read_by_the_session_and_by_duckdb(spark, tmp_path, rows, count):
    folder = tmp_path / "staged"
    frame = spark.createDataFrame(rows, "customer_id string, contacts bigint")
    staged = spark_delta.stage(frame, folder)
    assert staged.columns == ["customer_id", "contacts"]
    assert staged.count() == count
    read = duckdb.read_parquet(f"{folder}/*.parquet")
    assert (read.columns, read.shape[0]) == (["customer_id", "contacts"], count)
    assert [str(kind) for kind in read.types] == ["VARCHAR", "BIGINT"]


def test_a_build_staged_again_replaces_the_one_before(spark, tmp_path):
    folder = tmp_path / "staged"
    spark_delta.stage(spark.createDataFrame([("c_1",)], "customer_id string"), folder)
    assert spark_delta.stage(spark.createDataFrame([("c_2",)], "customer_id string"), folder).collect() == [("c_2",)]
