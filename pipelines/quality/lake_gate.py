"""Judges what stands in the lake, day by day, and refuses gold builds that would read a day that failed."""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import lake_days, quality_results
from pipelines.io.duckdb_lake import contract_columns, rows_sql
from pipelines.io.lake_days import TableDay
from pipelines.io.quality_results import Verdict
from pipelines.quality import lake_rules
from pipelines.quality.checks import STOP, Check, business_text, checks_of
from pipelines.quality.gate import GateFailed, Report, Result

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.quality.lake_suites import LakeSuites

BALANCE = "gold.data_balance"
_MOST_LINES = 12
log = logging.getLogger(__name__)


class InputsFailed(GateFailed):
    """A build would read rows that broke a check of severity ``stop``; nothing was published. It names them."""

    def __init__(self, failed: Sequence[Verdict]):
        Exception.__init__(self, explain(failed))
        self.failed = tuple(failed)


def explain(failed: Sequence[Verdict], first: str = "nothing is published: it would be made of") -> str:
    """Each check that failed in a line, however many days broke it, and what can be done about it."""
    lines = [f"{first} rows that broke checks of severity stop:"]
    by_check: dict[tuple[str, str], list[Verdict]] = {}
    for one in failed:
        by_check.setdefault((one.table, one.check), []).append(one)
    for (table, check_name), days in list(by_check.items())[:_MOST_LINES]:
        told, why = days[0], f" ({days[0].because})" if days[0].because else ""
        day = "" if told.day is None else f", day {told.day} (UTC)"
        more = f"; and {sum(d.bad_rows for d in days[1:]):,} rows of {len(days) - 1} other days" if days[1:] else ""
        lines.append(f"  {table}{day}: {check_name}: {told.bad_rows:,} rows, e.g. {told.bad_sample}{why}{more}")
    if len(by_check) > _MOST_LINES:
        lines.append(f"  and {len(by_check) - _MOST_LINES} more checks: kefulake quality docs")
    lines.append("Mend the rows (kefulake rejects replay, kefulake erase, or the source sends them again), then run it")
    lines.append("again; or take them as they are, day by day, which is written into the audit log:")
    lines += [f"  kefulake quality accept '{d[0].run_id}' '{d[0].check}' --reason '...'" for d in by_check.values()][:3]
    return "\n".join(lines)


def require_sound(settings: Settings, versions: Mapping[str, int | None]) -> None:
    """Nothing where every day of these tables at these versions passed, or what failed was accepted.

    A day without a verdict on its very files, by the checks of today, is checked now: it costs what has changed since.
    The balance is asked as well: a closed hour that lacks messages makes figures of fewer contacts than there were.

    Raises:
        InputsFailed: a check of severity ``stop`` failed on a day that would be read.
    """
    parts = list(parts_of(settings, versions))
    if BALANCE not in versions:
        parts += parts_of(settings, {BALANCE: None})
    if unknown := without_verdict(settings, parts):
        log.info("%d days of %d tables have no verdict yet", len(unknown), len({part.table for part in unknown}))
        check(settings, unknown)
    if still := without_verdict(settings, parts):  # its checks were edited meanwhile: no verdict is none
        raise RuntimeError(f"{still[0].table}, day {still[0].day}: no verdict after its check; run it again")
    if failed := failed_of(settings, parts):
        raise InputsFailed(failed)


def without_verdict(settings: Settings, parts: Sequence[TableDay]) -> list[TableDay]:
    """Days that were never checked as they stand, by the checks of today."""
    known = quality_results.verdicts(settings, {checked_hash(part) for part in parts})
    return [part for part in parts if checked_hash(part) not in known]


def failed_of(settings: Settings, parts: Sequence[TableDay]) -> list[Verdict]:
    """What stops a build that reads these days, by their newest verdicts: failed, and accepted by nobody."""
    known = quality_results.verdicts(settings, {checked_hash(part) for part in parts})
    failed = [with_reason(one) for part in parts for one in known.get(checked_hash(part), ())]
    return quality_results.not_accepted(settings, failed)


def parts_of(settings: Settings, versions: Mapping[str, int | None]) -> Iterator[TableDay]:
    """The days of tables at versions (None: the newest) that have rows."""
    for name, version in versions.items():
        path = settings.table_path(name)
        table = lake_days.open_at(path, version)
        if table is not None:
            yield from lake_days.days(name, table, path)


def checked_hash(part: TableDay) -> str:
    """Names the files of a day and the checks of its table: where one is another, a verdict says nothing any more."""
    told = f"{part.table} {part.day} {part.files_hash} {_checks_hash(part.table, business_text(part.table))}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


@lru_cache(maxsize=256)
def _checks_hash(table: str, business: str) -> str:
    """Ten years of days ask this; the checks are read once as long as their file is the same."""
    return hashlib.sha256(f"{business} {checks_of(table)!r}".encode()).hexdigest()


def check(settings: Settings, parts: Iterable[TableDay]) -> list[Report]:
    """Judges days and writes what was found into gold.quality_results, all in one commit."""
    reports = list(judge(settings, parts, checked_at=datetime.now(UTC)))
    quality_results.append(settings, [row for report in reports for row in report.rows(published=None)])
    return reports


def judge(settings: Settings, parts: Iterable[TableDay], *, checked_at: datetime) -> Iterator[Report]:
    """One report a day. The days of a table are read in one scan; only what fails is told apart by day."""
    with _suites(settings) as suites:
        for name, days in groupby(sorted(parts, key=lambda p: (p.table, str(p.day))), key=lambda part: part.table):
            yield from _judge_table(suites, settings, name, list(days), checked_at)


def judge_rows(settings: Settings, name: str, rows: pa.Table, *, checked_at: datetime) -> Report:
    """One report about rows that are not written yet, in the table's columns; no rows, nothing to find."""
    checks, run_id = checks_of(name), f"{name}@{checked_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    if not rows.num_rows:
        return Report(name, run_id, checked_at, 0, ())
    with _suites(settings) as suites:
        suites.connection.execute("CREATE TABLE waiting AS FROM rows")
        suites.look_at("FROM waiting", checks)
        held = suites.verdicts(checks, name, days=False)
        key = contracts.table(name).primary_key
        bad = {
            c.name: lake_rules.count_bad(suites.connection, c, key, days=False) for c in checks if not held.get(c.name)
        }
    part = TableDay(name, None, ())
    return Report(name, run_id, checked_at, rows.num_rows, tuple(_result(c, bad.get(c.name), part) for c in checks))


@contextmanager
def _suites(settings: Settings) -> Iterator[LakeSuites]:
    from pipelines.quality import lake_suites

    folder = settings.home / "scratch" / f"quality-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        with lake_suites.opened(folder) as suites:
            yield suites
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge_table(
    suites: LakeSuites, settings: Settings, name: str, parts: Sequence[TableDay], checked_at: datetime
) -> Iterator[Report]:
    checks, kept_by_day = checks_of(name), lake_days.has_days(name)
    table = lake_days.open_at(settings.table_path(name), None)
    columns = _columns(name, table)
    for one in checks:
        if one.refers_to:
            _make_view(suites, settings, one.refers_to[0])
    suites.look_at(rows_sql(name, table, lake_days.files_of(parts), declared=True), checks)
    by_day = "received_date" if kept_by_day else "NULL::DATE"
    rows = dict(suites.connection.execute(f"SELECT {by_day} AS day, count(*) FROM checked GROUP BY day").fetchall())  # noqa: S608
    held = suites.verdicts(checks, name, days=kept_by_day) if columns.passed else {}
    failed = [c for c in checks if not held.get(c.name, False)] if columns.passed else []
    key = contracts.table(name).primary_key
    bad = {c.name: lake_rules.count_bad(suites.connection, c, key, days=kept_by_day) for c in failed}
    for part in parts:
        results = [_result(one, bad.get(one.name), part) for one in checks] if columns.passed else []
        yield Report(
            name, _run_id(part, checked_at), checked_at, rows.get(part.day, 0), (columns, *results), part.day,
            checked_hash(part),
        )  # fmt: skip


def _run_id(part: TableDay, checked_at: datetime) -> str:
    day = "" if part.day is None else f"/{part.day}"
    return f"{part.table}{day}@{checked_at:%Y-%m-%dT%H:%M:%S.%fZ}"


def _make_view(suites: LakeSuites, settings: Settings, name: str) -> None:
    path = settings.table_path(name)
    table = lake_days.open_at(path, None)
    files = [] if table is None else lake_days.files_of(list(lake_days.days(name, table, path)))
    query = rows_sql(name, table, files, declared=True)
    suites.connection.execute(f"CREATE OR REPLACE VIEW {lake_rules.view_of(name)} AS {query}")


def _result(check: Check, bad: Mapping[Any, lake_rules.Bad] | None, part: TableDay) -> Result:
    """Of a check that failed on all days together, what it found on this one."""
    found = (bad or {}).get(part.day)
    if bad is None or (bad and found is None):  # it held, or other days broke it
        return Result(check.name, check.columns, check.severity, True, because=check.because)
    if found is None:  # no row breaks it: it is about the table as a whole, or could not be evaluated
        return Result(check.name, check.columns, check.severity, False, because=check.because)
    return Result(
        check.name, check.columns, check.severity, False, found.rows, found.sample, check.because, found.keys_hash
    )


def _columns(name: str, table: Any) -> Result:
    """Whether the log types every column as declared; one that no file has yet is NULL, which a check may refuse."""
    want = contract_columns(name)
    have = {f.name: str(getattr(f.type, "type", f.type)) for f in table.schema().fields}
    declared = {f.name: {"int": "integer", "json": "string"}.get(f.type, f.type) for f in contracts.table(name).fields}
    wrong = [f"{column} is not declared" for column in have if column not in want]
    wrong += [f"{c} is {have[c]}, declared {declared[c]}" for c in want if c in have and have[c] != declared[c]]
    return Result("columns", tuple(want), STOP, not wrong, because="; ".join(wrong) or None)


def with_reason(one: Verdict) -> Verdict:
    """The verdict with the reason of its check."""
    why = {check.name: check.because for check in checks_of(one.table)}
    return one._replace(because=why.get(one.check))
