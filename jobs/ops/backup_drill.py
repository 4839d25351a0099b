"""`kefulake backup drill`: the newest round restored beside what runs, proven, and cleared away."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from infra.stack import lifecycle, ports
from infra.stack.settings import PROJECT_ROOT, Ports, Settings
from jobs.ops.restoring import Restored, RestoreRefused, restore
from pipelines import contracts
from pipelines.backup import cut, places
from pipelines.io import lake_tables
from pipelines.tables.data_balance import BRONZE, ROLE_OF

# What a stack needs to judge and to keep; nothing that sends anything out, and no shipper.
PARTS = ["kafka", "flink-jobmanager", "flink-taskmanager", "mariadb", "tiering", "serving-writer", "identity-resolver"]
# When a row was judged, and what is encrypted with a nonce of its own, differs where a message was judged again.
_NOT_COMPARED = frozenset({"processed_at", "payload_ciphertext", "payload_encrypted"})


@dataclass(frozen=True)
class Proof:
    """One thing that must be equal."""

    what: str
    source: str
    restored: str

    @property
    def holds(self) -> bool:
        """True where both say the same."""
        return self.source == self.restored


def run_drill(
    settings: Settings, ask: Callable[[], str], *, tell: Callable[[str], None], keep: bool
) -> list[Proof]:  # fmt: skip
    """Restore into ``<home>-drill``, prove, and remove it. Raises as `jobs.ops.restoring.restore`."""
    with _alone(settings):
        return _drill(settings, ask, tell=tell, keep=keep)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One drill of a home at a time: the next one clears away what it finds."""
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "drill.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RestoreRefused(f"another drill of {settings.home} is under way; let it end") from None
        yield


def _drill(settings: Settings, ask: Callable[[], str], *, tell: Callable[[str], None], keep: bool) -> list[Proof]:
    target = Settings(
        settings.home.with_name(f"{settings.home.name}-drill"), Ports(ports.free_base(26_000)), settings.region
    )
    _clear(target)
    folder, sealed = places.backup_folder(settings), places.keys_folder(settings)
    try:
        with _entered(target):
            told = restore(target, folder, sealed, None, ask, tell=tell, parts=PARTS)
            tell("proving …")
            proofs = [_balance(target), *_tables(settings, target, told), _customer(settings, target)]
    finally:
        with _entered(target):
            lifecycle.down(target, lambda *_: None)
        if not keep:
            _clear(target)
    return proofs


def _clear(target: Settings) -> None:
    """The drill's home, and the keys its own backup would have gone on with; by name, whatever the environment says."""
    for name in (target.home.name, f"{target.home.name}-backup-keys"):
        shutil.rmtree(target.home.with_name(name), ignore_errors=True)


@contextmanager
def _entered(target: Settings) -> Iterator[None]:
    """Commands and services started meanwhile work in the drill's home."""
    before = dict(os.environ)
    os.environ |= {"KEFULAKE_HOME": str(target.home), "KEFULAKE_PORT_BASE": str(target.ports.base)}
    for name in (places.FOLDER, places.KEYS):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _balance(target: Settings) -> Proof:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "kefulake"), "balance", "--final"],
        cwd=PROJECT_ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Proof("the balance closes", "yes", "yes" if done.returncode == 0 else done.stderr.strip()[:300])


def _tables(settings: Settings, target: Settings, told: Restored) -> list[Proof]:
    """Rows up to the end of the backup: those of the source as it is now, and those restored.

    What was judged again is counted, not compared: its customer is whoever the identifiers lead to by now.
    """
    proofs = []
    for name in (BRONZE, *ROLE_OF):
        paths = [where.table_path(name) for where in (settings, target)]
        if all((path / "_delta_log").exists() for path in paths):
            proofs.append(Proof(name, *(_fingerprint(name, path, told) for path in paths)))
    return proofs


def _fingerprint(name: str, path: Path, told: Restored) -> str:
    """Rows, and a hash over the cells of those that were settled, whatever their order."""
    columns = sorted({field.name for field in contracts.table(name).fields} - _NOT_COMPARED)
    files = lake_tables.files(DeltaTable(path), path)
    if not files:
        return "0 rows"
    with duckdb.connect() as connection:
        rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True).filter(
            f"raw_topic LIKE 'raw.%' AND NOT ({cut.beyond(told.ends)})"
        )
        present = [f"{column}::VARCHAR" for column in columns if column in rows.columns]
        hashed = f"hash({', '.join(present)})"
        settled = f"NOT ({cut.beyond(told.begin)})"
        count, total = rows.aggregate(f"count(*), bit_xor({hashed}) FILTER ({settled})").fetchall()[0]
    return f"{count:,} rows, {total or 0:016x}"


def _customer(settings: Settings, target: Settings) -> Proof:
    """The contacts of the busiest customer."""
    told = []
    for where in (settings, target):
        path = where.table_path("silver.interactions")
        with duckdb.connect() as connection:
            rows = connection.read_parquet(lake_tables.files(DeltaTable(path), path), hive_partitioning=False)
            told.append(rows.aggregate("customer_id, count(*) AS contacts", "customer_id").order(
                "contacts DESC, customer_id").limit(1).fetchall())  # fmt: skip
    return Proof("a customer can be read", *("nobody" if not one else f"{one[0][0]}" for one in told))
