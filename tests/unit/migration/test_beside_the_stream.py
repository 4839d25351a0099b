"""The tiering service goes on writing the same tables while history comes in: nobody's commit is lost."""

from __future__ import annotations

import threading

import polars as pl

from pipelines import contracts
from pipelines.io.delta import Move
from pipelines.io.delta_upkeep import Upkeep, compact
from tests.unit.io.lake import interaction
from tests.unit.migration.desks import Desk

KEEP = Upkeep(
    compact_at_files=4, small_file_bytes=1 << 25, round_bytes=1 << 26, rest_factor=0, checkpoint_every_commits=100,
    vacuum_retention_hours=1,
)  # fmt: skip
COMMITS = 30


def test_stream_merging_and_history_at_once(tmp_path) -> None:
    desk = Desk(tmp_path, 2_000, chunk_rows=100)
    schema = contracts.arrow_schema(contracts.table("silver.interactions"))
    stream = desk.open("silver.interactions")
    merged = []

    def tier() -> None:
        for n in range(COMMITS):
            row = {name: None for name in schema.names} | interaction(n)
            rows = pl.DataFrame([row], schema_overrides={"raw_offset": pl.Int64}).to_arrow().select(schema.names)
            stream.append(rows.cast(schema), {"kafka/raw.web_chat/0": Move(n or None, n + 1)})
            merged.append(compact(desk.path("silver.interactions"), KEEP))

    tiering = threading.Thread(target=tier)
    tiering.start()
    desk.copier().full(desk.files())
    tiering.join()
    rows = desk.rows("silver.interactions")
    assert rows.filter(pl.col("raw_topic") == "raw.web_chat")["raw_offset"].sort().to_list() == list(range(COMMITS))
    history = rows.filter(pl.col("raw_topic") == desk.topic).height + desk.rows("silver.feedback").height
    assert history == 2_000 - len(desk.dirt)
    assert rows.select("raw_topic", "raw_offset").is_duplicated().sum() == 0
    assert sum(merged) > 0  # files were merged meanwhile, those of the history among them
