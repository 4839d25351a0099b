"""The upkeep of every table of the lake, one after the other, beside the services and builds that write them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import balance_table, delta_upkeep, gold_lock, lake_tables, retention
from pipelines.io.delta_upkeep import Upkeep
from pipelines.tables.data_balance import BRONZE, not_settled

log = logging.getLogger(__name__)

STEPS = ("retention", "compact", "checkpoint", "vacuum")


class TableBroken(RuntimeError):
    """A table's folder does not hold what its log says, or holds what is not its own; the message says what to do."""


@dataclass(frozen=True)
class State:
    """What a table is made of: files and bytes of its newest version, bytes of its whole folder, log entries."""

    files: int
    live_bytes: int
    disk_bytes: int
    log_entries: int


@dataclass
class Kept:
    """What a run did to one table; ``error`` says why it stopped there, ``held`` which days retention left."""

    table: str
    before: State | None = None
    after: State | None = None
    rows_removed: int = 0
    files_merged: int = 0
    files_deleted: int = 0
    checkpoint: bool = False
    seconds: float = 0.0
    held: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def changed(self) -> bool:
        """True when the run did anything."""
        return bool(self.rows_removed or self.files_merged or self.files_deleted or self.checkpoint)


def keep_lake(
    settings: Settings,
    *,
    steps: Sequence[str] = STEPS,
    tables: Sequence[str] | None = None,
    today: date,
    now: datetime,
    tell: Callable[[str], object] = log.info,
) -> Iterator[Kept]:
    """Takes the steps for every table with a contract that lies in the lake (or for ``tables``), each on its own.

    What fails for one table is told in its `Kept`, and the others go on. A table without a contract is left alone.
    """
    keep = Upkeep.of(contracts.policy("tiering")["upkeep"])
    there, declared = lake_tables.present(settings.lake), contracts.tables()
    chosen = [n for n in there if n in declared] if tables is None else list(tables)
    limits = retention.limits()
    frozen = balance_table.removed_days(settings)
    for name in chosen:
        tell(name)
        kept, began = Kept(name), time.monotonic()
        try:
            with _alone(settings, name, tell):
                if "retention" in steps and name in limits:  # a run that removed days may have been killed before this
                    retention.record(settings, [name], now)
                _keep(settings, kept, there[name], keep, steps, limits.get(name), frozen, today, now)
        except Exception as error:  # one table that is broken must not leave the others unkept
            kept.error = str(error) if isinstance(error, (TableBroken, ValueError)) else _explained(name, error)
            log.debug("%s: upkeep failed", name, exc_info=True)
        kept.seconds = time.monotonic() - began
        yield kept


def state_of(path: Path, table: DeltaTable) -> State:
    """Counts by log and folder; nothing is scanned."""
    files = delta_upkeep.files_of(table)
    on_disk = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    entries = sum(1 for _ in (path / "_delta_log").glob("*.json"))
    return State(len(files), sum(f.size for f in files), on_disk, entries)


def require_sound(name: str, path: Path, table: DeltaTable) -> None:
    """Raises TableBroken for a file that the log names and that is not there, or one that is no file of a table."""
    known = {f.path for f in delta_upkeep.files_of(table)}
    found = {str(f.relative_to(path)) for f in path.rglob("*") if f.is_file() and not _hidden(f, path)}
    if missing := sorted(known - found):
        raise TableBroken(
            f"{name}: {len(missing)} files that its log names are not there, e.g. {path / missing[0]}. Bring them back "
            "from the backup (kefulake backup status says from when); until then queries that need them fail"
        )
    if foreign := sorted(f for f in found - known if not f.endswith(".parquet")):
        raise TableBroken(
            f"{name}: {path / foreign[0]} is no file of this table ({len(foreign)} such). Move it out of the lake: "
            "vacuum would delete it"
        )


def _keep(
    settings: Settings,
    kept: Kept,
    path: Path,
    keep: Upkeep,
    steps: Sequence[str],
    keep_days: int | None,
    frozen: set[date],
    today: date,
    now: datetime,
) -> None:
    table = DeltaTable(path)
    lake_tables.require_plain_files(kept.table, table)
    require_sound(kept.table, path, table)
    kept.before = state_of(path, table)
    if "retention" in steps and keep_days is not None:
        settled = partial(_settled, settings, kept.table, frozen)
        kept.rows_removed, kept.held = retention.remove_expired(
            path, keep_days, today=today, now=now, settled=settled
        )  # fmt: skip
        if kept.rows_removed:  # at once: the balance takes days for lost that are removed and not recorded
            retention.record(settings, [kept.table], now)
    while "compact" in steps and (merged := delta_upkeep.compact(path, keep)):
        kept.files_merged += merged
    if "checkpoint" in steps:
        kept.checkpoint = delta_upkeep.checkpoint(path, keep)
    if "vacuum" in steps:
        kept.files_deleted = delta_upkeep.vacuum(path, keep)
    kept.after = state_of(path, DeltaTable(path))


def _settled(settings: Settings, name: str, frozen: set[date], day: date, rows: int) -> str | None:
    """Before the first rows of a day go, its balance must be final; afterwards it is not counted any more."""
    if day in frozen or name not in balance_table.INPUTS:
        return None
    return not_settled(balance_table.read(settings).to_pylist(), day, rows if name == BRONZE else None)


@contextmanager
def _alone(settings: Settings, name: str, tell: Callable[[str], object]) -> Iterator[None]:
    """Without the builds that overwrite a table. Appends of the tiering service need no lock: they are fenced."""
    engine = contracts.table(name).engine
    with ExitStack() as held:
        if engine == "spark":
            held.enter_context(gold_lock.no_build(settings.home, tell, "the upkeep"))
        elif engine != "tiering":
            held.enter_context(gold_lock.one_build_of(name, settings.home))
        yield


def _hidden(file: Path, path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in file.relative_to(path).parts)


def _explained(name: str, error: Exception) -> str:
    if isinstance(error, (DeltaError, json.JSONDecodeError)):
        return (
            f"{name}: its log can't be read or written ({error}). Look whether files of _delta_log are damaged or were "
            "taken away, and bring them back from the backup"
        )
    return f"{name}: {type(error).__name__}: {error}"
