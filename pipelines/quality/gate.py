"""Judges a build before readers see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from pipelines import contracts
from pipelines.quality import predicates, suites
from pipelines.quality.checks import STOP, Check, checks_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Reconciliation:
    """One figure by two independent paths: from the build, and straight from its source."""

    name: str
    built: int
    source: int


@dataclass(frozen=True)
class Result:
    """What one check found."""

    name: str
    columns: tuple[str, ...]
    severity: str
    passed: bool
    bad_rows: int = 0
    bad_sample: str = "[]"
    because: str | None = None
    bad_keys_hash: str | None = None


@dataclass(frozen=True)
class Report:
    """All results of one build, or of one day of what stands (``checked_hash`` names its files then)."""

    table: str
    run_id: str
    checked_at: datetime
    checked_rows: int
    results: tuple[Result, ...]
    day: date | None = None
    checked_hash: str | None = None

    @property
    def passed(self) -> bool:
        """True where no check of severity ``stop`` failed."""
        return not any(r.severity == STOP and not r.passed for r in self.results)

    @property
    def failures(self) -> list[Result]:
        """Failed checks, those that stop first."""
        return sorted((r for r in self.results if not r.passed), key=lambda r: (r.severity != STOP, r.name))

    def explain(self) -> str:
        """Each failure in a line: check, number of rows, keys of some, reason."""
        what = self.table if self.day is None else f"{self.table}, day {self.day} (UTC)"
        lines = [f"{what}: {len(self.failures)} of {len(self.results)} checks failed on {self.checked_rows} rows"]
        for r in self.failures:
            why = f" ({r.because})" if r.because else ""
            lines.append(f"  [{r.severity}] {r.name}: {r.bad_rows} rows, e.g. {r.bad_sample}{why}")
        return "\n".join(lines)

    def rows(self, *, published: bool | None) -> list[dict[str, Any]]:
        """Rows for gold.quality_results; ``published`` None where nothing was to be published."""
        return [
            {
                "run_id": self.run_id, "table_name": self.table, "check_name": r.name,
                "check_columns": ", ".join(r.columns), "severity": r.severity, "passed": r.passed,
                "checked_rows": self.checked_rows, "bad_rows": r.bad_rows, "bad_sample": r.bad_sample,
                "published": published, "checked_at": self.checked_at,
                "checked_date": self.day, "checked_hash": self.checked_hash, "bad_keys_hash": r.bad_keys_hash,
            }
            for r in self.results
        ]  # fmt: skip


class GateFailed(Exception):
    """A build broke a check of severity ``stop``; readers keep the version they had. The message names the rows."""

    def __init__(self, report: Report):
        super().__init__(report.explain())
        self.report = report


def judge(
    frame: DataFrame,
    table: str,
    *,
    run_id: str,
    checked_at: datetime,
    reconciliations: Sequence[Reconciliation] = (),
    checks: Sequence[Check] | None = None,
) -> Report:
    """Columns against the contract, then the suite on Great Expectations, then figures by a second path.

    A wrong column ends it there: expectations on a column that isn't there say nothing.
    """
    contract = contracts.table(table)
    columns = _columns(frame, contract)
    if not columns.passed:
        return Report(table, run_id, checked_at, 0, (columns,))
    rows = frame.count()
    wanted = list(checks) if checks is not None else checks_of(table)
    held = suites.verdicts(frame, wanted, table)
    results = [columns, *(_result(frame, c, held.get(c.name, False), contract.primary_key) for c in wanted)]
    results += [_reconciled(r) for r in reconciliations]
    return Report(table, run_id, checked_at, rows, tuple(results))


def _result(frame: DataFrame, check: Check, held: bool, key: tuple[str, ...]) -> Result:
    if held:
        return Result(check.name, check.columns, check.severity, True, because=check.because)
    bad = predicates.bad_rows(frame, check)
    return Result(
        check.name, check.columns, check.severity, False, bad.count(), predicates.sample_keys(bad, key), check.because
    )


def _columns(frame: DataFrame, contract: contracts.Table) -> Result:
    want = {f.name: f.dataType.simpleString() for f in contracts.spark_schema(contract).fields}
    have = {f.name: f.dataType.simpleString() for f in frame.schema.fields}
    wrong = [f"{n} is missing" for n in want if n not in have] + [f"{n} is not declared" for n in have if n not in want]
    wrong += [f"{n} is {have[n]}, declared {want[n]}" for n in want if n in have and have[n] != want[n]]
    return Result("columns", tuple(want), STOP, not wrong, because="; ".join(wrong) or None)


def _reconciled(r: Reconciliation) -> Result:
    because = f"built {r.built}, source {r.source}"
    return Result(r.name, (), STOP, r.built == r.source, abs(r.built - r.source), because=because)
