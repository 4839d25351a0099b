"""Real conversations, complaints, reviews and tickets through the whole way: ``make real-data``.

Four public data sets become wire forms of their channels, are played into Kafka, cleaned by the Flink job, tiered into
Delta and built into gold. Every source line must become one event; the balance must close to the row; a second replay
of the conversations must add exactly as many duplicates. Writes build/reports/real_data.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines.io import duckdb_lake
from tests.bench.real_wire_forms import SETS, data_folder, write_ndjson
from tests.bench.scratch_stack import kefulake, scratch_stack

REPORT = PROJECT_ROOT / "build" / "reports" / "real_data.json"
OUTPUTS = {
    "kept": ("silver.interactions", "silver.feedback", "silver.ticket_events", "silver.customers", "silver.orders"),
    "rejected": ("quarantine.rejects",),
    "in_review": ("review.queue",),
    "duplicate": ("quarantine.duplicates",),
}
WAIT_S = 600
console = Console()


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when every expectation holds."""
    parser = argparse.ArgumentParser(prog="real_data", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the stack's folder build/real-data in place")
    args = parser.parse_args(argv)
    data_folder()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, scratch_stack("real-data", keep=args.keep) as settings:
        console.print("deploying clean_interactions")
        kefulake("deploy", "clean_interactions")
        report = {"sets": {}, "checks": []}
        for name, real in SETS.items():
            file = Path(folder) / f"{name}.ndjson"
            lines = write_ndjson(name, file)
            took_s = play(settings, file, real.channel, lines)
            report["sets"][name] = {"lines": lines, **counts(settings, real.channel), "seconds": round(took_s, 1)}
            console.print(f"{name}: {report['sets'][name]}")
        console.print("chat_jd once more: every line is now a duplicate")
        play(settings, Path(folder) / "chat_jd.ndjson", "web_chat", 12_136)
        report["chat_jd_second_replay"] = counts(settings, "web_chat")
        report["chat_jd_sessions"] = chat_figures(settings)
        for job in ("customer_360", "hot_questions"):
            console.print(f"building gold.{job}")
            subprocess.run([sys.executable, "-m", f"jobs.spark.{job}"], cwd=PROJECT_ROOT, check=True, timeout=900)
        report["gold"] = {
            t: one(settings, f"SELECT count(*) FROM {t}") for t in ("gold.customer_360", "gold.hot_questions")
        }
        report["balance"] = balance(settings)
    report["checks"] = expectations(report)
    report["seconds"] = round(time.monotonic() - began, 1)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return show(report)


def play(settings: Settings, file: Path, channel: str, lines: int) -> float:
    """Replay a file and wait until each of its lines stands in an output; the seconds that took."""
    before = total(settings)
    began = time.monotonic()
    kefulake("replay", str(file), "--channel", channel, "--speed", "max")
    while (now := total(settings)) < before + lines:
        if time.monotonic() > began + WAIT_S:
            raise TimeoutError(f"{file.name}: {now - before} of {lines} lines reached an output within {WAIT_S} s")
        time.sleep(1)
    return time.monotonic() - began


def total(settings: Settings) -> int:
    """Rows over all outputs."""
    tables = [t for group in OUTPUTS.values() for t in group if settings.table_path(t).exists()]
    return sum(one(settings, f"SELECT count(*) FROM {t}") for t in tables)


def one(settings: Settings, sql: str) -> int:
    """The single number a statement answers with."""
    return next(iter(duckdb_lake.ask(settings.lake, sql).rows))[0]


def counts(settings: Settings, channel: str) -> dict[str, int]:
    """Rows of one channel by outcome."""
    return {
        outcome: sum(
            one(settings, f"SELECT count(*) FROM {t} WHERE raw_topic = 'raw.{channel}'")
            for t in tables
            if settings.table_path(t).exists()
        )
        for outcome, tables in OUTPUTS.items()
    }


def chat_figures(settings: Settings) -> dict[str, int]:
    """Sessions and turns of the conversations, from silver."""
    where = "FROM silver.interactions WHERE raw_topic = 'raw.web_chat'"
    return {
        "sessions": one(settings, f"SELECT count(DISTINCT session_id) {where}"),
        "customer_turns": one(settings, f"SELECT count(*) {where} AND sender_role = 'customer'"),
        "agent_turns": one(settings, f"SELECT count(*) {where} AND sender_role = 'agent'"),
    }


def balance(settings: Settings) -> dict[str, int]:
    """The equation by two anti-joins over all coordinates, written here apart from the product's own."""
    coordinates = "raw_topic, raw_partition, raw_offset"
    union = " UNION ALL ".join(
        f"SELECT {coordinates} FROM {t}" for g in OUTPUTS.values() for t in g if settings.table_path(t).exists()
    )
    return {
        "received": one(settings, "SELECT count(*) FROM bronze.raw_events"),
        "in_outputs": one(settings, f"SELECT count(*) FROM ({union})"),
        "missing": one(settings, f"SELECT count(*) FROM bronze.raw_events ANTI JOIN ({union}) USING ({coordinates})"),
        "unknown": one(settings, f"SELECT count(*) FROM ({union}) ANTI JOIN bronze.raw_events USING ({coordinates})"),
        "twice": one(
            settings,
            f"SELECT count(*) FROM (SELECT {coordinates} FROM ({union}) GROUP BY {coordinates} HAVING count(*) > 1)",
        ),
    }


def expectations(report: dict) -> list[tuple[str, int, int]]:
    """(what, expected, seen): the counts are those of the data sets' own description."""
    lines = sum(real.lines for real in SETS.values())
    first, again = report["sets"]["chat_jd"], report["chat_jd_second_replay"]
    figures, equation = report["chat_jd_sessions"], report["balance"]
    checks = [
        (f"{name}: every line one event", SETS[name].lines, sum(got[o] for o in OUTPUTS))
        for name, got in report["sets"].items()
    ]
    return [
        *checks,
        ("chat_jd kept", 12_136, first["kept"]),
        ("chat_jd sessions", 994, figures["sessions"]),
        ("chat_jd customer turns", 6_107, figures["customer_turns"]),
        ("chat_jd agent turns", 6_029, figures["agent_turns"]),
        ("second replay: kept stays", 12_136, again["kept"]),
        ("second replay: duplicates added", 12_136, again["duplicate"] - first["duplicate"]),
        ("balance: received", lines + 12_136, equation["received"]),
        ("balance: in outputs", equation["received"], equation["in_outputs"]),
        *[(f"balance: {name}", 0, equation[name]) for name in ("missing", "unknown", "twice")],
    ]


def show(report: dict) -> int:
    """The table for people; 1 where an expectation failed."""
    table = Table("expectation", "expected", "seen", "", title="real data through the whole way")
    for what, expected, seen in report["checks"]:
        table.add_row(what, f"{expected:,}", f"{seen:,}", "ok" if expected == seen else "[red]DIFFERS[/]")
    console.print(table)
    console.print(f"{REPORT.relative_to(PROJECT_ROOT)} written; {report['seconds']} s in all")
    return int(any(expected != seen for _, expected, seen in report["checks"]))


if __name__ == "__main__":
    sys.exit(main())
