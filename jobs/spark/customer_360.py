"""Builds gold.customer_360: parse, read, call, check, publish."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from infra.stack.settings import Settings
from jobs.spark import increments, sail
from jobs.spark.publishing import publish_checked
from jobs.spark.restating import Known, Rebuilt, restate_customers
from jobs.spark.runner import Build, log_to_console, run_gold
from jobs.spark.sources import CustomerRecords, instant, of_concerned, record_versions, settled
from pipelines import contracts
from pipelines.io import gold_lock
from pipelines.quality.gate import Reconciliation, Report
from pipelines.quality.lake_gate import require_sound

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--as-of``: a business day (up to its end) or an instant; now by default."""
    parser = argparse.ArgumentParser(prog="customer_360", description=__doc__)
    parser.add_argument("--as-of", type=instant, default=datetime.now(UTC), help="count what occurred before this")
    parser.add_argument("--full", action="store_true", help="build everybody anew, not only who has changed")
    parser.add_argument("--spark", action="store_true", help="build on Spark also what is few enough for Sail")
    return parser.parse_args(argv)


def second_path(rows: DataFrame, records: CustomerRecords, view: DataFrame, as_of_at: datetime) -> list[Reconciliation]:
    """Customers, their messages and their money, counted in the view and straight from the rows."""
    from pyspark.sql import functions as F

    known = rows.where((F.col("occurred_at") < F.lit(as_of_at)) & F.col("customer_id").isNotNull())
    spoke = F.expr(
        "sender_role = 'customer' AND kind IN ('message', 'consultation', 'feedback', 'complaint')"
    )  # written out, not shared with contacts.py: a second path must not repeat the first one's mistake
    everybody = [frame.select("customer_id") for frame in (known, records.base, records.orders)]
    customers = everybody[0].union(everybody[1]).union(everybody[2]).distinct().count()
    messages = known.where(spoke).count()
    tiers = contracts.policy("value_tiers")
    since = as_of_at - timedelta(days=tiers["window_days"])
    in_window = F.col("paid_at").between(F.lit(since), F.lit(as_of_at - timedelta(microseconds=1)))
    brought = F.when(in_window & (F.col("currency") == tiers["currency"]), F.expr("amount_minor - refunded_minor"))
    money = records.orders.where("order_status <> 'cancelled'").agg(F.coalesce(F.sum(brought), F.lit(0))).first()[0]
    totals = [F.coalesce(F.sum(name), F.lit(0)) for name in ("customer_messages", "monetary_minor")]
    built = view.agg(F.count(F.lit(1)), *totals).first()
    return [
        Reconciliation("customers_equal_source", built[0], customers),
        Reconciliation("messages_equal_source", built[1], messages),
        Reconciliation("money_equals_source", built[2], money),
    ]


def build(rows: DataFrame, records: CustomerRecords, as_of_at: datetime) -> DataFrame:
    """gold.customer_360 from current silver rows and records, not yet checked."""
    from pipelines.tables import customer_360

    return customer_360.build(
        rows, records.base, records.orders, records.values, as_of_at=as_of_at,
        policy=contracts.policy("gold")["contacts"],
    )  # fmt: skip


def publish(
    rows: DataFrame,
    versions: dict[str, int | None],
    settings: Settings,
    args: argparse.Namespace,
    prepared: increments.Prepared | None = None,
) -> Report:
    """Builds from the current silver rows, checks and publishes. Raises GateFailed; the table is then as it was."""
    from pipelines.tables import customer_360

    spark = rows.sparkSession
    if prepared is None and not args.full:
        prepared = increments.prepare(settings, args.as_of)
    if prepared is None:
        sources = record_versions(settings) | versions  # links that came since the rows were read are the next build's
        basis = increments.everything(spark, settings, rows, sources)
    else:
        sources, basis = prepared.versions, increments.since_last(spark, settings, prepared)
    require_sound(settings, sources)
    records = basis.records_at(args.as_of)
    built = settled(build(basis.rows, records, args.as_of), few=True).cache()
    view = built
    if basis.others is not None:
        view = customer_360.with_others(built, basis.others, records.values, as_of_at=args.as_of)

    def rebuild(concerned: DataFrame | None, as_of_at: datetime) -> Rebuilt:
        then = basis.records_at(as_of_at)
        some = build(of_concerned(basis.rows, concerned), then.of_concerned(concerned), as_of_at)
        return Rebuilt(some, then.values)

    report = publish_checked(
        view,
        customer_360.TABLE,
        settings,
        expected_rows=built.count() + basis.others_rows,
        reconciliations=second_path(basis.rows, records, built, args.as_of),
        notes={"as_of_at": args.as_of, "sources": sources, "incremental": prepared is not None, **increments.made_by()},
        restate=lambda staged: restate_customers(
            customer_360.TABLE, settings, spark, sources, rebuild, prepared and Known(prepared.touched_then)
        ),
    )
    log.info("%d customers", report.checked_rows)
    built.unpersist()
    increments.tidy(settings)
    return report


def build_of(prepared: increments.Prepared | None, args: argparse.Namespace) -> Build:
    """The build from what was ``prepared``; in full where that is None."""
    if prepared is None:
        return publish, argparse.Namespace(**vars(args) | {"full": True})
    return partial(publish, prepared=prepared), args


def on_sail(prepared: increments.Prepared | None, args: argparse.Namespace, settings: Settings) -> bool:
    """Whether the build is an increment that fits Sail with the view it goes into, and nobody asked for Spark."""
    if prepared is None or args.spark:
        return False
    cut = 0 if prepared.slices is None else prepared.slices.row_count()
    return sail.fits(cut + increments.published_rows(settings))


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when published, 1 when the gate refused."""
    args = parse_args(argv)
    log_to_console()
    settings = Settings.load()
    # From the slices on: they hold rows of whoever is erased meanwhile, and a second build would replace them.
    with gold_lock.one_build_of(increments.TABLE, settings.home), gold_lock.building(settings.home):
        prepared = None if args.full else increments.prepare(settings, args.as_of)
        session = sail.sail_session() if on_sail(prepared, args, settings) else None
        build = build_of(prepared, args)
        return run_gold("customer_360", [build], session=session, reads_silver=prepared is None)


if __name__ == "__main__":
    sys.exit(main())
