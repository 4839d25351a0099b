"""The vault out of a backup: no restored row carries a token whose value nobody can open.

A vault entry is published before the row that carries its token, and the tables are written at moments of their own: so
of the newest rows the entries may be in no version of the table yet. They come out of the vault's tail, which a round
ships after the rows. An earlier round's tail is gone with the version that took it in: its newest rows' entries come
out of the newest version of the table.
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import orjson
import polars as pl
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.backup import store
from pipelines.backup.manifest import State
from pipelines.backup.soundness import newest_sound
from pipelines.io import backup_lake, backup_topics, lake_tables
from pipelines.io.backup_round import VAULT
from pipelines.io.backup_topics import VAULT_TAIL
from pipelines.io.publisher import publish
from pipelines.io.restore_serving import republished, rows_of
from pipelines.privacy.erasure import IDENTIFIER
from pipelines.privacy.keys import MasterKey

CARRIED_BY = ("silver.interactions", "silver.feedback", "silver.ticket_events", "silver.customers", "silver.orders")
_SAID = ("text", "subject", "attributes")
_TOKEN = "[a-z]{2}[0-9]+_[0-9a-f]{32}"  # noqa: S105 - the form of one
# A row this much older than its round has its vault entries in the round's own table, which is seconds behind.
_LATELY_S = 3600

Entry = tuple[str, bytes | None]


def vault(settings: Settings, policy: dict, folder: Path, state: State, key: MasterKey) -> dict[str, int]:
    """The entries into topic identity.vault, and those that the table lacks for the tiering service to take in.

    Counts by what they are; ``tokens without an entry``: of persons who were erased, else of a backup older than the
    vault's tail, or of a damaged one.
    """
    rows = rows_of(settings, VAULT)
    known: set[str] = set()
    told = {"identity.vault (topic)": 0}
    if rows is not None and not rows.is_empty():
        known = set(rows["token"])
        told["identity.vault (topic)"] = republished(settings, policy, VAULT, VAULT, newest_entries(rows))
    wanted = tokens_carried(settings, state.at - _LATELY_S) - known
    beyond = entries_beyond(folder, state, key, wanted)
    told["identity.vault (its tail)"] = publish(settings.bootstrap, VAULT, beyond) if beyond else 0
    told["tokens without an entry"] = len(wanted - {token for token, _ in beyond})
    return told


def newest_entries(rows: pl.DataFrame) -> list[Entry]:
    """One entry of each token, under the newest key version; of one that was removed its removal."""
    gone = pl.col("wrapped_key").fill_null("") == ""
    removed = rows.filter(gone)["token"].unique().to_list()
    version = pl.col("wrapped_key").str.slice(0, 4).str.decode("base64")  # its first byte (`vault.wrapped_by`)
    alive = rows.filter(~pl.col("token").is_in(removed)).sort(version, maintain_order=True)
    alive = alive.unique("token", keep="last", maintain_order=True)
    return _records(alive) + [(token, None) for token in removed]


def entries_beyond(folder: Path, state: State, key: MasterKey, wanted: set[str]) -> list[Entry]:
    """Entries that the table of ``state`` lacks: all of the tail, and of the newest table those that are wanted.

    A damaged file gives none: `jobs.ops.restoring.state_at` has said whether it may be missing.
    """
    newest = newest_sound(folder)
    lines = sorted(newest.of(VAULT_TAIL).items(), key=lambda one: (one[1]["place"], one[1]["first"]))
    found = [
        ((record.key or b"").decode(), record.value)
        for path, line in lines
        if store.check(folder, line) is None
        for record in backup_topics.opened(store.read_out(folder, line), key, path)
    ]
    found = [entry for entry in found if re.fullmatch(_TOKEN, entry[0])]  # not what an erasure wrote to end a segment
    lacking = wanted - {token for token, _ in found}
    if not lacking or newest.rounds == state.rounds:
        return found
    files = _sound_files(folder, newest)
    if not files:
        return found
    with duckdb.connect() as connection:
        connection.register("asked", pl.DataFrame({"token": sorted(lacking)}).to_arrow())
        query = "SELECT * FROM read_parquet(?, union_by_name=true) SEMI JOIN asked USING (token)"
        return found + newest_entries(pl.from_arrow(connection.sql(query, params=[files]).to_arrow_table()))


def _sound_files(folder: Path, newest: State) -> list[str]:
    """Files of the newest vault table; none where its log is damaged, so that nobody knows them."""
    if VAULT not in newest.tables:
        return []
    version = newest.tables[VAULT]
    try:
        if store.damages(folder, backup_lake.logged(newest, VAULT, version)[0]):
            return []
        data = backup_lake.data_of(newest, folder, VAULT, version)
    except store.BackupDamaged:
        return []
    return [str(folder / line["path"]) for line in data if store.check(folder, line) is None]


def tokens_carried(settings: Settings, since_s: float) -> set[str]:
    """Tokens of rows that were processed since then: of their columns, and of the numbers in their texts."""
    found: set[str] = set()
    for name in CARRIED_BY:
        path = settings.table_path(name)
        files = lake_tables.files(DeltaTable(path), path) if (path / "_delta_log").exists() else []
        if not files:
            continue
        with duckdb.connect() as connection:
            rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
            columns = [f"[{column}]" for column in rows.columns if column.endswith(IDENTIFIER)]
            columns += [f"regexp_extract_all({c}::VARCHAR, '{_TOKEN}')" for c in _SAID if c in rows.columns]
            carried = rows.filter(f"epoch(processed_at) >= {float(since_s)}").project(
                f"unnest(flatten([{', '.join(columns)}])) AS token"
            )
            found.update(token for (token,) in carried.distinct().fetchall() if token)
    return found


def _records(entries: pl.DataFrame) -> list[Entry]:
    columns = [field.name for field in contracts.topic(VAULT).fields if field.name in entries.columns]
    return [(row["token"], orjson.dumps(row)) for row in entries.select(columns).iter_rows(named=True)]
