"""All declared resources the whole way: `kefulake api-sync` as processes that are killed, then job, lake, balance.

Faults that only take time are left out: the policy's own client waits half a minute for an answer.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Set
from dataclasses import replace
from typing import Any

import orjson
from deltalake import DeltaTable

from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines.connectors import access, resources
from pipelines.io.connector_log import ConnectorLog
from pipelines.simulation.api_faults import FAULTS, Schedule
from pipelines.simulation.api_http import serving
from pipelines.simulation.api_population import Population
from pipelines.simulation.api_server import CHANGES_A_RUN, SECRETS, MisbehavingApi
from tests.bench.connector_world import BEGIN_US, STALL_S, as_sent, identity
from tests.bench.scratch_stack import kefulake, scratch_stack

PARTS = ["kafka", "flink-jobmanager", "flink-taskmanager", "tiering"]
KINDS = tuple(kind for kind in FAULTS if kind not in ("stall", "slow_body", "rate_seconds", "rate_date"))
SILVER = {"crm": "silver.customers", "orders": "silver.orders", "ticket_system": "silver.ticket_events"}
OUTPUTS = ("silver.interactions", "silver.feedback", *SILVER.values(), "quarantine.rejects", "quarantine.duplicates",
           "review.queue")  # fmt: skip
_MOST_TRIES = 12


def variables(address: str) -> dict[str, str]:
    """Where every declared source is and how it knows us, as the environment says it."""
    policy, found = resources.declared(), {}
    for name, source in policy.sources.items():
        told = {"base_url": address} | {secret: SECRETS[secret] for secret in access.needed(source.auth)}
        found |= {f"KEFULAKE_CONNECTOR_{name.upper()}_{key.upper()}": value for key, value in told.items()}
    return found


def declared_api(seed: int, rows: int, share: float, kinds: tuple[str, ...] = KINDS) -> MisbehavingApi:
    """All declared resources with their records."""
    policy = resources.declared()
    populations = {name: Population(resource, seed, BEGIN_US) for name, resource in policy.resources.items()}
    populations["crm_customers"].deleted = populations["crm_deleted"]
    populations["crm_deleted"].told_by = populations["crm_customers"]
    for name, population in populations.items():
        if name != "crm_deleted":
            population.fill(rows)
    return MisbehavingApi(policy, populations, Schedule(seed, kinds, share, 0.7, 60), STALL_S)


def current(api: MisbehavingApi) -> set[tuple[str, str]]:
    """What every source holds now, as (channel, identity)."""
    return {
        (population.resource.channel, identity(population.resource.channel, as_sent(population.resource, row.value)))
        for population in api.populations.values()
        for row in population.rows.values()
    }


def sync(address: str, chance: random.Random, *, kill: bool, options: tuple[str, ...] = ()) -> int | None:
    """Run `kefulake api-sync`; its exit code, None when it was killed."""
    command = [sys.executable, "-m", "jobs.cli", "api-sync", *options]
    environment = os.environ | variables(address)
    process = subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if kill:
        try:
            process.wait(chance.uniform(2.0, 9.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    told, _ = process.communicate(timeout=900)
    if process.returncode not in (0, 1, -signal.SIGKILL):
        raise RuntimeError(f"api-sync ended with {process.returncode}: {told[-2000:]}")
    return None if process.returncode < 0 else process.returncode


def until_good(
    api: MisbehavingApi, address: str, chance: random.Random, options: tuple[str, ...] = (), *, kill: bool = False
) -> tuple[set[tuple[str, str]], Counter[str]]:
    """Run until one comes to a good end; what was there from the first to the last of them, and how they ended."""
    before, ends = current(api), Counter()
    for _ in range(_MOST_TRIES):
        api.changes_left = CHANGES_A_RUN
        ended = sync(address, chance, kill=kill and not ends["killed"], options=options)
        ends[{None: "killed", 0: "good", 1: "failed"}[ended]] += 1
        if ended == 0:
            return before & current(api), ends
        api.pass_time(60)
    raise AssertionError(f"api-sync never came to a good end: {dict(ends)}")


def collect(api: MisbehavingApi, chance: random.Random, rounds: int) -> tuple[set[tuple[str, str]], Counter[str]]:
    """Some rounds of changes and runs, the first run of each killed; at the end everything is read and compared."""
    must, ends = set(), Counter()
    with serving(api) as address:
        for round_ in range(rounds):
            for name, population in api.populations.items():
                if round_ and name != "crm_deleted":
                    population.change(40)
            found, ended = until_good(api, address, chance, kill=True)
            must, ends = must | found, ends + ended
            api.pass_time(900)
        api.schedule = replace(api.schedule, share=0.0, churn=0.0)
        for options in ((), ("--full",)):
            found, ended = until_good(api, address, chance, options)
            must, ends = must | found, ends + ended
    return must, ends


def arrived(settings: Settings) -> tuple[Counter[tuple[str, str]], set[tuple[str, str]]]:
    """What stands in the raw topics, by (channel, identity); deletions nobody told of by ("gone", customer).

    And beside it the event_ids that the job makes of them, by channel.
    """
    came: Counter[tuple[str, str]] = Counter()
    events: set[tuple[str, str]] = set()
    for name, resource in resources.declared().resources.items():
        log = ConnectorLog(settings.bootstrap, resource.topic, settings.home / "none")
        for sent in log.sent_behind(name, {}):
            gone = name == "crm_customers" and sent.deleted
            key = orjson.loads(sent.value)["customer_no"] if gone else identity(resource.channel, sent.value)
            came[("gone" if gone else resource.channel, key)] += 1
            events.add((resource.channel, identity(resource.channel, sent.value, f"{name}/{sent.record}")))
    return came, events


def in_the_lake(settings: Settings, events: Set[tuple[str, str]]) -> dict[str, int]:
    """Rows of each output, and what the silver tables of records lack or hold twice or beyond the event_ids sent."""
    rows = {name: len(_column(settings, name)) for name in OUTPUTS}
    wrong = 0
    for channel, table in SILVER.items():
        wanted = {key for (of, key) in events if of == channel and not key.startswith("reject")}
        found = Counter(_column(settings, table))
        wrong += len(wanted ^ set(found)) + sum(1 for count in found.values() if count > 1)
    return {"rows": sum(rows.values()), "silver_wrong": wrong, "rejects": rows["quarantine.rejects"]}


def _column(settings: Settings, table: str) -> list[str]:
    path = settings.table_path(table)
    if not (path / "_delta_log").exists():
        return []
    column = "raw_offset" if table.startswith("quarantine") else "event_id"
    return DeltaTable(path).to_pyarrow_table(columns=[column])[column].to_pylist()


def whole_way(seed: int = 2026, rows: int = 300, rounds: int = 3) -> dict[str, Any]:
    """Figures of one schedule through API, Kafka, job, lake and balance."""
    began, chance = time.monotonic(), random.Random(seed)
    with scratch_stack("bench-connectors-whole", only=PARTS) as settings:
        kefulake("deploy", "clean_interactions")
        api = declared_api(seed, rows, share=0.15)
        must, ends = collect(api, chance, rounds)
        came, events = arrived(settings)
        kefulake("flush")
        kefulake("balance", "--final")  # exit 1 where it does not close
        lake = in_the_lake(settings, events)
        sent = sum(came.values())
        closed = lake["rows"] == sent
    return {
        "records": sent,
        "lost": len(must - set(came)),
        "twice": sum(1 for count in came.values() if count > 1),
        "runs": dict(ends),
        "faults": sum(api.met.values()),
        "silver_wrong": lake["silver_wrong"],
        "rejected": lake["rejects"],
        "balance": "closed" if closed else f"open: {sent:,} sent, {lake['rows']:,} in the outputs",
        "seconds": round(time.monotonic() - began, 1),
    }
