"""gold.customer_360 of 200,000 customers and 5 million messages: in full, by one Spark SQL statement, and a day more.

``python -m tests.bench.customer_360 [--customers N]`` makes a lake, builds it in full with our job and with the peer
(customer_360_full.sql, in the same session settings), adds a day and builds that incrementally and, for the proof, in
full again. Every build is a process of its own, timed from start to end. The views must be equal, cell by cell. Figures
go into build/reports/customer_360.json beside the look-up's (`tests.bench.customer_lookup`).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from infra.stack import ports
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines import contracts
from pipelines.io.duckdb_lake import view_sql
from tests.bench.bench_report import machine
from tests.bench.customer_360_lake import Size, write_day, write_history
from tests.bench.figures import ratio
from tests.bench.report_file import merge

REPORT = PROJECT_ROOT / "build" / "reports" / "customer_360.json"
SQL = Path(__file__).with_name("customer_360_full.sql")
TABLE = "gold.customer_360"
RESTATEMENTS = "gold.restatements"
NOT_COMPARED = {"restated_at"}  # the clock
TARGETS = (("incremental_share", 0.2),)
console = Console()


def main(argv: list[str] | None = None) -> int:
    """Measure, write, print; 1 if the views differ or the day costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)  # one build by the peer, in this process
    parser.add_argument("--as-of", type=datetime.fromisoformat, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.peer:
        return peer(Settings.load(), args.as_of)
    before, size = machine(), sized(args.customers)
    home = PROJECT_ROOT / "build" / "customer_360"
    shutil.rmtree(home, ignore_errors=True)
    try:
        made, wrong = measured(Settings.load(home, ports.free_base(24_000)), size)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    merge(REPORT, made | {"customer_360_machine": before})
    show(made)
    for what in wrong:
        console.print(f"[red]WRONG[/] {what}", highlight=False)
    return 1 if wrong or any(made[name] > bound for name, bound in TARGETS) else 0


def sized(customers: int) -> Size:
    """A smaller lake has the same shape."""
    whole = Size()
    return Size(customers, customers * whole.interactions // whole.customers, whole.days, customers * 2, whole.seed)


def measured(settings: Settings, size: Size) -> tuple[dict[str, Any], list[str]]:
    """The builds one after the other, and what is wrong with them."""
    console.print(f"a lake of {size.interactions:,} messages of {size.customers:,} customers …")
    write_history(settings, size)
    until, day = size.until_at.isoformat(), (size.until_at + timedelta(days=1)).isoformat()
    ours = ["jobs.spark.customer_360", "--as-of"]
    full = built(settings, "in full", [*ours, until])
    peers = built(settings, "Spark SQL", ["tests.bench.customer_360", "--peer", "--as-of", until])
    wrong = different(TABLE, settings.table_path(TABLE), settings.home / "peer", "the peer's view")
    write_day(settings, size)
    gold, before, after = settings.table_path(TABLE).parent, settings.home / "before", settings.home / "incremental"
    shutil.copytree(gold, before)
    increment = built(settings, "a day more", [*ours, day])
    gold.rename(after)
    before.rename(gold)  # from the same build, so that both say what the day makes of its figures
    again = built(settings, "that in full", [*ours, day, "--full"])
    for table in (TABLE, RESTATEMENTS):
        one, other = (root / table.split(".")[1] for root in (gold, after))
        wrong += different(table, one, other, f"{table} of the increment")
    return {
        "ratio_to_full_sql": ratio(full, peers),
        "incremental_share": ratio(increment, again),
        "customers": size.customers,
        "interactions": size.interactions,
        "build_s": {"full": full, "spark_sql": peers, "incremental": increment, "full_after": again},
    }, wrong


def built(settings: Settings, name: str, module: list[str]) -> float:
    """Seconds of one build as a process of its own, with the session's start."""
    place = {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    began = time.monotonic()
    ran = subprocess.run([sys.executable, "-m", *module], env=os.environ | place, capture_output=True, text=True)
    took = time.monotonic() - began
    if ran.returncode:
        raise RuntimeError(f"the build {name!r} failed:\n{ran.stdout[-1500:]}\n{ran.stderr[-3000:]}")
    for line in ran.stderr.splitlines():
        if "incremental build" in line or "full build" in line:
            console.print(f"  {line.split(': ', 1)[-1]}", highlight=False)
    console.print(f"{name}: {took:.1f} s", highlight=False)
    return round(took, 1)


def peer(settings: Settings, as_of_at: datetime) -> int:
    """The same view by one statement, in the session our jobs have, written to a Delta table of its own."""
    from jobs.spark.session import spark_session
    from jobs.spark.sources import silver_row_count
    from pipelines.io import spark_delta

    spark = spark_session("peer", settings, rows=silver_row_count(settings))
    for name in ("interactions", "feedback", "customers", "orders", "identity_links"):
        path, table = settings.table_path(f"silver.{name}"), f"silver.{name}"
        read = spark_delta.read(spark, path, table, spark_delta.version_of(path))
        read.createOrReplaceTempView("links" if name == "identity_links" else name)
    contacts, tiers = contracts.policy("gold")["contacts"], contracts.policy("value_tiers")
    given = {
        "as_of_at": f"TIMESTAMP '{as_of_at.isoformat()}'", "contact_days": contacts["window_days"],
        "value_days": tiers["window_days"], "gap_s": contacts["session_gap_s"],
        "repeat_days": contacts["repeat_within_days"],
    }  # fmt: skip
    statement = re.sub(r":(\w+)", lambda found: str(given[found[1]]), _without_comments(SQL))
    spark.sql(statement).coalesce(1).write.format("delta").save(str(settings.home / "peer"))
    spark.stop()
    return 0


def _without_comments(file: Path) -> str:
    return "\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("--"))


def different(table: str, ours: Path, theirs: Path, what: str) -> list[str]:
    """How many rows differ in the columns both have; nothing where none does."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        frames = [connection.sql(view_sql(table, path)[0]) for path in (ours, theirs)]
        shared = ", ".join(c for c in frames[0].columns if c in frames[1].columns and c not in NOT_COMPARED)
        one, other = (frame.project(shared) for frame in frames)
        counts = [a.except_(b).aggregate("count(*)").fetchall()[0][0] for a, b in ((one, other), (other, one))]
    return [f"{what}: {counts[0]} rows of ours are not in it, {counts[1]} of its are not ours"] if any(counts) else []


def show(made: dict[str, Any]) -> None:
    """The builds, and how they stand to each other."""
    table = Table(title=f"gold.customer_360: {made['customers']:,} customers, {made['interactions']:,} messages")
    table.add_column("build")
    table.add_column("seconds", justify="right")
    for name, took in made["build_s"].items():
        table.add_row(name.replace("_", " "), f"{took:.1f}")
    console.print(table)
    for name in ("ratio_to_full_sql", "incremental_share"):
        console.print(f"{name}: {made[name]}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
