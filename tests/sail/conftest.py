"""The same tests as tests/spark on Sail: what an increment reads must say the same on both engines."""

from __future__ import annotations

import pytest

from tests.spark.conftest import framer, settings

__all__ = ["settings"]


@pytest.fixture(scope="module")
def spark():
    """One a module: a process has one at a time, and Spark's own is opened next."""
    from pyspark import SparkContext

    from jobs.spark.sail import sail_session

    assert SparkContext._active_spark_context is None, "tests/sail comes before tests/spark, as their names are sorted"
    with sail_session() as session:
        yield session


@pytest.fixture(scope="module")
def frame(spark):
    """``frame(table, rows)`` as in tests/spark."""
    return framer(spark)


@pytest.fixture(scope="session")
def lake_folder() -> str:
    """A plain one: Sail's reader of Delta logs finds no other. Only these tests use it; an increment reads files."""
    return "lake"
