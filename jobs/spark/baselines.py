"""Builds the response-time baselines and publishes them as a new version on topic policy.baselines."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from datetime import UTC, datetime

from infra.stack.settings import Settings
from jobs.spark.session import spark_session
from jobs.spark.sources import instant, silver_row_count, silver_rows
from pipelines import contracts
from pipelines.io.publisher import publish
from pipelines.quality.gate import GateFailed
from pipelines.quality.lake_gate import require_sound

TOPIC = "policy.baselines"
log = logging.getLogger(__name__)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--as-of``, ``--dry-run`` (show, publish nothing)."""
    parser = argparse.ArgumentParser(prog="baselines", description=__doc__)
    parser.add_argument("--as-of", type=instant, default=datetime.now(UTC), help="use what occurred before this")
    parser.add_argument("--dry-run", action="store_true", help="print the records, publish nothing")
    return parser.parse_args(argv)


def records(found: list, version: str, computed_at: datetime) -> list[tuple[str, bytes]]:
    """Key and value per channel and kind, in the contract's form (instants in microseconds).

    >>> from datetime import datetime, UTC
    >>> records([("app", "message", 3.5, 0.5, 200)], "b1", datetime(2026, 1, 1, tzinfo=UTC))[0][0]
    'app|message'
    """
    computed_us = int(computed_at.timestamp() * 1_000_000)
    return [
        (
            f"{channel}|{kind}",
            json.dumps(
                {
                    "baseline_version": version, "channel": channel, "baseline_kind": kind, "median_ln_s": median,
                    "mad_ln_s": mad, "sample_count": count, "computed_at": computed_us,
                }
            ).encode(),
        )
        for channel, kind, median, mad, count in sorted(found)
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Exit 0, 1 where rows broke a check; publishes nothing where no channel has enough response times.

    The baselines before, or the defaults, stay in force then.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    from pipelines.tables import baselines

    args, settings = parse_args(argv), Settings.load()
    spark = spark_session("baselines", settings, rows=silver_row_count(settings))
    try:
        rows, versions = silver_rows(spark, settings)
        require_sound(settings, versions)
        built = baselines.build(
            rows,
            as_of_at=args.as_of,
            policy=contracts.policy("gold")["baselines"],
            floor_s=contracts.policy("outliers")["floor_s"],
        )
        found = built.collect()
    except GateFailed as failure:
        log.error("%s", failure)
        return 1
    finally:
        spark.stop()
    version = baselines.version(found, args.as_of)
    told = records(found, version, datetime.now(UTC))
    if args.dry_run:
        sys.stdout.writelines(value.decode() + "\n" for _, value in told)
    elif told:
        publish(settings.bootstrap, TOPIC, told)
    log.info("%s: %d channels and kinds%s", version, len(told), " (not published)" if args.dry_run else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
