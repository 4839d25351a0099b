"""A session on Sail for builds of few rows: Spark's own API and our rules, without a JVM to start and warm up.

See DECISIONS.md, "A day's increment runs on Sail". Sail is one library in this process; nothing is left running.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs.spark.session import SMALL, ZONE, is_submitted

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)
# What an increment may read here. 683,000 rows (a day of 5 million messages) beside a view of 197,000 took 1.2 GB with
# all of Python, 1,857,000 rows 1.8 GB. Nothing spills: with a bound on its memory Sail refused an aggregate of that day
# (it counts a buffer once for every group that points into it, 134 GB). So more rows are Spark's.
MOST_ROWS = 2_500_000
# PySpark takes its functions for those of a remote session while this stands in the environment.
_REMOTE = "SPARK_CONNECT_MODE_ENABLED"


def fits(rows: int) -> bool:
    """Whether a build that reads that many rows runs on Sail; what was submitted to a cluster runs there."""
    return rows <= MOST_ROWS and not is_submitted()


@contextmanager
def sail_session() -> Iterator[SparkSession]:
    """A session whose server listens on loopback while it lasts. One at a time and a process, and none of Spark's."""
    from pysail.spark import SparkConnectServer
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    options = {
        "RUST_LOG": os.environ.get("RUST_LOG", "error"),  # below that it tells of each hint that it doesn't know
        # In memory, as compressed Parquet; on disk Sail loses those under a path with a blank.
        "SAIL_EXECUTION__CHECKPOINT__PATH": "memory:///checkpoints",
        "no_grpc_proxy": "127.0.0.1",  # else a proxy of the machine's is asked for this very machine
    }
    log.info("this build runs on Sail")
    with _environment(options):
        server = SparkConnectServer(ip="127.0.0.1", port=0)
        server.start()
        try:
            session = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
            try:
                session.conf.set(ZONE, "UTC")
                session.conf.set(SMALL, "true")
                yield session
            except PySparkException as error:
                error.add_note("This build ran on Sail. With --spark it runs on Spark.")
                raise
            finally:
                session.stop()
        finally:
            server.stop()


@contextmanager
def _environment(options: Mapping[str, str]) -> Iterator[None]:
    """With the options in this process's environment; afterwards as before, and no remote session's."""
    before = {name: os.environ.get(name) for name in (*options, _REMOTE)}
    os.environ.update(options)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
