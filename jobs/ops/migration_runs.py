"""The steps behind `kefulake migrate`: where a migration stands, copying, certifying and signing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import make_url

from infra.stack.settings import Settings
from jobs.ops.auditing import write_down
from jobs.ops.migration_state import State, folder
from pipelines import contracts
from pipelines.cleaning import baseline_records
from pipelines.cleaning.context import CleaningContext
from pipelines.identity import map_records
from pipelines.io import second_reading, stored_history
from pipelines.io.compacted_tail import CompactedTail
from pipelines.io.history_layout import arrange
from pipelines.io.migration_files import FileTable
from pipelines.io.migration_lake import BRONZE, HistoryLake
from pipelines.io.migration_mysql import MySqlTable, SourceRefused
from pipelines.io.publisher import publish
from pipelines.io.tiering_service import open_table
from pipelines.migration import certificate, certifying
from pipelines.migration.chunks import FULL, INCREMENTS
from pipelines.migration.copying import Copier, Counted
from pipelines.migration.declaration import Migration, SourceTable
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import VaultWriter

VAULT = "identity.vault"


def source_url(migration: Migration) -> str | None:
    """The URL out of its variable. Raises SourceRefused where it is not set."""
    if migration.url_variable is None:
        return None
    url = os.environ.get(migration.url_variable)
    if not url:
        raise SourceRefused(
            f"set {migration.url_variable} to the source's URL, mysql+pymysql://user:password@host/database"
        )
    return url


def source_of(migration: Migration, table: SourceTable) -> MySqlTable | FileTable:
    """The source table, opened and compared with its declaration. Raises SourceRefused."""
    url = source_url(migration)
    return MySqlTable(url, table) if url else FileTable(migration.kind, table)


def source_word(migration: Migration) -> str:
    """The source without user and password."""
    url = source_url(migration)
    if url is None:
        return f"{migration.kind} files"
    parts = make_url(url)
    return f"{parts.get_backend_name()} {parts.database} at {parts.host or 'socket'}"


def marks(migration: Migration) -> list[str | None]:
    """Newest change of each table: equal before and after, nobody wrote."""
    return [source_of(migration, t).mark(0) for t in migration.tables if t.changed or migration.kind != "mysql"]


def lake_of(settings: Settings, migration: Migration, table: SourceTable, key: MasterKey) -> HistoryLake:
    """The tables of one source table."""
    policy = contracts.policy("tiering")
    return HistoryLake(
        lambda name: open_table(settings, name, policy), settings.table_path, key, migration.topic(table)
    )


def received(settings: Settings, migration: Migration, table: SourceTable) -> tuple[int, int]:
    """Rows in bronze: of the full copy, of increments."""
    lake = lake_of(settings, migration, table, MasterKey.load(settings))
    return lake.end(BRONZE, FULL), lake.end(BRONZE, INCREMENTS)


def cleaning_context(settings: Settings, *, followed: bool) -> CleaningContext:
    """As a worker of the stream has it: keys, and (followed) identity map and baselines as they stand in Kafka now."""
    key, policy = MasterKey.load(settings), contracts.policy("migration")
    context = CleaningContext.create(key, settings.region)
    vault = VaultWriter(key, known_tokens=policy["known_tokens"])
    placeholders = context.policies["identity"]["placeholders"]
    tokeniser = Tokeniser(key, placeholders=placeholders, cache_values=policy["cache_values"], on_new=vault.add)
    context = replace(context, vault=vault, tokeniser=tokeniser)
    if followed:
        feeds = {"identity.map": partial(map_records.feed, context.identity),
                 "policy.baselines": partial(baseline_records.feed, context.baselines)}  # fmt: skip
        for topic, feed in feeds.items():
            tail = CompactedTail(settings.bootstrap, topic)
            for records in tail.load_to_end():
                feed(records)
            tail.close()
    return context


def copy(
    settings: Settings, migration: Migration, state: State, *, chunk_rows: int | None = None
) -> dict[str, Counted]:
    """One run over all tables; what each did. Raises what the source, Kafka or Delta raise: then run it again."""
    counted = _copy_tables(settings, migration, state, chunk_rows)
    for table in migration.tables:  # when the copy's caches are gone: sorting ten years needs the memory itself
        _bring_into_order(settings, migration, table, state)
    return counted


def _copy_tables(settings: Settings, migration: Migration, state: State, chunk_rows: int | None) -> dict[str, Counted]:
    context = cleaning_context(settings, followed=True)
    rows = chunk_rows or contracts.policy("migration")["chunk_rows"]
    counted = {}
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bars, transient=True) as progress:
        for table in migration.tables:
            source = source_of(migration, table)
            bar = progress.add_task(table.name, total=source.rows())
            lake = lake_of(settings, migration, table, context.key)
            copier = Copier(
                table, migration.topic(table), lake, context, partial(_publish, settings), _now_us, rows,
                tell=lambda done, bar=bar: progress.update(bar, completed=done),
            )  # fmt: skip
            _copy_table(migration, table, source, copier, state)
            counted[table.name] = copier.counted
    return counted


def make_good(settings: Settings, migration: Migration, state: State) -> dict[str, Counted]:
    """What a killed run left in bronze comes into its tables, out of bronze alone; what it did to each table."""
    context, rows = cleaning_context(settings, followed=True), contracts.policy("migration")["chunk_rows"]
    counted = {}
    for table in migration.tables:
        require_same_reading(table, state.tables.setdefault(table.name, {}))
        lake = lake_of(settings, migration, table, context.key)
        copier = Copier(table, migration.topic(table), lake, context, partial(_publish, settings), _now_us, rows)
        copier.make_good(lake.columns())
        counted[table.name] = copier.counted
    return counted


def _copy_table(
    migration: Migration, table: SourceTable, source: MySqlTable | FileTable, copier: Copier, state: State
) -> None:
    """Full until it ended once; the mark was noted before its first row, so that no change falls between the two."""
    known = state.tables.setdefault(table.name, {})
    require_same_reading(table, known)
    marked = table.changed is not None or migration.kind != "mysql"
    if "mark" not in known:
        # Where the copy has begun the state was lost: what changed since is known to nobody, so every row is compared.
        begun = copier.lake.end(BRONZE, FULL) > 0
        known["mark"] = source.mark(table.overlap_s) if marked and not begun else None
        state.save()
    if not known.get("full"):
        copier.full(source)
        known["full"] = True
    elif marked:
        newest = source.mark(table.overlap_s)
        copier.increment(source, known["mark"] or "1970-01-01")
        known["mark"] = newest
    state.save()


def require_same_reading(table: SourceTable, known: dict[str, Any]) -> None:
    """Notes how the table's rows are read, at the first run. Raises SourceRefused where a later one reads otherwise.

    Rows that stand would stay as they were read, and those of a new output be made of all rows: two readings in one.
    """
    if known.setdefault("reading", table.reading) != table.reading:
        raise SourceRefused(
            f"{table.name}: its declaration reads rows otherwise than when the copy began; nothing was copied. Put it "
            "back as it was, or copy under another name of the migration (the certificate compares by the declaration)"
        )


def _bring_into_order(settings: Settings, migration: Migration, table: SourceTable, state: State) -> None:
    """Once after the full copy, for look-ups by phone; killed meanwhile, the next run does it."""
    known = state.tables[table.name]
    if known.get("ordered") or table.record_channel:
        return
    scratch, memory_mb = settings.home / "scratch" / "migration", contracts.policy("migration")["certify_memory_mb"]
    for target in table.targets:
        arrange(settings.table_path(target), migration.topic(table), scratch, memory_mb=memory_mb)
    known["ordered"] = True
    state.save()


def _publish(settings: Settings, entries: list[tuple[str, str]]) -> None:
    publish(settings.bootstrap, VAULT, ((token, value.encode()) for token, value in entries))


def _now_us() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Certified:
    """A certificate as it was written down."""

    stated: dict[str, Any]
    text: str
    path: Path


def certify(settings: Settings, migration: Migration, *, role: str, reason: str, cut_over: bool) -> Certified:
    """Compare every table, sign the certificate into the audit chain, then write it. Raises AuditRefused."""
    context, policy = cleaning_context(settings, followed=False), contracts.policy("migration")
    secret = context.key.derive("migration/fingerprint", context.key.version).hex()
    scratch = settings.home / "scratch" / "migration"
    compared = [_compared(settings, migration, table, context, secret, scratch) for table in migration.tables]
    issued = datetime.now(UTC)
    stated = certificate.certificate(
        migration.name, compared, migration.accepted, source=source_word(migration),
        issued_at=issued.isoformat(timespec="seconds"), named_differences=policy["named_differences"],
        cut_over=cut_over,
    )  # fmt: skip
    text, digest = certificate.encoded(stated)
    detail = {"sha256": digest, **{name: stated[name] for name in ("certified", "rows", "accuracy", "cut_over")}}
    row = write_down(settings, "migrate", migration.name, role=role, reason=reason, detail=detail)
    path = folder(settings, migration) / f"certificate-{issued:%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(text)
    human = certificate.as_text(stated, digest, row.audit_seq)
    path.with_suffix(".txt").write_text(human, encoding="utf-8")
    return Certified(stated, human, path)


def _compared(
    settings: Settings, migration: Migration, table: SourceTable, context: CleaningContext, secret: str, scratch: Path
) -> certifying.Compared:
    source = source_of(migration, table)
    mysql = source if isinstance(source, MySqlTable) else None
    memory_mb = contracts.policy("migration")["certify_memory_mb"]
    with stored_history.stored(
        table, migration.topic(table), settings.table_path, scratch, memory_mb=memory_mb,
        coded=certifying.coded_key(table, context),
    ) as connection:  # fmt: skip
        found = certifying.compare(
            table, lambda: second_reading.expected_rows(migration.kind, table, mysql), connection, context, secret
        )
        figures = second_reading.source_kpis(migration.kind, table, mysql)
        excepted = second_reading.source_kpis(migration.kind, table, mysql, [r.key for r in found.rejected])
        ours = stored_history.stored_kpis(connection, table)
        found.source_deleted = second_reading.rows_marked_deleted(migration.kind, table, mysql)
        found.kpi_groups = len(figures)
        found.kpi_unequal = list(certifying.unequal_figures(figures, excepted, ours))
    return found
