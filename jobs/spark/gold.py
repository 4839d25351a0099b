"""Builds all gold tables of a day: customer_360, customer_tags and hot_questions."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from infra.stack.settings import Settings
from jobs.spark import customer_360, customer_tags, hot_questions, increments, sail
from jobs.spark.runner import log_to_console, run_gold
from jobs.spark.sources import instant
from pipelines.io import gold_lock


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--as-of`` for all of them, now by default; ``--spark`` for customer_360."""
    parser = argparse.ArgumentParser(prog="gold", description=__doc__)
    parser.add_argument("--as-of", default=datetime.now(UTC).isoformat(), help="count what occurred before this")
    parser.add_argument("--spark", action="store_true", help="build on Spark also what is few enough for Sail")
    args = parser.parse_args(argv)
    instant(args.as_of)  # a wrong one is refused before a session starts
    return args


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when all were published, 1 when the gate refused one (the others are published)."""
    asked = parse_args(argv)
    as_of = ["--as-of", asked.as_of]
    args = customer_360.parse_args([*as_of, *(["--spark"] if asked.spark else [])])
    others = [
        (customer_tags.publish, customer_tags.parse_args(as_of)),
        (hot_questions.publish, hot_questions.parse_args(as_of)),
    ]
    log_to_console()
    settings = Settings.load()
    with gold_lock.one_build_of(increments.TABLE, settings.home), gold_lock.building(settings.home):
        prepared = increments.prepare(settings, args.as_of)
        build = customer_360.build_of(prepared, args)
        if not customer_360.on_sail(prepared, args, settings):
            return run_gold("gold", [build, *others])
        refused = run_gold("customer_360", [build], session=sail.sail_session(), reads_silver=False, serve=False)
        return max(refused, run_gold("gold", others))


if __name__ == "__main__":
    sys.exit(main())
