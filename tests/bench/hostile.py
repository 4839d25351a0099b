"""Hostile input through the running job: ``make hostile``.

Every file of a JSON parser's test suite (where the shared data is), bytes and objects drawn at random, wrong encodings,
5 MB bodies, bodies that grow on their way, 10,000-deep nesting, XML bombs, broken mails, impossible times and forged or
repeated requests go into all channels, straight into Kafka and through the gateway, with well-formed messages between
them. Nothing may stop; every message must stand in exactly one output, every reject with rule, reason and its bytes.
Writes build/reports/hostile.json; exit 1 when an expectation fails.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines import contracts
from pipelines.privacy.keys import MasterKey
from tests.bench import hostile_verdict as verdicts
from tests.bench.honest_forms import CHANNELS
from tests.bench.hostile_door import Answer, Door
from tests.bench.hostile_payloads import Hostile, Sizes, json_suite, kafka_only, payloads
from tests.bench.hostile_senders import (
    Honest,
    at_the_door,
    into_kafka,
    now_s,
    refused_by_kafka,
    renumbered,
    through_gateway,
)
from tests.bench.hostile_watch import Watch, wait_until
from tests.bench.kill_flow import served_keys
from tests.bench.lake_facts import balance
from tests.bench.lake_truth import OUTPUT_TABLES, row_count
from tests.bench.real_wire_forms import data_folder
from tests.bench.scratch_stack import kefulake, scratch_stack

REPORT = PROJECT_ROOT / "build" / "reports" / "hostile.json"
PARTS = ["kafka", "flink-jobmanager", "flink-taskmanager", "mariadb", "gateway", "tiering", "serving-writer"]
JOB = "clean_interactions"
# One a way of reading JSON: flat, nested, by platform, by column names, the tickets' own table.
SUITE_CHANNELS = ("web_chat", "app", "wecom", "store", "ticket_system")
FIVE_MB = 5_000_000
# Beside its value a record batch has a head and each record its own: 200 bytes are enough for both.
BATCH_HEAD_BYTES = 200
SHOWN = 25
console = Console(width=140)


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when every expectation holds."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=20, help="random examples a channel, strategy and way in")
    parser.add_argument("--drain-s", type=float, default=240, help="longest wait until all is in its place")
    parser.add_argument("--keep", action="store_true", help="leave the stack's folder build/hostile in place")
    args = parser.parse_args(argv)
    began = time.monotonic()
    with scratch_stack("hostile", only=PARTS, keep=args.keep) as settings:
        console.print(f"stack is up ({time.monotonic() - began:.0f} s); deploying {JOB}")
        kefulake("deploy", JOB)
        report = run(settings, args)
    report["seconds"] = round(time.monotonic() - began, 1)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return show(report)


def run(settings: Settings, args: argparse.Namespace) -> dict:
    """Send everything, wait until it is in its place, and hold it against what must become of it."""
    at_s, honest = now_s(), Honest(now_s())
    sent = into_kafka(settings, [honest.one(channel) for channel in CHANNELS * 4])
    if not drained(settings, len(sent), 120):
        raise TimeoutError("the job does not even judge well-formed messages")
    watch = Watch(settings, JOB)
    watch.start()
    suite, told = suite_files()
    console.print(told)
    limit = contracts.topic("raw.app").max_message_bytes - BATCH_HEAD_BYTES
    messages = [*payloads(args.seed, at_s, Sizes(args.examples, FIVE_MB, limit)),
                *kafka_only(args.seed, at_s, Sizes(args.examples, FIVE_MB, limit)),
                *json_suite(suite, SUITE_CHANNELS)]  # fmt: skip
    chance = random.Random(args.seed)
    chance.shuffle(messages)
    row = [Hostile("large: forty in a row", "social", chance.randbytes(FIVE_MB)) for _ in range(40)]
    middle = len(messages) // 2
    messages[middle:middle] = row
    console.print(f"{len(messages):,} hostile messages, {sum(len(m.payload or b'') for m in messages) / 1e6:,.0f} MB")
    sent |= into_kafka(settings, honest.between(messages))
    wrong = [f"Kafka took {what}" for what in refused_by_kafka(settings)]
    console.print("all in Kafka; now through the gateway")
    taken, answers, faults = knock(settings, args, honest, at_s, suite)
    sent, strays = verdicts.place_all(sent, taken, verdicts.records(settings, [f"raw.{c}" for c in CHANNELS]))
    if not drained(settings, len(sent), args.drain_s):
        wrong.append(f"not all in its place within {args.drain_s:.0f} s")
    verdict = verdicts.judge(sent, verdicts.in_delta(settings), MasterKey.load(settings))
    wrong += faults + strays + watch.faults() + verdict.wrong
    wrong += verdicts.bronze_faults(settings, sent, MasterKey.load(settings))
    wrong += unbalanced(settings, len(sent)) + unserved(settings)
    doors = Counter(answer.wanted.kind for answer in answers if answer.right)
    kinds = {kind: dict(counts) for kind, counts in sorted(verdict.by_kind.items())}
    kinds |= {kind: {"sent": n, "refused at the door": doors[kind]} for kind, n in tried(answers).items()}
    return {
        "seed": args.seed, "messages": len(sent), "through_the_gateway": len(taken), "json_bad_inputs": told,
        "restarts": watch.restarts, "python_workers": watch.workers(), "looks_at_the_job": watch.looks,
        "task_manager_heap_mb_max": round(watch.heap_mb_max),
        "kinds": kinds, "rules": {str(rule): n for rule, n in verdict.rules.most_common()}, "wrong": wrong,
    }  # fmt: skip


def knock(
    settings: Settings, args: argparse.Namespace, honest: Honest, at_s: int, suite: dict[str, bytes]
) -> tuple[list[Hostile], list[Answer], list[str]]:
    """Through the gateway: what it takes in, and what it must turn away."""
    limit = contracts.policy("gateway")["max_message_bytes"]
    accounts = yaml.safe_load((settings.keys / "gateway.yaml").read_text(encoding="utf-8"))
    door = Door(settings.gateway_url, accounts)
    # Sealed for WeChat and WeCom a message is 4/3 as large, and the limit is on what comes over the wire.
    sizes = Sizes(args.examples // 2, int(limit * 0.7), 0)
    fresh = [renumbered(m) for m in payloads(args.seed + 10_000, at_s, sizes)]
    fresh += list(json_suite({n: p for n, p in suite.items() if p}, ("social",)))
    random.Random(args.seed).shuffle(fresh)
    taken, wrong = through_gateway(door, honest.between(fresh))
    turned, answers, faults = at_the_door(door, CHANNELS, honest, bytes(limit + 1))
    door.close()
    return taken + turned, answers, wrong + faults


def suite_files() -> tuple[dict[str, bytes], str]:
    """The files of json_bad_inputs by name, and what the report says of them."""
    try:
        folder = data_folder() / "json_bad_inputs"
    except FileNotFoundError:
        folder = Path("json_bad_inputs")
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}
    return files, f"{len(files)} files" if files else "LEFT OUT: json_bad_inputs is not there; set KEFULAKE_DATA"


def drained(settings: Settings, messages: int, limit_s: float) -> bool:
    """True once bronze and the outputs hold as many rows as were sent."""

    def there() -> bool:
        outputs = sum(row_count(settings, name) for name in OUTPUT_TABLES)
        return row_count(settings, "bronze.raw_events") >= messages <= outputs

    return wait_until(there, limit_s)


def unbalanced(settings: Settings, messages: int) -> list[str]:
    """The balance by anti-join over all coordinates."""
    found = balance(settings.lake)
    return [] if found.closes(messages) else [f"the balance does not close over {messages:,} messages: {found}"]


def unserved(settings: Settings) -> list[str]:
    """Rows of silver.interactions that did not come into MariaDB within a minute."""
    wanted = row_count(settings, "silver.interactions")
    if wait_until(lambda: len(served_keys(settings)) >= wanted, 60):
        return []
    return [f"{len(served_keys(settings)):,} of {wanted:,} kept interactions are in MariaDB"]


def tried(answers: list[Answer]) -> Counter[str]:
    """Requests by kind that the door had to turn away."""
    return Counter(answer.wanted.kind for answer in answers)


def show(report: dict) -> int:
    """The table for people; 1 where something is wrong."""
    columns = ("sent", "kept", "rejected", "in review", "duplicate", "refused at the door", "bytes intact")
    table = Table("kind of input", title="hostile input through the running job")
    for column in columns:
        table.add_column(column, justify="right")
    for kind, counts in report["kinds"].items():
        table.add_row(kind, *(f"{counts.get(column, 0):,}" for column in columns))
    console.print(table)
    console.print(f"json_bad_inputs: {report['json_bad_inputs']}")
    console.print(f"{report['messages']:,} messages, {report['through_the_gateway']:,} of them through the gateway; "
                  f"restarts of the job: {report['restarts']}")  # fmt: skip
    for what in report["wrong"][:SHOWN]:
        console.print(f"[red]WRONG[/] {what[:600]}", highlight=False)
    if len(report["wrong"]) > SHOWN:
        console.print(f"[red]and {len(report['wrong']) - SHOWN:,} more[/]; all are in the report")
    console.print(f"{REPORT.relative_to(PROJECT_ROOT)} written; {report['seconds']} s in all")
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
