"""Figures of a day by table and channel, beside what its past lets expect: gold.quality_metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import duckdb

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import lake_days, quality_results
from pipelines.io.duckdb_lake import rows_sql
from pipelines.io.lake_days import TableDay
from pipelines.quality import anomalies
from pipelines.quality.anomalies import Past

TABLE = "gold.quality_metrics"
# Metric: scale, the columns it needs beside channel, and what it is over the rows of a channel and day.
METRICS = {
    "rows": ("count", (), "count(*)"),
    "share_linked": ("share", ("identity_status",), "avg(CAST(identity_status = 'linked' AS INT))"),
    "mean_response_s": ("mean", ("response_time_corrected_s",), "avg(response_time_corrected_s)"),
    "mean_score_share": ("share", ("score_corrected",), "avg(score_corrected / score_scale_max)"),
}
# A share of few rows is chance.
_MIN_ROWS = 30


class Figure(NamedTuple):
    """One figure of a day."""

    table: str
    channel: str
    day: date
    metric: str
    value: float


def note(
    settings: Settings,
    parts: Sequence[TableDay],
    *,
    tables: Iterable[str],
    tested: Iterable[date],
    computed_at: datetime,
) -> list[str]:
    """Measures days that are over, writes what was found, and gives a line for each figure that is unusual.

    A channel that was there within the window and has no row on a tested day has the figure 0.
    """
    policy = contracts.policy("quality")
    over = {day for day in tested if day < computed_at.date()}
    measured = [figure for figure in measure(settings, parts) if figure.day in over]
    past = history(settings)
    figures = [*measured, *silent(past, measured, sorted(over), tables, policy["anomalies"]["window_days"])]
    rows, lines = [], []
    for figure in sorted(figures, key=lambda f: (f.day, f)):
        series = past[figure.table, figure.channel, figure.metric]
        days = incidents(policy["incidents"], figure.table, figure.channel)
        found = anomalies.judge(
            figure.value, figure.day, series, scale=METRICS[figure.metric][0], incidents=days,
            policy=policy["anomalies"],
        )  # fmt: skip
        series[figure.day] = Past(figure.value, found.anomaly)
        rows.append(_row(figure, found, computed_at))
        if found.anomaly:
            lines.append(
                f"{figure.table} {figure.day} {figure.channel}: {figure.metric} {figure.value:,.4g}, expected about "
                f"{found.expected:,.4g} ({found.samples} days; {found.deviation:+.1f} deviations)"
            )
    quality_results.append_to(settings, TABLE, rows)
    return lines


def unmeasured(settings: Settings, parts: Sequence[TableDay]) -> list[TableDay]:
    """Days of tables of which no figure was ever written; tables without channels have none."""
    there = {(table, day) for (table, _, _), days in history(settings).items() for day in days}
    wanted = [part for part in parts if part.day is not None and "channel" in _columns(part.table)]
    return [part for part in wanted if (part.table, part.day) not in there]


def measure(settings: Settings, parts: Sequence[TableDay]) -> Iterator[Figure]:
    """The figures of days of tables kept by day that name a channel."""
    by_table: dict[str, list[TableDay]] = defaultdict(list)
    for part in parts:
        if part.day is not None and "channel" in _columns(part.table):
            by_table[part.table].append(part)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, days in by_table.items():
            table = lake_days.open_at(settings.table_path(name), None)
            metrics = {m: sql for m, (_, needs, sql) in METRICS.items() if set(needs) <= _columns(name)}
            query = rows_sql(name, table, lake_days.files_of(days), declared=True)
            listed = ", ".join(metrics.values())
            for channel, day, count, *values in connection.execute(
                f"SELECT channel, received_date, count(*), {listed} FROM ({query}) "  # noqa: S608
                "WHERE channel IS NOT NULL GROUP BY ALL"
            ).fetchall():
                for metric, value in zip(metrics, values, strict=True):
                    if value is not None and (metric == "rows" or count >= _MIN_ROWS):
                        yield Figure(name, channel, day, metric, float(value))


def silent(
    past: Mapping[tuple[str, str, str], Mapping[date, Past]],
    measured: Sequence[Figure],
    over: Sequence[date],
    tables: Iterable[str],
    window_days: int,
) -> Iterator[Figure]:
    """No rows, on a day that is over, of a channel that had some within the window before it.

    >>> past = {("t", "app", "rows"): {date(2026, 1, 1): Past(5.0)}}
    >>> [(f.channel, f.value) for f in silent(past, [], [date(2026, 1, 2)], ["t"], 84)]
    [('app', 0.0)]
    >>> list(silent(past, [], [date(2026, 9, 1)], ["t"], 84))
    []
    >>> past["t", "app", "rows"][date(2026, 1, 2)] = Past(0.0)  # it was told of already
    >>> list(silent(past, [], [date(2026, 1, 2)], ["t"], 84))
    []
    """
    seen: dict[tuple[str, str], set[date]] = defaultdict(set)
    known: dict[tuple[str, str], set[date]] = defaultdict(set)
    for (table, channel, metric), series in past.items():
        if metric == "rows":
            seen[table, channel] |= {day for day, one in series.items() if one.value}
            known[table, channel] |= series.keys()
    for figure in measured:
        seen[figure.table, figure.channel].add(figure.day)
    for (table, channel), days in seen.items():
        for day in over:
            before = any(day - timedelta(days=window_days) <= one < day for one in days)
            if table in tables and day not in days | known[table, channel] and before:
                yield Figure(table, channel, day, "rows", 0.0)


def history(settings: Settings) -> defaultdict[tuple[str, str, str], dict[date, Past]]:
    """By table, channel and metric the figures known of each day; what was computed last counts."""
    found: defaultdict[tuple[str, str, str], dict[date, Past]] = defaultdict(dict)
    for row in quality_results.read(settings, table=TABLE):  # the newest first
        series = found[row["table_name"], row["channel"], row["metric"]]
        series.setdefault(row["metric_date"], Past(row["metric_value"], row["anomaly"]))
    return found


def incidents(declared: Iterable[Mapping[str, Any]], table: str, channel: str) -> set[date]:
    """Days declared to be no measure, for a table and channel.

    >>> sale = {"from": date(2026, 11, 11), "to": date(2026, 11, 12), "channels": ["app"]}
    >>> sorted(day.day for day in incidents([sale], "t", "app")), incidents([sale], "t", "phone")
    ([11, 12], set())
    """
    days: set[date] = set()
    for one in declared:
        if table in one.get("tables", [table]) and channel in one.get("channels", [channel]):
            days |= {one["from"] + timedelta(days=n) for n in range((one["to"] - one["from"]).days + 1)}
    return days


def _columns(table: str) -> set[str]:
    return {field.name for field in contracts.table(table).fields}


def _row(figure: Figure, found: anomalies.Judged, computed_at: datetime) -> dict[str, Any]:
    return {
        "table_name": figure.table, "channel": figure.channel, "metric_date": figure.day, "metric": figure.metric,
        "metric_value": figure.value, "expected_value": found.expected, "deviation": found.deviation,
        "anomaly": found.anomaly, "sample_count": found.samples, "computed_at": computed_at,
    }  # fmt: skip
