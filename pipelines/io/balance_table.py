"""Keeps ``gold.data_balance`` up to date: only hours that got rows, or that can be closed, are computed again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import gold_lock, retention
from pipelines.io.balance_inputs import changed_hours, coordinates
from pipelines.io.delta import open_store, writer_properties
from pipelines.io.duckdb_lake import spilling
from pipelines.io.lake_tables import arrow_files
from pipelines.tables.data_balance import BRONZE, ROLE_OF, build, is_closed

log = logging.getLogger(__name__)

TABLE = "gold.data_balance"
# Outputs before bronze: what a later bronze snapshot holds more is no alarm, what it holds less would be.
INPUTS = (*ROLE_OF, BRONZE)


def compute(
    settings: Settings,
    hours: Iterable[datetime],
    *,
    passed_until: datetime | None,
    grace: timedelta,
    memory_limit_mb: int,
    now: datetime,
) -> pa.Table:
    """Balance of `hours` straight from the tables; an empty table where there is no bronze yet."""
    wanted = sorted(hours)
    with spilling(settings.home / "scratch" / "balance", memory_limit_mb) as connection:
        found = {name: coordinates(connection, settings.table_path(name), wanted) for name in INPUTS}
        bronze = found.pop(BRONZE)
        if bronze is None:
            bronze = connection.from_arrow(_NO_COORDINATES)
        outputs = {name: relation for name, relation in found.items() if relation is not None}
        return build(connection, bronze, outputs, wanted, passed_until=passed_until, computed_at=now, grace=grace)


_NO_COORDINATES = pa.schema(
    [
        ("raw_topic", pa.string()),
        ("raw_partition", pa.int32()),
        ("raw_offset", pa.int64()),
        ("received_at", pa.timestamp("us", tz="UTC")),
    ]
).empty_table()


def all_hours(settings: Settings) -> set[datetime]:
    """Every hour that can be counted: any input table holds rows of it, and retention took none."""
    hours = set().union(*(changed_hours(path, None)[0] for path in _existing(settings).values()))
    return _countable(hours, removed_days(settings))


def removed_days(settings: Settings) -> set[date]:
    """Days of which an input lost rows by retention: their lines stand as they were counted before, for ever."""
    removed = retention.removed_by_day(settings)
    return set().union(*(removed.get(name, {}) for name in INPUTS))


def _countable(hours: Iterable[datetime], removed: set[date]) -> set[datetime]:
    return {hour for hour in hours if hour.date() not in removed}


def _existing(settings: Settings) -> dict[str, Path]:
    paths = {name: settings.table_path(name) for name in INPUTS}
    return {name: path for name, path in paths.items() if (path / "_delta_log").exists()}


def read(settings: Settings) -> pa.Table:
    """The table as it stands; empty before the first turn."""
    path = settings.table_path(TABLE)
    if not (path / "_delta_log").exists():
        return contracts.arrow_schema(contracts.table(TABLE)).empty_table()
    return DeltaTable(path).to_pyarrow_table(filesystem=arrow_files(path))


class BalanceTable:
    """The one writer of ``gold.data_balance``; remembers in it up to which version of each input it has counted."""

    def __init__(self, settings: Settings, *, grace: timedelta, memory_limit_mb: int = 1024):
        self._settings, self._grace, self._memory_limit_mb = settings, grace, memory_limit_mb
        table = contracts.table(TABLE)
        self._schema = contracts.arrow_schema(table)
        open_store(
            settings.table_path(TABLE), self._schema, table.partition_by, name=TABLE, description=table.description
        )

    def turn(self, passed_until: datetime | None, now: datetime | None = None) -> pa.Table:
        """Bring the table up to date; gives the rows computed anew (none: nothing had changed).

        Raises deltalake's CommitFailedError when a second balance service was faster; the next turn sees its rows.
        """
        # Upkeep rearranges the table's files, and an overwrite that began before would bring their rows back.
        with gold_lock.one_build_of(TABLE, self._settings.home):
            return self._turn(passed_until, now or datetime.now(UTC))

    def _turn(self, passed_until: datetime | None, now: datetime) -> pa.Table:
        path = self._settings.table_path(TABLE)
        target = DeltaTable(path)
        hours, versions = self._changed(target)
        old = target.to_pyarrow_table(filesystem=arrow_files(path))
        hours |= {h for h in _open_hours(old) if is_closed(h, passed_until, self._grace)}
        if not hours:
            return self._schema.empty_table()
        rows = compute(
            self._settings,
            hours,
            passed_until=passed_until,
            grace=self._grace,
            memory_limit_mb=self._memory_limit_mb,
            now=now,
        )
        self._write(target, old, rows.cast(self._schema), hours, versions)
        return rows

    def _changed(self, target: DeltaTable) -> tuple[set[datetime], dict[str, int]]:
        hours: set[datetime] = set()
        versions = {}
        for name, path in _existing(self._settings).items():
            since = target.transaction_version(f"balance/{name}")
            changed, versions[name] = changed_hours(path, since)
            hours |= changed
        return _countable(hours, removed_days(self._settings)), versions

    def _write(
        self, target: DeltaTable, old: pa.Table, rows: pa.Table, hours: set[datetime], versions: Mapping[str, int]
    ) -> None:
        """Replaces one stretch of hours in one commit; hours in between that did not change go in as they are."""
        first, last = min(hours), max(hours)
        inside = pc.and_(pc.greater_equal(old["hour_at"], first), pc.less_equal(old["hour_at"], last))
        kept = old.filter(inside).filter(
            pc.invert(pc.is_in(old.filter(inside)["hour_at"], pa.array(sorted(hours), _INSTANT)))
        )
        write_deltalake(
            target,
            pa.concat_tables([rows, kept.select(self._schema.names).cast(self._schema)]),
            mode="overwrite",
            predicate=f"hour_at >= '{first:%Y-%m-%dT%H:%M:%SZ}' AND hour_at <= '{last:%Y-%m-%dT%H:%M:%SZ}'",
            writer_properties=writer_properties(self._schema),
            commit_properties=CommitProperties(
                app_transactions=[Transaction(f"balance/{name}", version) for name, version in versions.items()]
            ),
        )


_INSTANT = pa.timestamp("us", tz="UTC")


def _open_hours(balance: pa.Table) -> set[datetime]:
    return set(balance.filter(pc.invert(balance["closed"]))["hour_at"].to_pylist())
