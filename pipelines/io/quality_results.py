"""gold.quality_results and gold.quality_acceptances: what was checked and found, and what was accepted all the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import delta_upkeep
from pipelines.io.delta_upkeep import Upkeep
from pipelines.io.duckdb_lake import view_sql
from pipelines.io.spark_delta import append_rows

RESULTS, ACCEPTANCES = "gold.quality_results", "gold.quality_acceptances"
# Each check appends a small file; from so many on they are merged, or reading them would cost more than the checks.
_MERGE_FROM_FILES = 48


class Verdict(NamedTuple):
    """A check of severity stop that failed on a day (None: on a table without days)."""

    table: str
    day: date | None
    run_id: str
    check: str
    bad_rows: int
    bad_sample: str
    bad_keys_hash: str | None
    because: str | None = None


def append(settings: Settings, rows: list[dict[str, Any]]) -> None:
    """Rows of gold.quality_results in one commit; none, no commit."""
    _append(settings, RESULTS, rows)


def accept(settings: Settings, row: Mapping[str, Any]) -> None:
    """One row of gold.quality_acceptances."""
    _append(settings, ACCEPTANCES, [dict(row)])


def verdicts(settings: Settings, hashes: Collection[str]) -> dict[str, list[Verdict]]:
    """By hash of what was checked, the stops that failed when it was checked last; a hash never checked is missing."""
    query, files = _view(settings, RESULTS)
    if not files or not hashes:
        return {}
    found: dict[str, list[Verdict]] = {}
    with _connection() as connection:
        connection.register("wanted", pa.table({"checked_hash": pa.array(sorted(hashes), pa.string())}))
        rows = connection.execute(
            "SELECT checked_hash, table_name, checked_date, run_id, check_name, bad_rows, bad_sample, bad_keys_hash, "  # noqa: S608
            f"passed OR severity = 'warn' FROM ({query}) SEMI JOIN wanted USING (checked_hash) "
            "QUALIFY checked_at = max(checked_at) OVER (PARTITION BY checked_hash) ORDER BY run_id, check_name"
        ).fetchall()
    for checked_hash, table, day, run_id, check, bad_rows, sample, keys, sound in rows:
        failed = found.setdefault(checked_hash, [])
        if not sound:
            failed.append(Verdict(table, day, run_id, check, bad_rows, sample, keys))
    return found


def not_accepted(settings: Settings, failed: Sequence[Verdict]) -> list[Verdict]:
    """Those of the failed checks that nobody accepted for the very rows that break them."""
    if not failed:
        return []
    query, files = _view(settings, ACCEPTANCES)
    if not files:
        return list(failed)
    with _connection() as connection:
        rows = connection.execute(
            f"SELECT table_name, checked_date, check_name, bad_rows, bad_keys_hash FROM ({query})"  # noqa: S608
        ).fetchall()
    accepted = set(rows)
    return [v for v in failed if (v.table, v.day, v.check, v.bad_rows, v.bad_keys_hash) not in accepted]


def failed_result(settings: Settings, run_id: str, check_name: str) -> dict[str, Any] | None:
    """The row of a check that failed; None where there is none."""
    found = read(settings, "run_id = $run AND check_name = $check AND NOT passed", {"run": run_id, "check": check_name})
    return found[0] if found else None


def read(
    settings: Settings, where: str = "true", parameters: Mapping[str, Any] | None = None, *, table: str = RESULTS
) -> list[dict[str, Any]]:
    """Rows of a table of results, the newest first; ``where`` with its values as parameters."""
    query, files = _view(settings, table)
    if not files:
        return []
    newest = {RESULTS: "checked_at", ACCEPTANCES: "accepted_at"}.get(table, "computed_at")
    with _connection() as connection:
        asked = f"FROM ({query}) WHERE {where} ORDER BY {newest} DESC"
        return connection.sql(asked, params=dict(parameters or {})).to_arrow_table().to_pylist()


def append_to(settings: Settings, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows of another table of results in one commit."""
    _append(settings, table, [dict(row) for row in rows])


def _append(settings: Settings, table: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    path = settings.table_path(table)
    append_rows(path, table, rows)
    if len(DeltaTable(str(path)).file_uris()) >= _MERGE_FROM_FILES:
        # Fenced as every merge: beside the daily upkeep delta-rs's own would leave each row there twice.
        delta_upkeep.compact(path, replace(Upkeep.of(contracts.policy("tiering")["upkeep"]), rest_factor=0))


def _view(settings: Settings, table: str) -> tuple[str, list[str]]:
    path = settings.table_path(table)
    return view_sql(table, path if DeltaTable.is_deltatable(str(path)) else None)


def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection
