"""Builds all gold tables of a day: customer_360, customer_tags and hot_questions."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from infra.stack.settings import Settings
from jobs.spark import customer_360, customer_tags, hot_questions, increments, sail
from jobs.spark.restating import Earlier
from jobs.spark.runner import log_to_console, run_gold
from jobs.spark.sources import instant
from pipelines.io import gold_lock, spark_delta

TABLES = (increments.TABLE, "gold.customer_tags", "gold.hot_questions")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--as-of`` or ``--day`` for all of them, now by default; ``--spark`` for customer_360."""
    parser = argparse.ArgumentParser(prog="gold", description=__doc__)
    upto = parser.add_mutually_exclusive_group()
    upto.add_argument("--as-of", default=datetime.now(UTC).isoformat(), help="count what occurred before this")
    upto.add_argument("--day", help="a nightly run: this business day, and what later days have published already")
    parser.add_argument("--spark", action="store_true", help="build on Spark also what is few enough for Sail")
    args = parser.parse_args(argv)
    instant(args.day or args.as_of)  # a wrong one is refused before a session starts
    return args


def counted_up_to(day: datetime, published: datetime | None) -> datetime:
    """Up to when the run of a day counts: its end, unless the view counts further already.

    A past day that is run again brings what came late for it; it does not take back the days since.

    >>> end_of_28th, end_of_29th = datetime(2026, 11, 28, 16, tzinfo=UTC), datetime(2026, 11, 29, 16, tzinfo=UTC)
    >>> counted_up_to(end_of_28th, end_of_29th) == end_of_29th, counted_up_to(end_of_29th, end_of_28th) == end_of_29th
    (True, True)
    >>> counted_up_to(end_of_28th, None) == end_of_28th
    True
    """
    return day if published is None else max(day, published)


def _up_to(asked: argparse.Namespace, settings: Settings) -> str:
    """Asked with the lock held: another build may publish a later day while this one waits for its turn."""
    if asked.day is None:
        return asked.as_of
    told = [next(spark_delta.notes(settings.table_path(table)), None) for table in TABLES]
    published = max((Earlier.of(one).as_of_at for one in told if one is not None), default=None)
    return counted_up_to(instant(asked.day), published).isoformat()


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when all were published, 1 when the gate refused one (the others are published)."""
    asked = parse_args(argv)
    settings = Settings.load()
    log_to_console()
    with gold_lock.one_build_of(increments.TABLE, settings.home), gold_lock.building(settings.home):
        as_of = ["--as-of", _up_to(asked, settings)]
        args = customer_360.parse_args([*as_of, *(["--spark"] if asked.spark else [])])
        others = [
            (customer_tags.publish, customer_tags.parse_args(as_of)),
            (hot_questions.publish, hot_questions.parse_args(as_of)),
        ]
        prepared = increments.prepare(settings, args.as_of)
        build = customer_360.build_of(prepared, args)
        if not customer_360.on_sail(prepared, args, settings):
            return run_gold("gold", [build, *others])
        refused = run_gold("customer_360", [build], session=sail.sail_session(), reads_silver=False, serve=False)
        return max(refused, run_gold("gold", others))


if __name__ == "__main__":
    sys.exit(main())
