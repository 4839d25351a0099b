"""What a restored job has to remember, out of the restored lake: who was judged lately, and what feedback was last.

Kept and doubtful messages carry their ``event_id``. Rejects do not, and no row carries the key of a feedback: those
few messages are judged once more from their bytes, for these two values alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import duckdb
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.process import clean_columns
from pipelines.cleaning.remembered import record
from pipelines.io import lake_tables
from pipelines.privacy.bronze_cipher import open_bronze
from pipelines.privacy.keys import MasterKey
from pipelines.tables.data_balance import BRONZE

_NAMED = ("silver.interactions", "silver.ticket_events", "silver.customers", "silver.orders", "review.queue")
_JUDGED_AGAIN = ("quarantine.rejects", "silver.feedback")
_REPEATED = "quarantine.duplicates"
_BATCH = 2_000
Seed = tuple[str, bytes]


def seeds(settings: Settings, context: CleaningContext, key: MasterKey, since: datetime) -> Iterator[Seed]:
    """Records of ``restore.seen``, one an event: key and value.

    `context` with the identity map and baselines as the job will have them; `since`: what was judged earlier is
    forgotten.
    """
    known: set[str] = set()
    with duckdb.connect() as connection:
        for event_id, feedback_key, occurred_us, place in _again(connection, settings, context, key, since):
            if event_id not in known:
                known.add(event_id)
                yield _seed(event_id, *place, feedback_key, occurred_us)
        for name in _NAMED:
            rows = _rows(connection, settings, name, since)
            if rows is None:
                continue
            answer = rows.project("event_id, raw_topic, raw_partition, raw_offset").to_arrow_reader(50_000)
            for page in answer:
                for event_id, *place in zip(*(column.to_pylist() for column in page.columns), strict=True):
                    if event_id not in known:
                        known.add(event_id)
                        yield _seed(event_id, *place, None, None)


def _seed(event_id: str, topic: str, partition: int, offset: int, feedback_key: str | None, at_us: int | None) -> Seed:
    return f"{topic}|{partition}|{offset}", record(event_id, topic, partition, offset, feedback_key, at_us)


def _rows(
    connection: duckdb.DuckDBPyConnection, settings: Settings, name: str, since: datetime
) -> duckdb.DuckDBPyRelation | None:
    """Rows judged since; newest first, so that of an event judged twice the later counts."""
    path = settings.table_path(name)
    if not (path / "_delta_log").exists():
        return None
    files = lake_tables.files(DeltaTable(path), path)
    if not files:
        return None
    rows = connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
    clock = "processed_at" if "processed_at" in rows.columns else "received_at"
    return rows.filter(f"{clock} >= to_timestamp({since.timestamp()})").order(f"{clock} DESC")


def _again(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    context: CleaningContext,
    key: MasterKey,
    since: datetime,
) -> Iterable[tuple[str, str | None, int | None, tuple[str, int, int]]]:
    """Event, feedback key (of the newest feedback with that key only), time and place of what is judged again."""
    wanted = [
        rows.project("raw_topic, raw_partition, raw_offset")
        for name in _JUDGED_AGAIN
        if (rows := _rows(connection, settings, name, since)) is not None
    ]
    repeated = _rows(connection, settings, _REPEATED, since)
    if repeated is not None:
        wanted.append(repeated.filter("rule = 'feedback.repeated'").project("raw_topic, raw_partition, raw_offset"))
    path = settings.table_path(BRONZE)
    if not wanted or not (path / "_delta_log").exists():
        return
    union = wanted[0]
    for part in wanted[1:]:
        union = union.union(part)
    union.filter("raw_topic LIKE 'raw.%'").create_view("wanted_again", replace=True)
    bronze = connection.read_parquet(lake_tables.files(DeltaTable(path), path), hive_partitioning=False)
    bronze.create_view("bronze_rows", replace=True)
    answer = connection.execute(
        "SELECT b.raw_topic, b.raw_partition, b.raw_offset, epoch_us(b.received_at), b.headers, b.payload_ciphertext"
        " FROM bronze_rows b JOIN (SELECT DISTINCT * FROM wanted_again) w USING (raw_topic, raw_partition, raw_offset)"
        " ORDER BY b.received_at DESC, b.raw_offset DESC"
    )
    last_of: set[str] = set()
    while page := answer.fetchmany(_BATCH):
        columns = clean_columns(_batch(page, key), context, 0)
        told = zip(columns["event_id"], columns["feedback_key"], columns["occurred_us"], page, strict=True)
        for event_id, feedback_key, occurred_us, row in told:
            newest = feedback_key is not None and feedback_key not in last_of
            if newest:
                last_of.add(feedback_key)
            yield event_id, feedback_key if newest else None, occurred_us if newest else None, row[:3]


def _batch(page: Sequence[tuple], key: MasterKey) -> RawBatch:
    headers = [json.loads(row[4]) if row[4] else {} for row in page]
    values = [None if row[5] is None else open_bronze(bytes(row[5]), key, row[1], row[2]) for row in page]
    topics, partitions, offsets, received_us = (list(column) for column in zip(*(row[:4] for row in page), strict=True))
    return RawBatch(
        values, topics, partitions, offsets, received_us,
        [told.get("account") for told in headers], [told.get("source_ref") for told in headers],
        [int(told["attempt"]) if str(told.get("attempt") or "").isdigit() else 0 for told in headers],
        [None] * len(page),
    )  # fmt: skip
