"""`kefulake erase`: a person out of every store, with a certificate of what was there and what is left."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack import flink_jobs
from infra.stack.files import PRIVATE, write_atomic
from infra.stack.settings import Settings
from jobs.ops import erasure_archive as archive
from jobs.ops import erasure_backup as backup
from jobs.ops import erasure_stores as stores
from jobs.ops import erasure_topics as topics
from jobs.ops.auditing import login, write_down
from jobs.ops.flush import JOB, flush
from jobs.ops.migration_state import at_rest
from pipelines import contracts
from pipelines.backup.places import backup_folder
from pipelines.io import gold_lock, vault_table, vault_topic
from pipelines.io.erasure_errands import COMMANDS, Command
from pipelines.io.lake_tables import arrow_files
from pipelines.lineage.hooks import told_as_run
from pipelines.privacy.erasure import (
    Line,
    Person,
    certificate,
    former_ids,
    newest_links,
    own_tokens,
    person,
    reach,
    spellings,
    tokens_of,
)  # fmt: skip
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import kind_of

OPEN = ".open.json"
VAULT, LINKS = "identity.vault", "silver.identity_links"
Tell = Callable[[str], None]


@told_as_run("erase")
def command(
    customer: Annotated[str | None, typer.Argument(help="Coded customer ID whose links name the tokens.")] = None,
    tokens: Annotated[Path | None, typer.Option(exists=True, help="File with one token a line, instead.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit log.")] = ...,
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in.")] = "privacy_officer",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: it cannot be undone.")] = False,
) -> None:
    """Destroy the data keys of a person's tokens and remove their rows and records from every store. For good.

    Raw records of everybody that all readers have passed are deleted from Kafka with theirs; the lake keeps the
    others'. Interrupted, run it again: what is gone stays gone. Exit code 1 when something of the person is left.
    """
    if (customer is None) == (tokens is None):
        raise typer.BadParameter("name the person by CUSTOMER or by --tokens, one of them")
    settings, console = Settings.load(), Console(highlight=False)
    named = set(tokens.read_text(encoding="utf-8").split()) if tokens else linked_tokens(settings, customer)
    who = begun(settings, customer, named) or person(named, [customer] if customer else [])
    if not who.tokens:
        raise typer.BadParameter(f"no token is linked to {customer}; name the person by --tokens")
    if not yes:
        typer.confirm(f"Erase the person of {len(who.tokens)} tokens from every store? It cannot be undone", abort=True)
    with (
        vault_topic.locked(settings.keys),
        console.status("") as line,
        gold_lock.no_build(settings.home, line.update),
        at_rest(settings),
    ):
        made = erase(settings, who, subject=customer or "by tokens", role=role, reason=reason, tell=line.update)
    print_certificate(made, console)
    raise typer.Exit(0 if made["complete"] else 1)


def linked_tokens(settings: Settings, customer: str) -> set[str]:
    """Tokens of a customer by the newest link of each; none before the first link was written."""
    return tokens_of(links_of(settings), customer)


def links_of(settings: Settings) -> pl.DataFrame:
    """The change log of links; no row before the first."""
    path = settings.table_path(LINKS)
    if not (path / "_delta_log").exists():
        return pl.from_arrow(contracts.arrow_schema(contracts.table(LINKS)).empty_table())
    columns = ["token", "customer_id", "valid_to_at", "recorded_at"]
    return pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table(columns=columns, filesystem=arrow_files(path)))


def begun(settings: Settings, customer: str | None, named: set[str]) -> Person | None:
    """The person of an interrupted erasure: links and data keys may be gone by then, so it was written down."""
    for path in (settings.home / "erasures").glob(f"*{OPEN}"):
        told = Person.of(json.loads(path.read_text(encoding="utf-8")))
        if customer in told.customer_ids or (named and named <= told.tokens):
            return replace(told, tokens=told.tokens | named)
    return None


def forget_begun(settings: Settings, who: Person) -> None:
    """What was written down of this person for a second run."""
    for path in (settings.home / "erasures").glob(f"*{OPEN}"):
        if Person.of(json.loads(path.read_text(encoding="utf-8"))).tokens <= who.tokens:
            path.unlink()


def erase(settings: Settings, who: Person, *, subject: str, role: str, reason: str, tell: Tell) -> dict:
    """The whole erasure; the certificate, which is also written to ``<home>/erasures`` and hashed into the audit log.

    Raises ErasureFailed, AuditRefused or FlushFailed; done again it goes on where it stopped.
    """
    wait_s = contracts.policy("erasure")["wait_s"]
    erasure_id, began_at = f"e_{uuid.uuid4().hex[:16]}", datetime.now(UTC)
    write_down(settings, "erase", subject, role=role, reason=reason, detail={"erasure_id": erasure_id})
    tell("what has been received comes into the tables …")
    if _job_runs(settings):
        flush(settings, wait_s)
    tell("looking for what is theirs …")
    who = whole(settings, who)
    write_atomic(settings.home / "erasures" / f"{erasure_id}{OPEN}", json.dumps(who.selection()), PRIVATE)
    lake, served = stores.count_in_lake(settings, who), stores.count_in_mariadb(settings, who)
    sealed, archived = data_keys(settings, who), archive.files_of(settings, who)
    kept_aside = backup.count(settings, who)

    said = stores.said_by(settings, who)
    # First what all readers have to pass: afterwards none of them learns anew what is removed below.
    tell("Kafka: what all readers have passed goes …")
    deleted = topics.forget_offsets(settings, wait_s, tell)
    note = stores.erase_in_mariadb(settings, who)
    _, by_key = topics.topics_of_people()
    left_by_topic = {}
    for topic in by_key:
        tell(f"{topic}: their keys go …")
        left_by_topic[topic] = topics.forget_keys(settings, topic, who.tokens, wait_s)
    tell("the tables' writers remove their rows …")
    told = stores.command_writers(settings, erasure_id, who, wait_s)
    stores.erase_built_tables(settings, who)
    archive.erase(settings, archived)
    phrases = stores.erase_phrases(settings, said)
    taken_back = [Command(erasure_id, name, who).key for name in told]
    left_by_topic[COMMANDS] = topics.forget_keys(settings, COMMANDS, taken_back, wait_s)

    tell("the backup: what it still shows of them …")
    files = backup.forget(settings)
    aside = backup.lines(kept_aside, backup.count(settings, who), files, backup_folder(settings))
    after = stores.count_in_lake(settings, who)
    lines = [Line("vault: data keys", sealed, data_keys(settings, who))]
    lines += [lake_line(name, count, after[name], told.get(name, {})) for name, count in lake.items()]
    lines.append(Line(f"lake: {', '.join(stores.QUOTING)}", phrases, 0, "phrases that quote them"))
    lines.append(Line("archive: files of stores", len(archived), len(archive.files_of(settings, who)), "whole files"))
    if unseen := archive.sealed(settings):
        lines.append(Line("archive: files nobody can look into", unseen, unseen, "refused .xls, or with a password"))
    served_after = stores.count_in_mariadb(settings, who)
    lines += [Line(f"MariaDB: {name}", count, served_after[name], note) for name, count in served.items()]
    lines += [Line(f"Kafka: {t}", n, 0, "records of everybody, passed by all readers") for t, n in deleted.items()]
    lines += [Line(f"Kafka: {topic}", len(who.tokens), full, f"{empty} removals left")
              for topic, (full, empty) in left_by_topic.items()]  # fmt: skip
    lines += aside
    made = certificate(erasure_id, who, lines, subject=subject, actor=login(), role=role, reason=reason,
                       began_at=began_at.isoformat(), ended_at=datetime.now(UTC).isoformat())  # fmt: skip
    if made["complete"]:
        forget_begun(settings, who)
    return keep(settings, made, role)


def _job_runs(settings: Settings) -> bool:
    """Where Flink does not answer nothing runs: messages that no job has passed stop the erasure further on."""
    try:
        return flink_jobs.running_job(settings, JOB) is not None
    except OSError:
        return False


def data_keys(settings: Settings, who: Person) -> int:
    """How many of the person's tokens the vault can open."""
    return len(vault_table.values(settings.table_path(VAULT), who.tokens, MasterKey.load(settings)))


def lake_line(name: str, before: int, after: int, told: dict) -> Line:
    """A table's line; a file too young to be told from one being written counts as something left."""
    young = told.get("young_leavings", 0)
    detail = {key: told[key] for key in ("files_deleted", "log_entries_deleted") if key in told}
    return Line(f"lake: {name}", before, after + young, f"{young} young leavings" if young else "", detail)


def whole(settings: Settings, who: Person) -> Person:
    """The person with their unlinked identifiers, messages and sessions, in every table."""
    private = contracts.policy("erasure")["private_sessions"]
    rows = stores.telling_rows(settings)
    more = person(who.tokens | own_tokens(rows.values(), who))
    alive = set(newest_links(links_of(settings))["customer_id"].drop_nulls())
    former = former_ids(rows.values(), more, alive)
    who = replace(who, tokens=more.tokens, customer_ids=who.customer_ids | more.customer_ids | former)
    key = MasterKey.load(settings)
    opened = vault_table.values(settings.table_path(VAULT), who.tokens, key)
    values = {form for token, value in opened.items() for form in spellings(value, kind_of(token))}
    found = stores.messages_by_bytes(settings, key, who, values)
    return reach(replace(who, messages=who.messages | found), rows, private_sessions=private)


def keep(settings: Settings, made: dict, role: str) -> dict:
    """Write the certificate where only its owner reads it, and its hash into the audit log."""
    text = json.dumps(made, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = settings.home / "erasures" / f"{made['erasure_id']}.json"
    write_atomic(path, text, PRIVATE)
    detail = {"erasure_id": made["erasure_id"], "certificate_sha256": digest, "complete": made["complete"]}
    write_down(settings, "erase", made["subject"], role=role, reason=made["reason"], detail=detail)
    return made | {"path": str(path), "sha256": digest}


def print_certificate(made: dict, console: Console) -> None:
    """Store by store, before and after."""
    table = Table("store", "before", "after", "note", title=f"Erasure {made['erasure_id']}")
    for line in made["stores"]:
        if line["before"] or line["after"]:
            colour = "[red]" if line["after"] else ""
            table.add_row(line["store"], f"{line['before']:,}", f"{colour}{line['after']:,}", line["note"])
    console.print(table)
    counts = ", ".join(f"{number:,} {name}" for name, number in made["counts"].items())
    console.print(f"{counts}. Certificate: {made['path']}\nSHA-256 {made['sha256']} (in the audit log as well)")
    if not made["complete"]:
        console.print("[red]Not complete:[/] run the same command again; what is gone stays gone.")
