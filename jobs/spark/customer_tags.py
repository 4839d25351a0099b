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
from jobs.spark.restating import Rebuilt, restate_customers
from jobs.spark.runner import run_gold
from jobs.spark.sources import CustomerRecords, customer_records, instant, of_concerned, record_versions, settled
from pipelines import contracts
from pipelines.quality.gate import Reconciliation, Report
from pipelines.quality.lake_gate import require_sound

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


def build(rows: DataFrame, records: CustomerRecords, view: DataFrame, as_of_at: datetime) -> DataFrame:
    """gold.customer_tags from current silver rows and records and the view of the same instant, not yet checked."""
    from pipelines.tables import customer_360 as view_table
    from pipelines.tables import customer_tags

    policies = {name: contracts.policy(name) for name in POLICIES}
    contacts = view_table.known_contacts(rows, as_of_at=as_of_at, policy=policies["gold"]["contacts"])
    return customer_tags.build(view, contacts, records.paid, as_of_at=as_of_at, policies=policies)


def publish(rows: DataFrame, versions: dict[str, int | None], settings: Settings, args: argparse.Namespace) -> Report:
    """Builds from the current silver rows, checks and publishes. Raises GateFailed; the table is then as it was."""
    from pipelines.tables import customer_tags

    spark = rows.sparkSession
    sources = record_versions(settings) | versions  # rows and records by the same links
    require_sound(settings, sources)
    records = customer_records(spark, settings, args.as_of, sources)
    view = settled(customer_360.build(rows, records, args.as_of)).cache()
    tags = build(rows, records, view, args.as_of).cache()

    def rebuild(concerned: DataFrame | None, as_of_at: datetime) -> Rebuilt:
        then = customer_records(spark, settings, as_of_at, sources)
        some, theirs = of_concerned(rows, concerned), then.of_concerned(concerned)
        before = build(some, theirs, settled(customer_360.build(some, theirs, as_of_at)), as_of_at)
        tiers = contracts.policy("value_tiers")
        return Rebuilt(before, customer_tags.of_values(then.values, as_of_at=as_of_at, tiers=tiers))

    report = publish_checked(
        tags,
        customer_tags.TABLE,
        settings,
        reconciliations=second_path(tags, view, records.values),
        notes={"as_of_at": args.as_of, "sources": sources},
        restate=lambda staged: restate_customers(customer_tags.TABLE, settings, spark, sources, rebuild),
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
