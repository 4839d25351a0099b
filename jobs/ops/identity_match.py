"""`kefulake identity match`: which CRM records are probably one person; merged where policy allows, else proposed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import polars as pl
import typer
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack import roots
from infra.stack.settings import Settings
from jobs.ops.auditing import write_down
from pipelines import contracts
from pipelines.identity import match_model, match_profiles, match_records, matching
from pipelines.identity.match_decisions import Decisions, decide
from pipelines.io import identity_models, vault_table
from pipelines.io.identity_matches import Matched, Matching, compared_last
from pipelines.io.identity_store import IdentityStore
from pipelines.io.lake_tables import arrow_files
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.roles import NotAllowed, check_compare

CUSTOMERS, VAULT = "silver.customers", "identity.vault"


@dataclass(frozen=True)
class Report:
    """What a run read, found and did."""

    records: int
    changed: int
    values_opened: int
    model: str
    found: Decisions
    matched: Matched
    seconds: dict[str, float]


def command(
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in (policy roles).")],
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit log.")],
    anew: Annotated[bool, typer.Option("--anew", help="Compare all records, not only those changed since.")] = False,
    learn: Annotated[
        bool, typer.Option("--learn", help="Learn from these records first; the model is used from then on.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, write nothing.")] = False,
) -> None:
    """Compare the CRM's records by name, birth date, address, phone, e-mail and ID.

    What policy matching allows is merged (kefulake identity split takes it back), the rest above its threshold waits in
    kefulake identity review. Only records that changed since the last run are compared, with all others. The values are
    opened in this process's memory only; the audit log says so, for a dry run too. How much an agreement says is
    learned by --learn from a thousand records or more, without labels; until then the shipped model says it.
    """
    settings = Settings.load()
    allow(settings, role=role, reason=reason, dry_run=dry_run)
    report = run(settings, anew=anew, learn=learn, dry_run=dry_run, clock=lambda: time.time_ns() // 1000)
    show(report, Console(), dry_run=dry_run)


def allow(settings: Settings, *, role: str, reason: str, dry_run: bool) -> None:
    """Nothing when this role may have records compared, and it is written down; else exit code 1."""
    try:
        check_compare(role, reason, policy=contracts.policy("roles"))
    except NotAllowed as refused:
        write_down(settings, "refused", CUSTOMERS, role=role, reason=reason, detail={"wanted": "compare_in_memory"})
        typer.echo(f"Not allowed: {refused}.", err=True)
        raise typer.Exit(1) from refused
    detail = {"how": "compare_in_memory", "dry_run": dry_run}
    write_down(settings, "consult", CUSTOMERS, role=role, reason=reason, detail=detail)


def run(settings: Settings, *, anew: bool, learn: bool, dry_run: bool, clock: Callable[[], int]) -> Report:
    """Read, learn where asked to, compare, take in, send out. `clock`: microseconds since the epoch.

    Raises WrongRegion at another region's broker.
    """
    roots.require_own_cluster(settings)
    policy, identity, shipped = (contracts.policy(name) for name in ("matching", "identity", "matching_model"))
    engine, watch = connect(settings.database_url), _Watch()
    store = IdentityStore(engine, identity)  # its tables are made when they are not there
    records = crm_records(settings)
    with engine.connect() as connection:
        model = identity_models.newest(connection, policy["version"]) or shipped
    watch.lap("read")
    features = None
    if learn:
        features = opened_features(settings, records, policy, identity)
        watch.lap("open")
        model = match_model.train(features, policy, shipped)
        watch.lap("learn")
    records = records.with_columns(match_records.fingerprints(records, f"{policy['version']} {model['version']}"))
    last = compared_last(engine)
    is_changed = changed_since(records, last, anew=anew)
    changed = records.filter(is_changed)
    if features is None and not changed.is_empty():
        features = opened_features(settings, records, policy, identity)
        watch.lap("open")
    pairs = pl.DataFrame(schema=matching.PAIRS)
    if not changed.is_empty():
        pairs = compare(features, is_changed, policy, model)
    found = decide(pairs, policy)
    watch.lap("compare")
    gone = sorted(last.keys() - set(records["record_key"]))
    takes_in = Matching(engine, policy, identity, model["version"], dry_run=dry_run)
    matched = takes_in.take_in(found, changed.select("record_key", "profile_hash"), gone, clock=clock)
    if not dry_run:
        if learn and model is not shipped:
            with engine.begin() as connection:
                identity_models.keep(connection, model, clock())
        store.drain(partial(publish, settings.bootstrap))
    watch.lap("write")
    opened = 0 if features is None else len(tokens_of(records))
    return Report(len(records), len(changed), opened, model["version"], found, matched, watch.seconds)


def changed_since(records: pl.DataFrame, last: dict[str, str], *, anew: bool) -> pl.Series:
    """True for each record that says anything else than when it was compared last, or was not compared yet."""
    if anew or not last:
        return pl.Series([True] * len(records), dtype=pl.Boolean)
    before = records["record_key"].replace_strict(last, default=None, return_dtype=pl.String)
    return before.ne_missing(records["profile_hash"])


def tokens_of(records: pl.DataFrame) -> set[str]:
    """All that is compared, as tokens."""
    return {token for name in match_records.COMPARED for token in records[name].drop_nulls()}


def opened_features(settings: Settings, records: pl.DataFrame, policy: dict, identity: dict) -> pl.DataFrame:
    """The records in the clear and in normal form: personal, for this process's memory only."""
    values = vault_table.values(settings.table_path(VAULT), tokens_of(records), MasterKey.load(settings))
    return match_profiles.features(match_records.profiles(records, values), policy, identity["placeholders"])


def crm_records(settings: Settings) -> pl.DataFrame:
    """The CRM's records of today, coded; none where the table is not there yet."""
    path = settings.table_path(CUSTOMERS)
    if not (path / "_delta_log").exists():
        raise typer.BadParameter(
            f"there is no {CUSTOMERS} yet: CRM records come by raw.crm (kefulake simulate crm-records), through the "
            "cleaning job and the tiering service; see kefulake tables"
        )
    table = DeltaTable(str(path)).to_pyarrow_table(columns=list(match_records.NEEDED), filesystem=arrow_files(path))
    return match_records.newest_records(pl.from_arrow(table))


def compare(features: pl.DataFrame, is_changed: pl.Series, policy: dict, model: dict) -> pl.DataFrame:
    """The pairs above the threshold that hold a changed record."""
    if is_changed.all():
        return matching.match_all(features, model, policy)
    return matching.match_new(features.filter(is_changed), features.filter(~is_changed), model, policy)


class _Watch:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step], self._since = round(now - self._since, 1), now


def show(report: Report, console: Console, *, dry_run: bool) -> None:
    """One table: what was read, what was found, and what became of it."""
    done, would = report.matched, "would be " if dry_run else ""
    rows = [
        ("CRM records", report.records, CUSTOMERS),
        ("compared with all others", report.changed, "new or changed since the last run"),
        ("values opened", report.values_opened, "in memory only; the audit log says by whom and why"),
        ("pairs more probably one person than two", len(report.found.merge) + len(report.found.review), ""),
        (f"pairs {would}merged", done.merged, "kefulake identity split takes it back"),
        ("customers that became another's", done.customers_merged, f"{done.identifiers_moved:,} identifiers moved"),
        (f"pairs {would}proposed", done.proposed, "kefulake identity review"),
        (f"proposals {would}withdrawn", done.withdrawn, "their records are not alike any more"),
        ("records the identity state does not know yet", done.not_known, "no name, or on their way: the next run"),
        *((f"nothing to do: {why}", pairs, "") for why, pairs in sorted(done.settled.items())),
        *((f"left to a person: {why}", pairs, "of the proposed") for why, pairs in sorted(done.demoted.items())),
    ]
    table = Table("what", "number", "note", title="Matching, a dry run" if dry_run else "Matching")
    table.columns[1].justify = "right"
    for what, number, note in rows:
        table.add_row(what, f"{number:,}", note)
    table.caption = f"model {report.model}; " + ", ".join(
        f"{step} {seconds} s" for step, seconds in report.seconds.items()
    )
    console.print(table)
