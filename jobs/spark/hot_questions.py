"""Builds gold.hot_questions for days, weeks or months: parse, read, call, check, publish."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.stack.settings import Settings
from jobs.spark.publishing import publish_checked
from jobs.spark.restating import Earlier, restate_periods
from jobs.spark.runner import run_gold
from jobs.spark.sources import business_day, day_start, instant, settled
from pipelines import contracts
from pipelines.insight.questions import Asking
from pipelines.io import spark_delta
from pipelines.quality.gate import Reconciliation, Report
from pipelines.quality.lake_gate import require_sound

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--period``, ``--since`` (rebuild from the period of that day on; all by default), ``--as-of``."""
    parser = argparse.ArgumentParser(prog="hot_questions", description=__doc__)
    parser.add_argument("--period", choices=contracts.field("period_type").values, default="day")
    parser.add_argument("--since", type=date.fromisoformat, help="rebuild the periods from this day's on")
    parser.add_argument("--as-of", type=instant, default=datetime.now(UTC), help="count what occurred before this")
    return parser.parse_args(argv)


def first_day(day: date, period_type: str) -> date:
    """First day of the period a day lies in.

    >>> first_day(date(2026, 1, 7), "week"), first_day(date(2026, 1, 7), "month"), first_day(date(2026, 1, 7), "day")
    (datetime.date(2026, 1, 5), datetime.date(2026, 1, 1), datetime.date(2026, 1, 7))
    """
    if period_type == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period_type == "month" else day


def periods(period_type: str, since: date | None, before: date | None = None) -> str:
    """The rows of the periods from one day on and before another, as a condition; the values are checked, not quoted.

    >>> periods("day", date(2026, 1, 7))
    "period_type = 'day' AND period_start_date >= DATE'2026-01-07'"
    """
    condition = f"period_type = '{period_type}'"
    for day, sign in ((since, ">="), (before, "<")):
        condition += "" if day is None else f" AND period_start_date {sign} DATE'{day.isoformat()}'"
    return condition


def standing(
    told: Iterable[Mapping[str, Any]], period_type: str, since: date | None, as_of_at: datetime
) -> Iterator[tuple[Earlier, str]]:
    """Builds whose figures a build replaces, with the condition for those of periods that were over for both.

    ``told`` are the notes of the table's builds, the newest first; a build's figures stand for the periods before the
    first one of the builds after it.

    >>> old = {"run_id": "r1", "as_of_at": "2026-01-07T04:00:00+00:00", "sources": {}, "period": "day", "since": None}
    >>> new = old | {"run_id": "r2", "as_of_at": "2026-01-08T16:00:00+00:00", "since": "2026-01-06"}
    >>> at = datetime(2026, 1, 20, tzinfo=UTC)
    >>> for build, condition in standing([new, old], "day", date(2026, 1, 5), at): print(build.run_id, condition[24:])
    r2 period_start_date >= DATE'2026-01-06' AND period_start_date < DATE'2026-01-09'
    r1 period_start_date >= DATE'2026-01-05' AND period_start_date < DATE'2026-01-06'
    """
    until = first_day(business_day(as_of_at), period_type)
    for notes in told:
        if notes.get("period") != period_type:
            continue
        build = Earlier.of(notes)
        first = None if notes["since"] is None else date.fromisoformat(notes["since"])
        over = first_day(business_day(build.as_of_at), period_type)
        yield build, periods(period_type, max(filter(None, (first, since)), default=None), min(until, over))
        if first is None or (since is not None and first <= since):
            return
        until = min(until, first)


def second_path(questions: DataFrame, view: DataFrame) -> list[Reconciliation]:
    """Questions of the listed periods: listed plus outliers in the view, and counted straight from the questions."""
    from pyspark.sql import functions as F

    keys = ["period_type", "period_start_date"]
    each = view.groupBy(*keys).agg((F.sum("questions") + F.min("period_outliers")).alias("n"))
    source = questions.join(each.select(*keys), on=keys, how="left_semi").count()
    built = each.agg(F.coalesce(F.sum("n"), F.lit(0))).first()[0]
    return [Reconciliation("questions_equal_source", built, source)]


def publish(rows: DataFrame, versions: dict[str, int | None], settings: Settings, args: argparse.Namespace) -> Report:
    """Builds from the current silver rows, checks and publishes. Raises GateFailed; the table is then as it was."""
    from pipelines.tables import hot_questions

    require_sound(settings, versions)
    gold = contracts.policy("gold")
    policy = gold["hot_questions"]
    since = None if args.since is None else first_day(args.since, args.period)
    asked = hot_questions.asked(
        rows,
        period_type=args.period,
        time_zone=gold["business_time_zone"],
        starts_at=None if since is None else day_start(since),
        as_of_at=args.as_of,
        asking=Asking.from_policy(
            contracts.policy("questions"), max_chars=policy["max_question_chars"], min_terms=policy["min_key_terms"]
        ),
    )
    questions = settled(asked).cache()  # five aggregates read it, and cutting Chinese into words is the dear part
    view = settled(hot_questions.build(questions, policy=policy)).cache()
    told = spark_delta.notes(settings.table_path(hot_questions.TABLE))
    report = publish_checked(
        view,
        hot_questions.TABLE,
        settings,
        replace=periods(args.period, since),
        reconciliations=second_path(questions, view),
        notes={"as_of_at": args.as_of, "sources": versions, "period": args.period, "since": since},
        restate=lambda staged: restate_periods(
            hot_questions.TABLE,
            settings,
            rows.sparkSession,
            versions,
            standing(told, args.period, since, args.as_of),
            staged,
            hot_questions.period_start(args.period, gold["business_time_zone"]),
        ),
    )
    log.info("%d questions listed", report.checked_rows)
    view.unpersist()
    questions.unpersist()
    return report


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when published, 1 when the gate refused."""
    return run_gold("hot_questions", [(publish, parse_args(argv))])


if __name__ == "__main__":
    sys.exit(main())
