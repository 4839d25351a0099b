"""Two regions the whole way, proven: ``python -m tests.bench.regions``; figures in build/reports/regions.json.

Each region's stack as a person starts it: broker, Flink job, tiering, MariaDB. Messages come through the home region's
door for both regions; others are sent past it into the wrong root. Then every byte of both roots is searched.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml
from rich.console import Console
from rich.table import Table

from infra.stack import ports, roots
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines.collectors import signatures
from tests.bench import region_cost, region_traffic
from tests.bench.erasure import served
from tests.bench.hostile_watch import wait_until
from tests.bench.region_proof import examine, rows
from tests.bench.region_traffic import ALSO_RIGHT, FURTHER, HOME, RIGHT, WRONG, Sent
from tests.bench.scratch_stack import OVERRIDES

PARTS = "flink-jobmanager,flink-taskmanager,mariadb,job-keeper,tiering,serving-writer,identity-resolver"
REPORT = PROJECT_ROOT / "build" / "reports" / "regions.json"
# The marks must be found in these of their own root, or the search proves nothing.
CONTROLS = ("kafka/raw.web_chat", "kafka/interactions.clean", "lake/silver/interactions", "mariadb/kefulake")
console = Console()


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when each mark is in its own root, in every store there, and nowhere else."""
    parser = argparse.ArgumentParser(prog="regions", description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=20, help="messages of each kind, twice for right ones")
    parser.add_argument("--events", type=int, default=1_000, help="simulated messages beside them, in each root")
    parser.add_argument("--keep", action="store_true", help="leave both roots in build/regions in place")
    args = parser.parse_args(argv)
    began = time.monotonic()
    with company(PROJECT_ROOT / "build" / "regions", keep=args.keep) as home:
        report = run(home, args.each, args.events)
    report |= {"cost": region_cost.cost(), "seconds": round(time.monotonic() - began)}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    show(report)
    return 1 if report["wrong"] else 0


@contextmanager
def company(folder: Path, *, keep: bool) -> Iterator[Path]:
    """A company of two regions in ``folder``: its policy, and the home region's folder; both are stopped afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PROJECT_ROOT / "schemas", folder / "schemas")
    policy = folder / "schemas" / "policies" / "regions.yaml"
    declared = yaml.safe_load(policy.read_text(encoding="utf-8")) | region_traffic.POLICY
    policy.write_text(yaml.safe_dump(declared, allow_unicode=True), encoding="utf-8")
    before = dict(os.environ)
    for name in (*OVERRIDES, "KEFULAKE_REGION", roots.HOME_REGION):
        os.environ.pop(name, None)
    home = folder / "lake"
    os.environ |= {"KEFULAKE_SCHEMAS": str(folder / "schemas"), "KEFULAKE_HOME": str(home)}
    os.environ["KEFULAKE_PORT_BASE"] = str(ports.free_base(24_000))
    try:
        yield home
    finally:
        for region in (FURTHER, HOME):
            subprocess.run(_command(region, "down"), cwd=PROJECT_ROOT, capture_output=True, check=False)
        os.environ.clear()
        os.environ |= before
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def run(home: Path, each: int, events: int) -> dict:
    """Messages in, both roots the whole way, the search."""
    for region in (HOME, FURTHER):
        in_region(region, "up", "--only", "kafka")
    stacks = {HOME: Settings.load(home), FURTHER: roots.root_of(Settings.load(home), FURTHER)}
    by_door, past_it = _traffic(each)
    through_the_door(stacks[HOME], by_door)
    for region, stack in stacks.items():
        region_traffic.produce(stack.bootstrap, [one for one in past_it if one.root == region])
        in_region(region, "simulate", "--events", str(events), "--customers", "100")
    for region, stack in stacks.items():
        the_whole_way(region, stack)
    return examine_all({region: stack.home for region, stack in stacks.items()}, [*by_door, *past_it], events)


def _traffic(each: int) -> tuple[list[Sent], list[Sent]]:
    now_s = int(time.time())
    by_door = region_traffic.messages(RIGHT, each, now_s, 0)
    return by_door, region_traffic.messages([*WRONG, *RIGHT, *ALSO_RIGHT], each, now_s, len(by_door))


def through_the_door(stack: Settings, sent: Sequence[Sent]) -> None:
    """POST to the home region's gateway, which is told the secrets of both regions' accounts."""
    entry = {"secret": "s" * 43}
    accounts = {channel: {"default": entry, "shop_sg": entry} for channel in ("web_chat", "app")}
    secrets = stack.keys / "gateway.yaml"
    secrets.write_text(yaml.safe_dump(accounts), encoding="utf-8")
    secrets.chmod(0o600)
    in_region(HOME, "up", "--only", "gateway")
    with httpx.Client(base_url=stack.gateway_url, timeout=30) as client:
        for one in sent:
            target = f"/collect/{one.channel}?account={one.account}"
            signed = signatures.signed_headers(entry["secret"], "POST", target, int(time.time()), one.mark, one.value)
            client.post(target, content=one.value, headers=signed).raise_for_status()


def the_whole_way(region: str, stack: Settings) -> None:
    """One region's job, lake and database until they have everything; then it is stopped, so that all is on disk."""
    console.print(f"region {region}: the whole way")
    in_region(region, "up", "--only", PARTS)
    in_region(region, "deploy", "clean_interactions")
    in_region(region, "flush")
    in_region(region, "balance", "--final")
    if not wait_until(lambda: served(stack) == len(rows(stack.home, "silver.interactions")), 60):
        raise TimeoutError(f"MariaDB of {region} did not get all interactions within a minute")
    in_region(region, "down")


def examine_all(homes: dict[str, Path], sent: list[Sent], events: int) -> dict:
    """The search; a control that fails is wrong as well."""
    report = examine(homes, sent, events)
    for root in homes:
        found = report["stores"][root][root]
        lacking = [place for place in CONTROLS if not any(store.startswith(place) for store in found)]
        report["wrong"] += [f"{root}: {place}: not found there, so the search proves nothing" for place in lacking]
    return report


def in_region(region: str, *arguments: str) -> str:
    """One ``kefulake`` command in a region's root. Raises RuntimeError with what it said."""
    done = subprocess.run(_command(region, *arguments), cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"kefulake --region {region} {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _command(region: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "jobs.cli", "--region", region, *arguments]


def show(report: dict) -> None:
    """The figures for a person."""
    table = Table(
        "root", "sent", "of a wrong region", "own marks found", "others' found", title="Two regions, two roots"
    )
    for root, hits in report["hits"].items():
        others = sum(count for owner, count in hits.items() if owner != root)
        table.add_row(
            root, *(f"{n:,}" for n in (report["sent"][root], report["wrong_region"][root], hits[root], others))
        )
    console.print(table)
    cost = report["cost"]
    console.print(
        f"Of {cost['cleaning_us']:.1f} µs a message the look at its region takes {cost['one_region_share']:.3%} "
        f"with one region, {cost['two_regions_share']:.1%} with two."
    )
    for what in report["wrong"]:
        console.print(f"[red]WRONG[/] {what}", highlight=False)
    console.print(f"{REPORT.relative_to(PROJECT_ROOT)} written; {report['seconds']} s in all")


if __name__ == "__main__":
    sys.exit(main())
