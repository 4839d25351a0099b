"""Runs gold builds in one Spark session over one reading of silver."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from infra.stack.settings import Settings
from jobs.spark.session import is_small, spark_session
from jobs.spark.sources import settled, silver_row_count, silver_rows
from pipelines.io import gold_lock
from pipelines.quality.gate import GateFailed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Build = tuple[Callable[..., object], argparse.Namespace]
log = logging.getLogger(__name__)


def log_to_console() -> None:
    """What a build says of itself, without the talk of the libraries below it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("py4j", "great_expectations"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextmanager
def gold_session(name: str, settings: Settings) -> Iterator[SparkSession]:
    """A session as large as the lake asks for, however little of it a build reads: it publishes whole tables."""
    session = spark_session(name, settings, rows=silver_row_count(settings))
    try:
        yield session
    finally:
        session.stop()


def run_gold(
    name: str,
    builds: Sequence[Build],
    *,
    session: AbstractContextManager[SparkSession] | None = None,
    reads_silver: bool = True,
    serve: bool = True,
) -> int:
    """Every build, also after one was refused; exit code 1 when any was. A refused table stays as it was.

    ``session``: another than `gold_session`. Without ``reads_silver`` builds have rows of their own. Without
    ``serve`` agents and Trino see what is published after the next run.
    """
    log_to_console()
    settings = Settings.load()
    with gold_lock.building(settings.home):
        with session or gold_session(name, settings) as spark:
            refused = _run(spark, builds, settings, reads_silver)
        if serve:
            _serve_customers(settings)
    if serve:
        _tell_trino(settings)
    return refused


def _run(spark: SparkSession, builds: Sequence[Build], settings: Settings, reads_silver: bool) -> int:
    refused = 0
    if reads_silver:
        rows, versions = silver_rows(spark, settings)
        if is_small(spark):
            rows = settled(rows).cache()
    else:
        rows, versions = spark.createDataFrame([], "customer_id string"), {}  # naming all files costs seconds
    for publish, args in builds:
        try:
            publish(rows, versions, settings, args)
        except GateFailed as failure:
            log.error("not published:\n%s", failure)
            refused = 1
    return refused


def _serve_customers(settings: Settings) -> None:
    """What was published goes to MariaDB, where agents look customers up; they see the build before until then."""
    from jobs.ops.serving import ServingFailed, serve_customers

    try:
        serve_customers(settings)
    except ServingFailed as error:  # gold is published all the same
        log.error("%s", error)


def _tell_trino(settings: Settings) -> None:
    """A table built for the first time appears in Trino's catalogue, where Trino runs."""
    from infra.trino import server

    if server.health(settings) is None:
        from pipelines.io import trino_catalog

        trino_catalog.sync(settings)
