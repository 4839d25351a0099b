"""Erasure on a real stack, proven: ``python -m tests.bench.erasure``; figures in build/reports/erasure.json.

A made-up person leaves traces in every store among simulated traffic. They are looked for in every file before
(positive control) and after `kefulake erase`; everybody else's rows are compared cell by cell. Then the master key is
rotated under load, and the audit log tampered with in every way its owner can.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from datetime import UTC, datetime

import polars as pl
from confluent_kafka import Producer
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.ops import erase, erasure_stores
from pipelines.io.mariadb import connect
from pipelines.privacy.bronze_cipher import open_bronze
from pipelines.privacy.erasure import Person, concerned, person
from pipelines.privacy.keys import MasterKey
from tests.bench import audit_tampering, erasure_person, vault_load
from tests.bench.erasure_search import by_store, patterns, search, show
from tests.bench.hostile_watch import wait_until
from tests.bench.scratch_stack import kefulake, scratch_stack

PARTS = [
    "kafka", "flink-jobmanager", "flink-taskmanager", "mariadb", "job-keeper", "tiering", "serving-writer",
    "identity-resolver", "backup-shipper",
]  # fmt: skip
REPORT = PROJECT_ROOT / "build" / "reports" / "erasure.json"
# The person must be found in these before, or the search proves nothing.
BACKUP = PROJECT_ROOT / "build" / "erasure-backup"
CONTROLS = ("kafka", "lake/silver/interactions", "lake/silver/feedback", "mariadb/kefulake", "backup")
console = Console()


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when the person was everywhere before, is nowhere after, and nobody else's row differs."""
    parser = argparse.ArgumentParser(prog="erasure", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2_000, help="messages of everybody else")
    parser.add_argument("--keep", action="store_true", help="leave the stack's folder build/erasure in place")
    args = parser.parse_args(argv)
    with scratch_stack("erasure", only=PARTS, keep=args.keep) as settings:
        kefulake("deploy", "clean_interactions")
        report = run(settings, args.events)
        report |= vault_load.rotations_under_load(settings) | audit_tampering.planted_and_found(settings)
    if report["rotation_failed_reads"]:
        report["wrong"].append(f"{report['rotation_failed_reads']} reads failed while the key was rotated")
    if report["audit_found"] != report["audit_planted"]:
        report["wrong"].append(
            f"of {report['audit_planted']} audit rows tampered with {report['audit_found']} were found"
        )
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for what in report["wrong"]:
        console.print(f"[red]WRONG[/] {what}", highlight=False)
    show_figures(report)
    return 1 if report["wrong"] else 0


def show_figures(report: dict) -> None:
    """What counts, in one table."""
    table = Table("figure", "seen", title="Erasure, rotation under load, audit")
    for name in ("found_before", "hits_after", "erase_s", "rotation_reads", "rotation_failed_reads", "audit_planted",
                 "audit_found"):  # fmt: skip
        table.add_row(name, f"{report[name]:,}")
    console.print(table)
    console.print(f"{REPORT.relative_to(PROJECT_ROOT)} written")


def run(settings: Settings, events: int) -> dict:
    """Traffic, search, erasure, search."""
    now, key = datetime.now(UTC), MasterKey.load(settings)
    kefulake("simulate", "--events", str(events), "--customers", "200")
    send(settings, [*erasure_person.messages(now), erasure_person.mention(now)])
    kefulake("flush")
    if not wait_until(lambda: served(settings) == rows_of(settings, "silver.interactions").height, 60):
        raise TimeoutError("MariaDB did not get all interactions within a minute")
    with connect(erasure_stores.mariadb.root_url(settings)).connect() as connection:
        connection.exec_driver_sql("FLUSH TABLES interactions FOR EXPORT")  # onto disk, for the control
        connection.exec_driver_sql("UNLOCK TABLES")

    tokens = erasure_person.tokens(key)
    who = erase.whole(settings, person(tokens))
    values, names = patterns(erasure_person.VALUES), patterns(who.tokens)
    shipped(settings)
    before, others = everywhere(settings, values), of_others(settings, who)
    show(before, console)
    file = settings.run / "tokens.txt"
    file.write_text("\n".join(tokens), encoding="utf-8")
    began = time.monotonic()
    told = kefulake("erase", "--tokens", str(file), "--reason", "request of the person", "--yes")
    file.unlink()
    took = time.monotonic() - began
    console.print(told, markup=False, highlight=False)
    after, pseudonyms = everywhere(settings, values), everywhere(settings, names)
    show(after, console)
    wrong = [f"{place}: not found before, so the search proves nothing" for place in CONTROLS
             if not any(store.startswith(place) for store in by_store(before))]  # fmt: skip
    wrong += [f"{place}: still holds {dict(hits)}" for place, hits in after.items()]
    wrong += differing(others, of_others(settings, who))
    wrong += goes_on(settings)
    hits_before, hits_after = (sum(hits.total() for hits in found.values()) for found in (before, after))
    return {"found_before": hits_before, "hits_after": hits_after, "erase_s": round(took, 1),
            "messages": len(who.messages), "tokens": len(who.tokens),
            "before": plain(by_store(before)), "after": plain(by_store(after)),
            "tokens_after": plain(by_store(pseudonyms)),
            "other_rows": {name: rows for name, (rows, _) in others.items()}, "wrong": wrong}  # fmt: skip


def everywhere(settings: Settings, wanted: dict[bytes, str]) -> dict:
    """Every byte of the home and of its backup."""
    aside = {f"backup/{name}": hits for name, hits in search(BACKUP, wanted).items()}
    return search(settings.home, wanted) | aside


def shipped(settings: Settings) -> None:
    """Until a round of the shipper began after now."""
    now, told = time.time(), settings.run / "backup.json"
    if not wait_until(lambda: told.exists() and json.loads(told.read_text())["covers_until"] > now, 120):
        raise TimeoutError(f"the backup shipper made no round within two minutes: {settings.logs}")


def send(settings: Settings, messages: list[tuple[str, bytes]]) -> None:
    """As collectors do: keyed, with the time of receipt."""
    producer = Producer({"bootstrap.servers": settings.bootstrap, "compression.type": "lz4", "linger.ms": 50})
    for topic, value in messages:
        producer.produce(topic, value, key=b"xm", headers=[("account", b"shop")])
    producer.flush(30)


def rows_of(settings: Settings, name: str) -> pl.DataFrame:
    """A whole table."""
    return pl.from_arrow(DeltaTable(str(settings.table_path(name))).to_pyarrow_table())


def served(settings: Settings) -> int:
    """Rows of the serving database."""
    with connect(settings.database_url).connect() as connection:
        return connection.execute(text("SELECT COUNT(*) FROM interactions")).scalar_one()


def of_others(settings: Settings, who: Person) -> dict[str, tuple[int, str]]:
    """Rows of everybody else by table, and a hash over all their cells."""
    found = {}
    for name in erasure_stores.telling():
        if (settings.table_path(name) / "_delta_log").exists():
            rows = rows_of(settings, name)
            found[name] = fingerprint(rows.filter(~concerned(rows, who)))
    with connect(settings.database_url).connect() as connection:
        served_rows = [dict(row._mapping) for row in connection.execute(text("SELECT * FROM interactions"))]
    rows = pl.DataFrame(served_rows, infer_schema_length=None)
    found["MariaDB interactions"] = fingerprint(rows.filter(~concerned(rows, who)))
    bronze, key = rows_of(settings, "bronze.raw_events"), MasterKey.load(settings)
    bronze = bronze.filter(~concerned(bronze, who))
    opened = [open_bronze(c, key, p, o) for c, p, o in
              bronze.sort("raw_topic", "raw_partition", "raw_offset")
              .select("payload_ciphertext", "raw_partition", "raw_offset").rows()]  # fmt: skip
    found["bronze, opened"] = (len(opened), hashlib.sha256(b"\n".join(opened)).hexdigest())
    return found


def fingerprint(rows: pl.DataFrame) -> tuple[int, str]:
    """How many, and a hash that does not depend on their order."""
    lines = sorted(str(row) for row in rows.select(sorted(rows.columns)).rows())
    return rows.height, hashlib.sha256("\n".join(lines).encode()).hexdigest()


def differing(before: dict[str, tuple[int, str]], after: dict[str, tuple[int, str]]) -> list[str]:
    """Tables in which a row of somebody else differs."""
    return [f"{name}: rows of others differ: {before.get(name)} and {after.get(name)}"
            for name in sorted({*before, *after}) if before.get(name) != after.get(name)]  # fmt: skip


def goes_on(settings: Settings) -> list[str]:
    """The stream after an erasure: new messages come through, and the balance closes."""
    rows = rows_of(settings, "bronze.raw_events").height
    kefulake("simulate", "--events", "200", "--customers", "200", "--seed", "99")
    kefulake("flush")
    more = rows_of(settings, "bronze.raw_events").height - rows
    wrong = [] if more == 200 else [f"of 200 new messages {more} came into bronze"]
    try:
        kefulake("balance")
    except RuntimeError as error:
        wrong.append(f"the balance does not close: {error}")
    return wrong


def plain(stores: dict) -> dict:
    """For the report."""
    return {store: dict(hits) for store, hits in sorted(stores.items())}


if __name__ == "__main__":
    sys.exit(main())
