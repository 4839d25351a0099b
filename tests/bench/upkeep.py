"""A week of the stream's small files with the upkeep and without it: what a query costs, day by day.

``python -m tests.bench.upkeep`` writes the same commits (simulated time) into two lakes; one is kept as the tiering
service keeps it (an hour's commits a round, where the service looks every minute), the other is not. At the end of each
day both answer the same queries in turn, through the reader behind ``kefulake query``. At the end the daily
``kefulake maintain`` keeps the neglected lake as well. Report: ``build/reports/upkeep.json`` and ``upkeep.svg``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from deltalake import DeltaTable
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from infra.stack.files import write_json
from infra.stack.settings import PROJECT_ROOT, Ports, Settings
from pipelines import contracts
from pipelines.io import delta_upkeep, duckdb_lake
from pipelines.io.delta_upkeep import Upkeep
from pipelines.io.lake_upkeep import keep_lake
from tests.bench.upkeep_week import TABLE, Scale, Week

REPORTS = PROJECT_ROOT / "build" / "reports"
WITH, WITHOUT = "with upkeep", "without"
START = datetime(2026, 1, 5, tzinfo=UTC)
GROWTH_LIMIT = 2.0  # day 7 beside day 1, CPU time, kept lake; the lake not kept grew sixfold at a commit a minute

QUERIES = ("last_hour_by_channel", "one_customers_contacts")


def queries(week: Week) -> dict[str, str]:
    """What a wallboard asks (the last hour by channel) and what an agent asks (one customer's last contacts)."""
    since = f"TIMESTAMPTZ '{week.now:%Y-%m-%d %H:%M:%S}+00' - INTERVAL 1 HOUR"
    statements = (
        f"SELECT channel, count(*) AS n FROM {TABLE} WHERE received_at >= {since} GROUP BY ALL ORDER BY 1",
        f"SELECT occurred_at, channel, text FROM {TABLE} WHERE customer_id = 'c_000042' "
        "ORDER BY occurred_at DESC, event_id LIMIT 50",
    )
    return dict(zip(QUERIES, statements, strict=True))


def keep_hourly(path: Path, keep: Upkeep, week: Week) -> None:
    """As the tiering service between commits; without rests, since nothing else runs.

    Log entries past their retention in simulated time are made as old by the clock, so that they go as they would.
    """
    while delta_upkeep.compact(path, keep):
        pass
    kept = timedelta(hours=contracts.policy("tiering")["upkeep"]["log_retention_hours"])
    week.age_log(path, week.now - kept, old_s=2 * kept.total_seconds())
    delta_upkeep.checkpoint(path, keep)


def seconds(call: Callable[[], object]) -> tuple[float, float, object]:
    """CPU time of a call over all its threads, wall time, and what it gave.

    The ratios are those of CPU time: it says the same on a busy machine.
    """
    began, spent = time.perf_counter(), time.process_time()
    found = call()
    return time.process_time() - spent, time.perf_counter() - began, found


def look(lakes: dict[str, Path], week: Week, repeats: int) -> dict[str, dict]:
    """Medians of open and queries, the sides in turn. Raises ValueError where the two answer differently."""
    took: dict[str, dict[str, list[float]]] = {side: defaultdict(list) for side in lakes}
    asked = {name: partial(_answer, sql=sql) for name, sql in queries(week).items()}
    for _ in range(repeats):
        for name, call in {**asked, "open": _open}.items():
            answers = {}
            for side, lake in lakes.items():
                cpu_s, wall_s, answers[side] = seconds(partial(call, lake))
                took[side][f"{name}_cpu_s"].append(cpu_s)
                took[side][f"{name}_wall_s"].append(wall_s)
            if name != "open" and answers[WITH] != answers[WITHOUT]:
                raise ValueError(f"{name}: the two lakes answer differently at {week.now}")
    shape = {side: DeltaTable(lake.joinpath(*TABLE.split("."))) for side, lake in lakes.items()}
    return {
        side: {name: round(statistics.median(values), 4) for name, values in each.items()}
        | {"files": len(shape[side].file_uris()), "log_entries": _log_entries(lakes[side])}
        for side, each in took.items()
    }


def _answer(lake: Path, sql: str) -> list:
    return list(duckdb_lake.ask(lake, sql).rows)


def _open(lake: Path) -> DeltaTable:
    return DeltaTable(lake.joinpath(*TABLE.split(".")))


def _log_entries(lake: Path) -> int:
    return sum(1 for _ in lake.joinpath(*TABLE.split("."), "_delta_log").glob("0*.json"))


def run(home: Path, scale: Scale, repeats: int) -> dict:
    """The whole week; see the module."""
    lakes = {WITH: home / "with" / "lake", WITHOUT: home / "without" / "lake"}
    week = Week(list(lakes.values()), scale, START)
    keep = replace(Upkeep.of(contracts.policy("tiering")["upkeep"]), rest_factor=0)
    a_round = max(1, scale.commits_a_day // 24)
    days, upkeep_s = [], 0.0
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("commits", total=scale.days * scale.commits_a_day)
        for _ in range(scale.days):
            for nth in range(scale.commits_a_day):
                week.commit()
                progress.advance(task)
                if (nth + 1) % a_round == 0:
                    upkeep_s += seconds(partial(keep_hourly, lakes[WITH].joinpath(*TABLE.split(".")), keep, week))[0]
            days.append(look(lakes, week, repeats))
    settings = Settings(home / "without", Ports(20_000))
    now = week.now
    (kept,) = keep_lake(settings, tables=[TABLE], today=now.date(), now=now)
    if kept.error:
        raise RuntimeError(kept.error)
    mended = {"seconds": round(kept.seconds, 1), "files_before": kept.before.files, "files_after": kept.after.files}
    mended |= look(lakes, week, repeats)[WITHOUT]
    return {
        "simulated": {
            "days": scale.days, "commit_every_s": scale.commit_every_s, "rows_a_commit": scale.rows,
            "commits": week.commits, "rows": week.commits * scale.rows, "repeats": repeats,
            "upkeep": "once in a simulated hour; the service looks once a minute",
        },
        "days": days,
        "upkeep_cpu_s": round(upkeep_s, 1),
        "ratio_day_last_to_first": {side: _growth(days, side) for side in lakes},
        "maintain_on_the_neglected_lake": mended,
    }  # fmt: skip


def _growth(days: list[dict], side: str) -> dict[str, float]:
    measured = [name for name in days[0][side] if name.endswith("_cpu_s")]
    return {name: round(days[-1][side][name] / days[0][side][name], 2) for name in measured}


def draw(report: dict, path: Path) -> None:
    """Query time by day, both sides, as SVG."""
    import leather

    chart = leather.Chart("One customer's contacts: CPU seconds of the query, by day of the stream")
    for side, colour in ((WITHOUT, "#d62728"), (WITH, "#1f77b4")):
        points = [(n, day[side]["one_customers_contacts_cpu_s"]) for n, day in enumerate(report["days"], start=1)]
        chart.add_line(points, stroke_color=colour, name=side)
    chart.add_x_axis(name="day")
    chart.add_y_axis(name="CPU seconds")
    chart.to_svg(str(path))


def show(report: dict) -> Table:
    """The week as a table."""
    told = report["simulated"]
    grid = Table(title=f"{told['commits']:,} commits, {told['rows']:,} rows in {told['days']} simulated days")
    names = [f"{what}_{clock}_s" for what in ("open", *QUERIES) for clock in ("cpu", "wall")]
    names = ["files", *names]
    for column in ("day", "side", *names):
        grid.add_column(column.replace("_", " "), justify="left" if column == "side" else "right")
    for side in (WITH, WITHOUT):
        for nth, day in enumerate(report["days"], start=1):
            grid.add_row(str(nth), side, *(f"{day[side][name]:,}" for name in names))
        grid.add_section()
    return grid


def main(argv: list[str] | None = None) -> int:
    """Prints and writes the figures."""
    parser = argparse.ArgumentParser(prog="upkeep", description=__doc__)
    parser.add_argument("--days", type=int, default=Scale.days)
    parser.add_argument("--commit-every-s", type=int, default=Scale.commit_every_s)
    parser.add_argument("--rows", type=int, default=Scale.rows, help="rows a commit")
    parser.add_argument("--repeats", type=int, default=3, help="of each query; the median counts")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kefulake-upkeep-") as home:
        report = run(Path(home), Scale(args.days, args.commit_every_s, args.rows), args.repeats)
    Console(width=110).print(show(report))
    REPORTS.mkdir(parents=True, exist_ok=True)
    write_json(REPORTS / "upkeep.json", report)
    draw(report, REPORTS / "upkeep.svg")
    Console().print(
        {k: report[k] for k in ("ratio_day_last_to_first", "maintain_on_the_neglected_lake", "upkeep_cpu_s")}
    )
    return 0 if max(report["ratio_day_last_to_first"][WITH].values()) <= GROWTH_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
