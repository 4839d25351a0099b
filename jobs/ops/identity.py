"""`kefulake identity`: who is who; loaded from a CRM file, explained, merged, split, reviewed."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from infra.stack import roots
from infra.stack.settings import Settings
from jobs.ops import identity_cards as cards
from jobs.ops import identity_match, identity_resolve
from pipelines import contracts
from pipelines.identity.cardinality import report
from pipelines.identity.crm_import import SOURCE, CrmEvidence, crm_evidence, read_rows, refuse_shrinking
from pipelines.identity.resolve import Decision
from pipelines.io import identity_reads as reads
from pipelines.io.identity_store import Author, IdentityStore, Outcome
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish
from pipelines.lineage.hooks import told_as_run
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import VaultWriter

VAULT_TOPIC = "identity.vault"
app = typer.Typer(no_args_is_help=True, help="Who is who: load, match, explain, merge, split, review.")
Actor = Annotated[str, typer.Option(help="Your account: it stands beside the decision.")]
Reason = Annotated[str, typer.Option(help="Why, in a few words, without personal values.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, write nothing.")]


app.command(name="match")(identity_match.command)
app.command(name="resolve")(identity_resolve.command)


@app.command()
@told_as_run("identity")
def load(
    crm_file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CRM export, CSV.")],
    dry_run: DryRun = False,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="Also where many customers are not in the file any more.")
    ] = False,
) -> None:
    """Take a CRM file as evidence: verified phones, unionids, member numbers, e-mails, national IDs.

    The file is the whole CRM: what a customer held before and the file no longer says ends now. The running cleaning
    job joins by the new map within seconds. Loading the same file again changes nothing. A file that lacks many of the
    customers known so far is refused: it may be cut short.
    """
    settings = Settings.load()
    told, outcome = load_file(settings, crm_file, now_us=now_us(), dry_run=dry_run, allow_shrink=allow_shrink)
    show_load(told, outcome, dry_run=dry_run)


@app.command()
def explain(
    customer: Annotated[str | None, typer.Argument(help="Coded customer ID (c_… or p_…).")] = None,
    phone: Annotated[str | None, typer.Option(help="Phone number; it is turned into its token, never sent on.")] = None,
    token: Annotated[str | None, typer.Option(help="Token of any identifier.")] = None,
) -> None:
    """Why a customer is one: source records, identifiers with validity, evidence, decisions, what was kept apart."""
    settings = Settings.load()
    if sum(given is not None for given in (customer, phone, token)) != 1:
        raise typer.BadParameter("name the customer by ID, by --phone or by --token, one of them")
    if phone is not None:
        token = Tokeniser(MasterKey.load(settings)).token(phone, "phone")
    with connect(settings.database_reader_url).connect() as connection:
        found = reads.card(connection, customer) if customer else reads.card_of_token(connection, token or "")
    if found is None:
        raise typer.BadParameter("nobody is known under that; a provisional customer (p_…) has no links yet")
    cards.show(found, Console())


@app.command()
@told_as_run("identity")
def merge(customer: str, other: str, reason: Reason, actor: Actor, dry_run: DryRun = False) -> None:
    """Make one customer of two. The older ID stays; `split` gives the other one back."""
    store, settings = open_store()
    with connect(settings.database_url).connect() as connection:
        decisions = reads.merging(connection, customer, other)
    decide(store, settings, decisions, Author(actor, reason), dry_run=dry_run)


@app.command()
@told_as_run("identity")
def split(
    customer: str,
    reason: Reason,
    actor: Actor,
    away: Annotated[list[str] | None, typer.Option(help="Source record that leaves (repeat the option).")] = None,
    dry_run: DryRun = False,
) -> None:
    """Part a customer: the records named by --away leave; without it the customer's last merge is taken back."""
    store, settings = open_store()
    with connect(settings.database_url).connect() as connection:
        decisions = reads.splitting(connection, customer, away or [], contracts.policy("identity")["resolution"])
    decide(store, settings, decisions, Author(actor, reason), dry_run=dry_run)


@app.command()
@told_as_run("identity")
def review(
    accept: Annotated[bool, typer.Option("--accept", help="One person: merge the pair.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Two persons: keep the pair apart.")] = False,
    pair: Annotated[tuple[str, str] | None, typer.Option(help="Two source records, as listed.")] = None,
    reason: Annotated[str, typer.Option(help="Why, in a few words, without personal values.")] = "",
    actor: Annotated[str, typer.Option(help="Your account: it stands beside the decision.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Pairs to show.")] = 20,
) -> None:
    """List the pairs that wait for a person, or decide on one."""
    store, settings = open_store()
    if not (accept or reject):
        with connect(settings.database_reader_url).connect() as connection:
            cards.show_reviews(reads.open_reviews(connection, limit), Console())
        return
    if accept == reject or pair is None or not (reason and actor):
        raise typer.BadParameter("a decision needs --accept or --reject, --pair A B, --reason and --actor")
    with connect(settings.database_url).connect() as connection:
        decisions = reads.judging(connection, *pair, one_person=accept)
    decide(store, settings, decisions, Author(actor, reason), dry_run=False)


@app.command()
def cardinality() -> None:
    """How many records and owners each kind of identifier has, and whether it may be used for linking.

    Exit code 1 where a kind may not link that policy identity links by.
    """
    settings, policy = Settings.load(), contracts.policy("identity")
    with connect(settings.database_reader_url).connect() as connection:
        evidence = reads.all_evidence(connection)
    found = report(evidence, **policy["cardinality"])
    cards.show_cardinality(found, Console())
    used = [*policy["resolution"]["for_good"], *policy["resolution"]["changes_hands"]]
    if not found.filter((pl.col("verdict") == "may_not_link") & pl.col("token_type").is_in(used)).is_empty():
        raise typer.Exit(1)


def now_us() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


def open_store() -> tuple[IdentityStore, Settings]:
    """The identity state of this stack; its tables are made when they are not there.

    Raises WrongRegion where what follows from a change would go to another region's broker.
    """
    settings = Settings.load()
    roots.require_own_cluster(settings)
    return IdentityStore(connect(settings.database_url), contracts.policy("identity")), settings


def decide(
    store: IdentityStore, settings: Settings, decisions: list[Decision], author: Author, *, dry_run: bool
) -> Outcome:  # fmt: skip
    """Take the decision in, send out what follows, say what changed; exit 1 where it changed nothing."""
    outcome = store.decide(decisions, at_us=now_us(), author=author, dry_run=dry_run)
    if not dry_run:
        store.drain(partial(publish, settings.bootstrap))
    cards.show_outcome(outcome, Console(), dry_run=dry_run)
    if not outcome.changes.events:
        raise typer.Exit(1)
    return outcome


def load_file(
    settings: Settings, crm_file: Path, *, now_us: int, dry_run: bool = False, allow_shrink: bool = False
) -> tuple[CrmEvidence, Outcome]:  # fmt: skip
    """Read, take in, send out; the vault entries first, so that no link lacks its value.

    Raises CrmFileShrinks, and WrongRegion as ``open_store`` does.
    """
    roots.require_own_cluster(settings)
    key, policy = MasterKey.load(settings), contracts.policy("identity")
    vault = VaultWriter(key)
    tokeniser = Tokeniser(key, placeholders=policy["placeholders"], on_new=vault.add)
    told = crm_evidence(read_rows(crm_file), tokeniser, key, policy["resolution"], at_us=now_us)
    store = IdentityStore(connect(settings.database_url), policy)
    author = Author("policy:identity", f"CRM file {crm_file.name}")

    def keep_values(tokens: frozenset[str]) -> None:
        # Before the commit: after it the same file holds nothing new, so a crash in between would lose them for good.
        entries = [(token, entry.encode()) for token, entry in vault.drain() if token in tokens]
        publish(settings.bootstrap, VAULT_TOPIC, entries)

    bounds = {"most_share": 1.0, "always": 0} if allow_shrink else policy["crm_file"]["may_end"]
    outcome = store.learn(
        told.claims, at_us=now_us, author=author, complete=SOURCE, before_commit=keep_values, dry_run=dry_run,
        check=lambda known: refuse_shrinking(known, told.claims, **bounds),
    )  # fmt: skip
    if not dry_run:
        store.drain(partial(publish, settings.bootstrap))
    return told, outcome


def show_load(report: CrmEvidence, outcome: Outcome, *, dry_run: bool) -> None:
    """Print what was taken in, what it changed and what was left out, and why."""
    links = outcome.changes.links.values()
    nobody = [found for found in links if found and found[-1].customer_id is None]
    kinds = [event.identity_event_type for event in outcome.changes.events]
    rows = [
        ("rows read", report.rows, ""),
        ("customers", report.customers, ""),
        ("new or changed claims", outcome.claims_changed, "would be written" if dry_run else "written"),
        ("identifiers whose links changed", len(links), "identity.map, silver.identity_links"),
        ("identifiers that link nobody", len(nobody), "shared, or held by two CRM records: kefulake identity review"),
        ("customers merged, split", f"{kinds.count('merge')}, {kinds.count('split')}", "by this evidence"),
        ("phones not verified", report.unverified_phones, "join nobody: nobody has shown that the number is theirs"),
        ("placeholders", sum(report.placeholders.values()), "left out: 13800000000, 0000, 无 …"),
    ]
    table = Table("what", "number", "note", title="Identities")
    for what, number, note in rows:
        table.add_row(what, number if isinstance(number, str) else f"{number:,}", note)
    Console().print(table)
