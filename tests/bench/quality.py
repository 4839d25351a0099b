"""Quality gates: a defect of every check of severity stop, what readers saw, false alarms, and what a day costs.

Every check of severity stop, of every table that gold builds read and of every gold table that a build publishes, gets
a row that breaks it, alone, on a lake of real Delta tables; then gold is published, and two readers look: on DuckDB,
and on a pinned version. Series of days with planted incidents go through the anomaly rules; a day knows its past only.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.spark import sail
from jobs.spark.publishing import publish_checked
from jobs.spark.runner import log_to_console
from jobs.spark.sources import RECORDS, SILVER
from pipelines import contracts
from pipelines.io import spark_delta
from pipelines.quality import anomalies, lake_gate
from pipelines.quality.anomalies import Past
from pipelines.quality.checks import STOP
from tests.bench.customer_360_lake import Size, write_day, write_history
from tests.bench.report_file import merge
from tests.spark.planted import Reader, frame_of, refused_build, refused_columns, refused_figure, refused_input
from tests.unit.quality.day_series import Incident, volumes
from tests.unit.quality.defects import identified, planted
from tests.unit.quality.test_planted_defects import write

REPORT = PROJECT_ROOT / "build" / "reports" / "quality.json"
BUILT = ("gold.customer_360", "gold.customer_tags", "gold.hot_questions")
READ = (*dict.fromkeys((*SILVER, *RECORDS)), "silver.ticket_events", "silver.identity_events", lake_gate.BALANCE)
# Day, days, factor: an outage, a collector of three is left, a load delivered twice, a week of nothing, a surge.
INCIDENTS = [Incident(*one) for one in ((100, 1, 0.0), (150, 3, 0.3), (200, 1, 2.5), (240, 7, 0.0), (330, 1, 4.0))]
console = Console()


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """``--rows``: of the day whose check is timed; ``--only``: one part; ``--quick``: one defect a kind and table."""
    parser = argparse.ArgumentParser(prog="quality", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="messages of the day whose check is timed")
    parser.add_argument("--home", type=Path, default=PROJECT_ROOT / "build" / "quality", help="folder of the lake")
    parser.add_argument("--series", type=int, default=200, help="simulated series of 400 days")
    parser.add_argument(
        "--only", choices=["cost", "anomalies", "defects"], help="one part; the report keeps the others"
    )
    parser.add_argument("--quick", action="store_true", help="one defect a kind and table")
    return parser.parse_args(argv)


def stops(table: str, quick: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, name and row of each check of severity stop that a row can break."""
    kinds = set()
    for check, row in planted(table):
        if check.severity == STOP and not (quick and check.kind in kinds):
            kinds.add(check.kind)
            yield check.kind, check.name, row


def defects(home: Path, quick: bool) -> dict[str, Any]:
    """Each planted alone; how many were, how many stopped publishing by their own check, how many a reader saw."""
    shutil.rmtree(home, ignore_errors=True)
    settings = Settings.load(home=home, port_base=26900)
    for table in READ:
        write(settings, table, [identified(table, 0)])
    cases = [(table, *one) for table in (*BUILT, *READ) for one in stops(table, quick)]
    missed: list[str] = []
    seen = 0
    with sail.sail_session() as spark:
        readers = {}
        for table in BUILT:
            sources = {name: spark_delta.version_of(settings.table_path(name)) for name in READ}
            publish_checked(frame_of(spark, table, [identified(table, 0)]), table, settings, notes={"sources": sources})
            readers[table] = Reader(settings, table)
        for table, _, name, row in track(cases, description="defects", console=console):
            if table in BUILT:
                said, reader = refused_build(spark, settings, table, [identified(table, 0), row]), readers[table]
            else:
                reader = readers["gold.customer_tags"]
                said = refused_input(spark, settings, reader.table, table, row)
            if said is None or f"{name}: " not in said:
                missed.append(f"{table} {name}")
            seen += reader.saw_bad()
        for table in BUILT:
            last = contracts.table(table).fields[-1].name
            for said in (refused_columns(spark, settings, table, last), refused_figure(spark, settings, table)):
                cases.append((table, "columns or figure", "", {}))
                missed += [f"{table} columns or figure"] if said is None else []
                seen += readers[table].saw_bad()
    kinds = sorted({kind for _, kind, _, _ in cases})
    return {"planted": len(cases), "stopped": len(cases) - len(missed), "readers_saw_bad": seen, "missed": missed,
            "kinds": kinds}  # fmt: skip


def series(count: int) -> dict[str, Any]:
    """Days of incidents found, and false alarms a thousand quiet days, over seeded series of 400 days."""
    policy = contracts.policy("quality")["anomalies"]
    told = {"series": count, "incident_days": 0, "found": 0, "quiet_days": 0, "false_alarms": 0}
    for seed in range(count):
        past: dict[Any, Past] = {}
        level, monthly = (200, 2_000, 20_000)[seed % 3], (1.0, 2.0)[seed % 2]
        for day, value, hit in volumes(400, level, INCIDENTS, seed=seed, growth=0.2, monthly=monthly):
            found = anomalies.judge(value, day, past, scale="count", incidents=(), policy=policy)
            past[day] = Past(value, found.anomaly)
            if found.expected is not None:
                told["incident_days" if hit else "quiet_days"] += 1
                told["found" if hit else "false_alarms"] += found.anomaly
    return told


def cost(home: Path, rows: int) -> dict[str, Any]:
    """Seconds and memory of checking a day of so many messages, and of asking again when nothing changed."""
    shutil.rmtree(home, ignore_errors=True)
    settings = Settings.load(home=home, port_base=26900)
    size = Size(customers=max(1000, rows // 25), interactions=rows * 2, days=2, orders=rows // 6)
    write_history(settings, size)
    write_day(settings, size)
    versions = {name: spark_delta.version_of(settings.table_path(name)) for name in dict.fromkeys((*SILVER, *RECORDS))}
    importlib.import_module("pipelines.quality.lake_suites")  # seconds of their own, which a gold build pays anyway
    days = list(lake_gate.parts_of(settings, versions))
    largest = max((p for p in days if p.table == SILVER[0]), key=lambda p: sum(Path(f).stat().st_size for f in p.files))
    day = [part for part in days if part.day in (largest.day, None)]
    began, cpu = time.monotonic(), time.process_time()
    reports = lake_gate.check(settings, day)
    checked_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    lake_gate.check(settings, [part for part in days if part not in day])
    began = time.monotonic()
    lake_gate.require_sound(settings, versions)
    again_s = time.monotonic() - began
    return {
        "day_rows": sum(r.checked_rows for r in reports if r.day), "rows": sum(r.checked_rows for r in reports),
        "day_checked_s": round(checked_s, 2), "day_checked_cpu_s": round(cpu_s, 2), "asked_again_s": round(again_s, 2),
        "checks": sum(len(r.results) for r in reports), "failed": [f.name for r in reports for f in r.failures],
        "rss_mb_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when every defect stopped publishing and no reader saw one."""
    args = parse_args(argv)
    log_to_console()
    figures: dict[str, Any] = {}
    if args.only in (None, "cost"):
        figures |= {"cost": cost(args.home / "cost", args.rows)}
    if args.only in (None, "anomalies"):
        figures |= {"anomalies": series(args.series)}
    if args.only in (None, "defects"):
        figures |= defects(args.home / "defects", args.quick)
    figures = merge(REPORT, figures)
    table = Table("figure", "value", title="Quality gates", box=None)
    for name in ("planted", "stopped", "readers_saw_bad"):
        table.add_row(name.replace("_", " "), f"{figures.get(name, 0):,}")
    for group in ("anomalies", "cost"):
        for name, value in figures.get(group, {}).items():
            table.add_row(f"{group}: {name.replace('_', ' ')}", str(value))
    console.print(table)
    console.print(*[f"[red]missed[/] {name}" for name in figures.get("missed", ())], sep="\n")
    shutil.rmtree(args.home, ignore_errors=True)
    good = figures.get("planted") == figures.get("stopped") and not figures.get("readers_saw_bad")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
