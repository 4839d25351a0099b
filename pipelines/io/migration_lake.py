"""Chunks of history in the lake: the raw bytes first, then what the rules made of them; each commit moves a position.

The source may change between a kill and the next start, bronze does not: what bronze has and an output lacks is made
again from bronze's bytes, never read again. So every raw coordinate stands in exactly one output, whenever it ended.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines import contracts
from pipelines.io import lake_tables
from pipelines.io.delta import DeltaStore, Move, writer_properties
from pipelines.io.duckdb_lake import spilling_aside
from pipelines.migration.chunks import FULL, INCREMENTS, Chunk, of_header, rows_of
from pipelines.privacy.bronze_cipher import BronzeCipher, open_bronze
from pipelines.privacy.keys import MasterKey

BRONZE = "bronze.raw_events"
_INSTANT = pa.timestamp("us", tz="UTC")
#: Rows of a row group: what a look-up of one customer has to read of each file. Sorted by phone, a customer's rows of a
#: chunk lie in one of them.
ROW_GROUP_ROWS = 8_192
_LOOKED_UP = ("phone_token", "customer_id")

# As `pipelines.migration.chunks.header` writes it.
_REPEATS = "contains(coalesce(headers, ''), '\"repeats\":true')"


class HistoryLake:
    """The tables of one migration's source table.

    Args:
        open_store: opens (or makes) the Delta table of a contract.
        topic: what stands as raw_topic, ``history.<migration>.<table>``.
        table_path: folder of a table.
    """

    def __init__(
        self,
        open_store: Callable[[str], DeltaStore],
        table_path: Callable[[str], Path],
        key: MasterKey,
        topic: str,
    ):
        self._open, self._table_path, self._key, self._topic = open_store, table_path, key, topic
        self._stores: dict[str, DeltaStore] = {}
        self._ciphers: dict[int, BronzeCipher] = {}

    def application(self, partition: int) -> str:
        """Delta's application ID of a partition's positions, the same in every table."""
        return f"{self._topic}/{partition}"

    def _store(self, name: str) -> DeltaStore:
        if name not in self._stores:
            self._stores[name] = self._open(name)
        return self._stores[name]

    def end(self, name: str, partition: int) -> int:
        """The next offset that a table lacks."""
        store = self._store(name)
        store.refresh()
        return store.positions([self.application(partition)]).get(self.application(partition), 0)

    # ---- writing

    def append_raw(self, chunk: Chunk) -> None:
        """The bytes as they came, encrypted. Raises LostRace where another migration was faster."""
        schema = contracts.arrow_schema(contracts.table(BRONZE))
        payloads, size = chunk.payloads(), len(chunk)
        sealed = self._cipher(chunk.partition).encrypt([chunk.partition] * size, list(chunk.offsets), payloads)
        received_at = pa.array([chunk.received_us] * size, pa.int64()).cast(_INSTANT)
        columns = {
            "raw_topic": pa.array([self._topic] * size, pa.string()),
            "raw_partition": pa.array([chunk.partition] * size, pa.int32()),
            "raw_offset": pa.array(chunk.offsets, pa.int64()),
            "received_at": received_at,
            "received_date": received_at.cast(pa.timestamp("us")).cast(pa.date32(), safe=False),
            "key_bytes": pa.array([key.encode() for key in chunk.keys], pa.binary()),
            "headers": pa.array(chunk.headers(), pa.string()),
            "payload_bytes": pa.array(list(map(len, payloads)), pa.int64()),
            "payload_ciphertext": pa.array(sealed, pa.binary()),
        }
        self._append(BRONZE, pa.table([columns[n] for n in schema.names], schema=schema), chunk)

    def append(self, name: str, rows: pa.Table, chunk: Chunk) -> None:
        """Rows of an output table; none of them only moves its position."""
        if "phone_token" in rows.schema.names and rows.num_rows:
            order = pc.sort_indices(rows, [("phone_token", "ascending"), ("customer_id", "ascending")])
            rows = rows.take(order).combine_chunks()  # of one chunk, or delta-rs would not keep the order
        self._append(name, rows, chunk)

    def _append(self, name: str, rows: pa.Table, chunk: Chunk) -> None:
        blooms = dict.fromkeys((n for n in _LOOKED_UP if n in rows.schema.names), ROW_GROUP_ROWS // 4)
        layout = writer_properties(rows.schema, row_group_rows=ROW_GROUP_ROWS, bloom_filters=blooms) if blooms else None
        move = Move(chunk.first_offset or None, chunk.end)
        self._store(name).append(rows, {self.application(chunk.partition): move}, layout=layout)

    def _cipher(self, partition: int) -> BronzeCipher:
        """Under an ID of its own a life of the topic: a migration begun anew must not repeat a nonce."""
        if partition not in self._ciphers:
            newest = next(iter(self._raw(partition, "payload_ciphertext", newest=True)), None)
            life = newest[0][1:17] if newest else uuid.uuid4().bytes
            self._ciphers[partition] = BronzeCipher(self._key, life)
        return self._ciphers[partition]

    # ---- reading

    def last_key(self, partition: int) -> str | None:
        """Key of the newest raw row; None before the first."""
        newest = next(iter(self._raw(partition, "key_bytes", newest=True)), None)
        return newest[0].decode() if newest else None

    def columns(self) -> list[str]:
        """The source's columns, as the newest raw row has them; none before the first."""
        for partition in (INCREMENTS, FULL):
            for sealed, offset in self._raw(partition, "payload_ciphertext, raw_offset", newest=True):
                return list(orjson.loads(open_bronze(sealed, self._key, partition, offset)))
        return []

    def raw_chunk(self, partition: int, first: int, end: int, columns: Sequence[str]) -> Chunk:
        """Raw rows of a range of offsets, out of bronze. Raises BronzeCipherError, or LookupError when some lack."""
        wanted = "raw_offset, key_bytes, headers, payload_ciphertext, epoch_us(received_at)"
        found = list(self._raw(partition, wanted, first=first, end=end))
        offsets, keys, headers, sealed, received = zip(*found, strict=True) if found else [()] * 5
        if list(offsets) != list(range(first, end)):
            raise LookupError(f"bronze holds {len(found)} of the {end - first} rows {first} to {end} of {self._topic}")
        payloads = [open_bronze(s, self._key, partition, o) for s, o in zip(sealed, offsets, strict=True)]
        told = [of_header(h) for h in headers]
        return Chunk(
            rows_of(payloads, columns), [key.decode() for key in keys], self._topic, partition, first, received[0],
            *([list(values) for values in zip(*told, strict=True)] if told else ()),
        )  # fmt: skip

    def newest_of_keys(self, keys: Sequence[str]) -> dict[str, tuple[bytes, int, bool]]:
        """By key what bronze holds of its record last: bytes, revision, and whether the source had deleted it."""
        path = self._table_path(BRONZE)
        if not keys or not (path / "_delta_log").exists():
            return {}
        with spilling_aside() as connection:
            connection.register("wanted", pa.table({"key_bytes": pa.array([k.encode() for k in keys], pa.binary())}))
            found = connection.execute(
                f"SELECT key_bytes, raw_partition, raw_offset, headers, payload_ciphertext FROM ({self._scan(path)}) "  # noqa: S608
                f"SEMI JOIN wanted USING (key_bytes) WHERE raw_topic = ? AND NOT {_REPEATS} "
                "QUALIFY row_number() OVER (PARTITION BY key_bytes ORDER BY raw_partition DESC, raw_offset DESC) = 1",
                [self._topic],
            ).fetchall()
        return {
            key.decode(): (open_bronze(sealed, self._key, partition, offset), *of_header(headers)[:2])
            for key, partition, offset, headers, sealed in found
        }

    def repeats_of_keys(self, keys: Sequence[str]) -> set[tuple[str, bytes]]:
        """Key and bytes of the rows that were refused because an earlier one of the files had their key."""
        path = self._table_path(BRONZE)
        if not keys or not (path / "_delta_log").exists():
            return set()
        with spilling_aside() as connection:
            connection.register("wanted", pa.table({"key_bytes": pa.array([k.encode() for k in keys], pa.binary())}))
            found = connection.execute(
                f"SELECT key_bytes, raw_partition, raw_offset, payload_ciphertext FROM ({self._scan(path)}) "  # noqa: S608
                f"SEMI JOIN wanted USING (key_bytes) WHERE raw_topic = ? AND {_REPEATS}", [self._topic],
            ).fetchall()  # fmt: skip
        return {(key.decode(), open_bronze(sealed, self._key, at, offset)) for key, at, offset, sealed in found}

    def keys_gone(self, source_keys: Iterable[list[str]], limit: int) -> Iterator[list[str]]:
        """Keys that bronze holds and the source has no more, in pages. DuckDB compares, and spills."""
        path = self._table_path(BRONZE)
        with spilling_aside() as connection:
            connection.execute("CREATE TEMP TABLE there (key_bytes BLOB)")
            for page in source_keys:
                connection.register("page", pa.table({"k": pa.array([key.encode() for key in page], pa.binary())}))
                connection.execute("INSERT INTO there SELECT k FROM page")
            found = connection.execute(
                f"SELECT DISTINCT key_bytes FROM ({self._scan(path)}) ANTI JOIN there USING (key_bytes) "  # noqa: S608
                "WHERE raw_topic = ? ORDER BY ALL", [self._topic],
            )  # fmt: skip
            while page := found.fetchmany(limit):
                yield [key.decode() for (key,) in page]

    def _raw(
        self, partition: int, columns: str, *, first: int = 0, end: int | None = None, newest: bool = False
    ) -> Iterator[tuple]:
        path = self._table_path(BRONZE)
        if not (path / "_delta_log").exists():
            return
        if newest:
            end = self.end(BRONZE, partition)
        with spilling_aside() as connection:
            if newest:  # not always the one before the end: an erasure may have taken that
                first = (
                    connection.execute(
                        f"SELECT max(raw_offset) FROM ({self._scan(path)}) WHERE raw_topic = ? AND raw_partition = ?",  # noqa: S608
                        [self._topic, partition],
                    ).fetchone()[0]
                    or 0
                )
            yield from connection.execute(
                f"SELECT {columns} FROM ({self._scan(path)}) WHERE raw_topic = ? AND raw_partition = ? "  # noqa: S608
                "AND raw_offset >= ? AND raw_offset < ? ORDER BY raw_offset",
                [self._topic, partition, first, end],
            ).fetchall()

    def _scan(self, path: Path) -> str:
        files = history_files(path, self._topic)
        if not files:
            return "SELECT ''::VARCHAR raw_topic, 0 raw_partition, 0::BIGINT raw_offset, ''::BLOB key_bytes, " \
                   "''::VARCHAR headers, ''::BLOB payload_ciphertext, now() received_at WHERE false"  # fmt: skip
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        return f"SELECT * FROM read_parquet([{listed}], hive_partitioning=false, union_by_name=true)"  # noqa: S608


def history_files(path: Path, topic: str) -> list[str]:
    """Files of a table that may hold rows of one history topic: the log's statistics leave out all others."""
    if not (path / "_delta_log").exists():
        return []
    table = DeltaTable(str(path))
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    lies = {str(path / a["path"]): (a.get("min.raw_topic"), a.get("max.raw_topic")) for a in actions}
    return [
        file for file in lake_tables.files(table, path)
        if file not in lies or lies[file][0] is None or lies[file][0] <= topic <= lies[file][1]
    ]  # fmt: skip
