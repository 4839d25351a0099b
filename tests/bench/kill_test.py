"""Nothing lost, nothing twice: ``kill -9`` at random over the parts, while events flow and files are rearranged.

``python -m tests.bench.kill_test`` (a million events, twenty kills) runs the whole way: broker, Flink, tiering service,
serving writer, MariaDB, and for the second half a second tiering service on the same tables. ``--scope tiering`` runs
broker and tiering alone. The test only kills: the product's own supervisor heals. Prints a certificate and writes
build/reports/kill_test.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from deltalake import DeltaTable
from rich.table import Table

from infra.stack import lifecycle
from infra.stack.settings import PROJECT_ROOT, Settings
from tests.bench.kill_flow import await_served, await_status, served_keys
from tests.bench.kill_parts import RECOVERY_LIMIT_S, Kill, Killer, Second, busy_policies, console

REPORT = PROJECT_ROOT / "build" / "reports" / "kill_test.json"
SCOPES = {
    "tiering": ["kafka", "tiering"],
    "full": ["kafka", "flink-jobmanager", "flink-taskmanager", "mariadb", "tiering", "serving-writer"],
}
# Run beside them, but the list of victims does not name them.
ALSO = {"tiering": [], "full": ["job-keeper", "balance"]}
ROUND_ROWS = 5_000
TRICKLE_ROWS = 100
RAW_TOPICS = ("raw.web_chat", "raw.app", "raw.phone", "raw.wechat")


def run(settings: Settings, scope: str, events: int, kills: int, seed: int) -> dict:
    """Traffic, kills, draining, and the comparison with the truth."""
    from tests.bench.lake_truth import compare

    traffic, sent = traffic_of(settings, scope, seed), 0
    second = Second(settings)
    killer = Killer(settings, SCOPES[scope], kills, seed, lambda: min(1, sent / events), second)
    began = time.monotonic()
    killer.start()
    while sent < events or killer.is_alive():
        ahead = killer.is_alive() and sent >= events * (len(killer.kills) + 1) / (kills + 1)
        rows = TRICKLE_ROWS if ahead else min(ROUND_ROWS, events - sent)
        traffic.round(rows)
        sent += rows
        if ahead:
            time.sleep(0.2)  # events go on flowing at a walk until the next kill
        elif sent % 100_000 < ROUND_ROWS:
            console.print(f"  {time.monotonic() - began:7.1f} s  {sent:,} events sent")
    killer.join()
    truth = traffic.close()
    second.stop()
    console.print(f"  {time.monotonic() - began:7.1f} s  all sent, all killed; waiting until all is in its place")
    if scope == "full":
        await_served(settings, truth)
    await_status(settings)
    verdict = compare(settings, truth.output_of)
    report = certificate(settings, sent, killer.kills, verdict, time.monotonic() - began, truth.aborted)
    return report | (compare_served(settings, truth) if scope == "full" else {})


def traffic_of(settings: Settings, scope: str, seed: int):
    """What a cleaning job would write, scripted, with aborted transactions among it; or raw chat for the real job."""
    from tests.bench.chat_traffic import ChatTraffic
    from tests.bench.scripted_cleaning import Traffic

    if scope == "full":
        return ChatTraffic(settings.bootstrap, seed=seed)
    return Traffic(settings.bootstrap, RAW_TOPICS, seed=seed)


def compare_served(settings: Settings, truth) -> dict:
    """MariaDB against the truth: rows lost, twice, and rows nobody sent."""
    found = Counter(served_keys(settings))
    kept = {where for where, output in truth.output_of.items() if output == "interactions.clean"}
    told = {
        "served_lost": len(kept - set(found)),
        "served_twice": sum(times > 1 for times in found.values()),
        "served_unknown": len(set(found) - kept),
    }
    console.print(told)
    return told


def certificate(settings: Settings, events: int, kills: list[Kill], verdict, took_s: float, aborted: int) -> dict:
    """Prints the certificate and gives the report."""
    recoveries = [kill.recover_s for kill in kills]
    report = {
        "events": events,
        "kills": len(kills),
        "lost": verdict.lost + verdict.bronze_lost,
        "twice": verdict.twice + verdict.bronze_twice,
        "recover_s_max": None if None in recoveries else max(recoveries, default=0),
        "misplaced": verdict.misplaced,
        "unknown": verdict.unknown,
        "aborted_records": aborted,
        "kills_by_part": {part: sum(k.part == part for k in kills) for part in sorted({k.part for k in kills})},
        "rows": verdict.rows,
        "recover_s": sorted(seconds for seconds in recoveries if seconds is not None),
        "versions": {t: DeltaTable(settings.table_path(t)).version() for t in verdict.rows if verdict.rows[t]},
        "took_s": round(took_s, 1),
    }
    table = Table(title="Nothing lost, nothing twice", header_style="bold")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in report.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
    return report


def deploy_job() -> None:
    """As a person would. Raises CalledProcessError."""
    kefulake = Path(sys.executable).parent / "kefulake"
    subprocess.run([kefulake, "deploy", "clean_interactions"], cwd=PROJECT_ROOT, check=True)


def main(argv: list[str] | None = None) -> int:
    """0 when the lake equals the truth and every part came back in time."""
    parser = argparse.ArgumentParser(prog="kill_test", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--scope", choices=sorted(SCOPES), default="full")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--home", type=Path, help="default: a new temporary folder, removed when all went well")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    home = args.home or Path(tempfile.mkdtemp(prefix="kefulake-kill-"))
    os.environ["KEFULAKE_HOME"] = str(home)
    os.environ["KEFULAKE_SCHEMAS"] = str(busy_policies(home / "schemas"))
    settings = Settings.load()
    console.print(f"seed {args.seed}, home {home}, parts {', '.join(SCOPES[args.scope])}")
    try:
        lifecycle.up(settings, only=[*SCOPES[args.scope], *ALSO[args.scope]], extra=None, tell=lambda *_: None)
        if args.scope == "full":
            deploy_job()
        report = run(settings, args.scope, args.events, args.kills, args.seed)
        report |= {"scope": args.scope, "seed": args.seed}
    finally:
        lifecycle.down(settings, lambda *_: None)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    wrong = ("lost", "twice", "misplaced", "unknown", "served_lost", "served_twice", "served_unknown")
    exact = not any(report.get(name) for name in wrong)
    timely = report["recover_s_max"] is not None and report["recover_s_max"] <= RECOVERY_LIMIT_S
    if exact and timely and args.home is None:
        shutil.rmtree(home)
    console.print("[green]exact[/]" if exact else f"[red]NOT exact[/]; everything is kept in {home}")
    if not timely:
        console.print(
            f"[red]a part was not back and flowing within {RECOVERY_LIMIT_S} s[/]; logs are in {home / 'logs'}"
        )
    return 0 if exact and timely else 1


if __name__ == "__main__":
    sys.exit(main())
