"""Builds gold.customer_360: parse, read, call, check, publish."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.stack.settings import Settings
from jobs.spark.publishing import publish_checked, restated
from jobs.spark.runner import run_gold
from jobs.spark.sources import instant, newest
from pipelines import contracts
from pipelines.quality.gate import Reconciliation, Report

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--as-of``: a business day (up to its end) or an instant; now by default."""
    parser = argparse.ArgumentParser(prog="customer_360", description=__doc__)
    parser.add_argument("--as-of", type=instant, default=datetime.now(UTC), help="count what occurred before this")
    return parser.parse_args(argv)


def second_path(rows: DataFrame, view: DataFrame, as_of_at: datetime) -> list[Reconciliation]:
    """Customers and their messages, counted in the view and straight from the rows."""
    from pyspark.sql import functions as F

    known = rows.where((F.col("occurred_at") < F.lit(as_of_at)) & F.col("customer_id").isNotNull())
    spoke = F.expr(
        "sender_role = 'customer' AND kind IN ('message', 'consultation', 'feedback', 'complaint')"
    )  # written out, not shared with contacts.py: a second path must not repeat the first one's mistake
    source = known.agg(F.count_distinct("customer_id"), F.count_if(spoke)).first()
    built = view.agg(F.count(F.lit(1)), F.coalesce(F.sum("customer_messages"), F.lit(0))).first()
    return [
        Reconciliation("customers_equal_source", built[0], source[0]),
        Reconciliation("messages_equal_source", built[1], source[1]),
    ]


def publish(rows: DataFrame, versions: dict[str, int | None], settings: Settings, args: argparse.Namespace) -> Report:
    """Builds from the current silver rows, checks and publishes. Raises GateFailed; the table is then as it was."""
    from pipelines.tables import customer_360

    policy = contracts.policy("gold")["contacts"]
    view = customer_360.build(rows, as_of_at=args.as_of, policy=policy).cache()
    anonymous = rows.where("customer_id IS NULL").count()
    before = restated(
        customer_360.TABLE,
        settings,
        rows,
        versions,
        ["customer_id"],
        lambda some, as_of_at: customer_360.build(some, as_of_at=as_of_at, policy=policy),
    )
    report = publish_checked(
        view,
        customer_360.TABLE,
        settings,
        reconciliations=second_path(rows, view, args.as_of),
        notes={
            "as_of_at": args.as_of,
            "sources": versions,
            "anonymous_rows": anonymous,
            "seen_until": newest(rows),
        },
        restatements=before,
    )
    log.info("%d customers; %d rows of nobody known left out", report.checked_rows, anonymous)
    view.unpersist()
    return report


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when published, 1 when the gate refused."""
    return run_gold("customer_360", [(publish, parse_args(argv))])


if __name__ == "__main__":
    sys.exit(main())
