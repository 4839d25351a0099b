"""A Flink job for tests: counts from 1 to N into a topic, exactly once. Nothing of it needs Python workers."""

from __future__ import annotations

import sys

from pyflink.table import EnvironmentSettings, TableEnvironment


def main(bootstrap: str, topic: str, last: int, per_second: int) -> None:
    """Submits the job."""
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    environment.get_config().set("execution.checkpointing.interval", "1 s")
    environment.execute_sql(
        f"CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{per_second}', "
        f"'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{last}')"
    )
    environment.execute_sql(
        f"CREATE TABLE counted (n BIGINT) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json', "
        f"'properties.bootstrap.servers' = '{bootstrap}', 'sink.delivery-guarantee' = 'exactly-once', "
        f"'sink.transactional-id-prefix' = '{topic}', 'properties.transaction.timeout.ms' = '3600000')"
    )
    environment.execute_sql("INSERT INTO counted SELECT n FROM numbers")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
