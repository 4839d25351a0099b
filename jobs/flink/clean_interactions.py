"""Flink job: every raw message into exactly one of kept, rejected, in review, duplicate; exactly once.

Deployed by ``kefulake deploy clean_interactions``; ``--explain`` prints the plan and starts nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from pyflink.table import EnvironmentSettings, TableEnvironment

from jobs.flink.cleaning_function import clean_message
from jobs.flink.cleaning_sql import CLEAN_FUNCTION, FEEDBACK_VIEW, JUDGED_VIEW, ORDERED_VIEW, insert_outputs
from pipelines import contracts
from pipelines.cleaning.rehearsal import rehearse
from pipelines.cleaning.remembered import SEEN
from pipelines.io.flink_kafka import outputs_ddl, raw_events_ddl

JOB_NAME = "clean_interactions"
GROUP = "kefulake-clean"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the job; the defaults are those of the embedded stack."""
    parser = argparse.ArgumentParser(prog=JOB_NAME, description=__doc__)
    parser.add_argument("--bootstrap", required=True, help="Kafka bootstrap servers")
    parser.add_argument("--keys-file", required=True, help="file of the master key, readable by the task managers")
    parser.add_argument("--schemas", required=True, help="folder of the contracts and policies this deployment runs by")
    parser.add_argument("--region", help="whose root the broker's is (default: the home region's)")
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--checkpoint-s", type=float, default=10.0, help="seconds between checkpoints")
    parser.add_argument("--bundle-ms", type=int, default=40, help="an unfilled Python batch goes out so often")
    parser.add_argument("--bundle-rows", type=int, default=20_000, help="most rows of a Python batch")
    parser.add_argument("--arrow-rows", type=int, default=5_000, help="rows that go to Python at a time")
    parser.add_argument("--explain", action="store_true", help="rehearse the rules, print the plan, start nothing")
    return parser.parse_args(argv)


def table_environment(args: argparse.Namespace) -> TableEnvironment:
    """A streaming environment with the job's settings; everything else is the cluster's configuration."""
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    retention_h = contracts.policy("deduplication")["retention_hours"]
    settings = {
        "pipeline.name": JOB_NAME,
        "parallelism.default": str(args.parallelism),
        "execution.checkpointing.interval": f"{int(args.checkpoint_s * 1000)} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "table.local-time-zone": "UTC",
        "table.exec.state.ttl": f"{retention_h} h",
        "python.fn-execution.bundle.time": str(args.bundle_ms),
        "python.fn-execution.bundle.size": str(args.bundle_rows),
        "python.fn-execution.arrow.batch.size": str(args.arrow_rows),
        "pipeline.object-reuse": "true",
    }
    for name, value in settings.items():
        environment.get_config().set(name, value)
    return environment


def build(environment: TableEnvironment, args: argparse.Namespace) -> str:
    """Registers source, sink, function and views; returns the one INSERT of the job."""
    raw = sorted([SEEN, *(name for name, topic in contracts.topics().items() if topic.format == "raw")])
    outputs = sorted(n for n, topic in contracts.topics().items() if JOB_NAME in topic.producers)
    environment.create_temporary_system_function(
        CLEAN_FUNCTION, clean_message(args.bootstrap, args.keys_file, args.schemas, args.region)
    )
    environment.execute_sql(raw_events_ddl(args.bootstrap, raw, GROUP))
    environment.execute_sql(outputs_ddl(args.bootstrap, outputs, JOB_NAME))
    for view in (JUDGED_VIEW, ORDERED_VIEW, FEEDBACK_VIEW):
        environment.execute_sql(view)
    window_h = contracts.policy("cleaning")["duplicate_feedback"]["window_hours"]
    return insert_outputs(int(window_h * 3600 * 1_000_000))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, build, submit."""
    args = parse_args(argv)
    os.environ[contracts.SCHEMAS_VARIABLE] = args.schemas
    environment = table_environment(args)
    insert = build(environment, args)
    if args.explain:
        rehearse()
        print(environment.explain_sql(insert))
    else:
        environment.execute_sql(insert)


if __name__ == "__main__":
    main()
