"""Builds gold.customer_tags: parse, read, call, check, publish."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.stack.settings import Settings
from jobs.spark import customer_360
from jobs.spark.publishing import publish_checked
from jobs.spark.runner import run_gold
from jobs.spark.sources import customer_records, instant
from pipelines import contracts
from pipelines.quality.gate import Reconciliation, Report

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

POLICIES = ("customer_tags", "gold", "value_tiers")
log = logging.getLogger(__name__)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--as-of``: a business day (up to its end) or an instant; now by default."""
    parser = argparse.ArgumentParser(prog="customer_tags", description=__doc__)
    parser.add_argument("--as-of", type=instant, default=datetime.now(UTC), help="count what occurred before this")
    return parser.parse_args(argv)


def second_path(tags: DataFrame, view: DataFrame, values: DataFrame) -> list[Reconciliation]:
    """Every customer has a frequency, and every customer who paid a value tier: counted without the tags."""
    from pyspark.sql import functions as F

    counted = tags.agg(*[F.count_if(F.col("tag") == name) for name in ("contact_frequency", "value_tier")]).first()
    return [
        Reconciliation("frequencies_equal_customers", counted[0], view.count()),
        Reconciliation("tiers_equal_payers", counted[1], values.count()),
    ]


def publish(rows: DataFrame, versions: dict[str, int | None], settings: Settings, args: argparse.Namespace) -> Report:
    """Builds from the current silver rows, checks and publishes. Raises GateFailed; the table is then as it was."""
    from pipelines.tables import customer_360 as view_table
    from pipelines.tables import customer_tags

    policies = {name: contracts.policy(name) for name in POLICIES}
    records = customer_records(rows.sparkSession, settings, args.as_of)
    view = customer_360.build(rows, records, args.as_of).cache()
    contacts = view_table.known_contacts(rows, as_of_at=args.as_of, policy=policies["gold"]["contacts"])
    tags = customer_tags.build(view, contacts, records.paid, as_of_at=args.as_of, policies=policies).cache()
    report = publish_checked(
        tags,
        customer_tags.TABLE,
        settings,
        reconciliations=second_path(tags, view, records.values),
        notes={"as_of_at": args.as_of, "sources": versions | records.versions},
    )
    log.info("%d tags", report.checked_rows)
    tags.unpersist()
    view.unpersist()
    return report


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when published, 1 when the gate refused."""
    return run_gold("customer_tags", [(publish, parse_args(argv))])


if __name__ == "__main__":
    sys.exit(main())
