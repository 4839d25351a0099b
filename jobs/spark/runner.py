"""Runs gold builds in one Spark session over one reading of silver."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence

from infra.stack.settings import Settings
from jobs.spark.session import SMALL_ROWS, spark_session
from jobs.spark.sources import settled, silver_row_count, silver_rows
from pipelines.io import gold_lock
from pipelines.quality.gate import GateFailed

Build = tuple[Callable[..., object], argparse.Namespace]
log = logging.getLogger(__name__)


def log_to_console() -> None:
    """What a build says of itself, without the talk of the libraries below it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("py4j", "great_expectations"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run_gold(name: str, builds: Sequence[Build], *, prepared_rows: int | None = None) -> int:
    """Every build, also after one was refused; exit code 1 when any was. A refused table stays as it was.

    ``prepared_rows``: how many rows they read of their own; where it is None they read all of silver.
    """
    log_to_console()
    settings = Settings.load()
    with gold_lock.building(settings.home):
        refused = _run(name, builds, settings, prepared_rows)
        _serve_customers(settings)
    _tell_trino(settings)
    return refused


def _run(name: str, builds: Sequence[Build], settings: Settings, prepared_rows: int | None) -> int:
    count = silver_row_count(settings) if prepared_rows is None else prepared_rows
    spark = spark_session(name, settings, rows=count)
    refused = 0
    try:
        if prepared_rows is not None:
            rows, versions = spark.createDataFrame([], "customer_id string"), {}  # naming all files costs seconds
        else:
            rows, versions = silver_rows(spark, settings)
        if prepared_rows is None and count < SMALL_ROWS:
            rows = settled(rows).cache()
        for publish, args in builds:
            try:
                publish(rows, versions, settings, args)
            except GateFailed as failure:
                log.error("not published:\n%s", failure)
                refused = 1
    finally:
        spark.stop()
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
