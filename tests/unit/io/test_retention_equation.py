"""For any days and any policy: received = raw messages still there + removed, and no line of the balance moves."""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.stack.settings import Ports, Settings
from pipelines import contracts
from pipelines.io import balance_table, retention
from pipelines.io.balance_table import BalanceTable
from pipelines.io.delta import Move, open_store
from pipelines.io.lake_upkeep import keep_lake
from pipelines.tables.data_balance import BRONZE

SILVER, REJECTS = "silver.interactions", "quarantine.rejects"
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
TODAY, NOW = date(2026, 2, 1), datetime(2026, 2, 1, 3, tzinfo=UTC)
POLICY = contracts.policy("retention")
REAL = contracts.policy


def put(home: Settings, name: str, messages: list[tuple[int, datetime]]) -> None:
    table = contracts.table(name)
    schema = contracts.arrow_schema(table)
    store = open_store(home.table_path(name), schema, table.partition_by, name=name, description="")
    columns = {
        "raw_topic": ["raw.app"] * len(messages), "raw_partition": [0] * len(messages),
        "raw_offset": [offset for offset, _ in messages], "received_at": [at for _, at in messages],
        "received_date": [at.date() for _, at in messages],
    }  # fmt: skip
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(len(messages), f.type) for f in schema
    ]
    store.append(pa.table(arrays, schema=schema), {"c/t/0": Move(None, 1)})


def days_of(home: Settings, name: str) -> Counter:
    return Counter(DeltaTable(home.table_path(name)).to_pyarrow_table()["received_date"].to_pylist())


@settings(max_examples=8)
@given(
    # hour of the message, and whether it was kept
    messages=st.lists(st.tuples(st.integers(0, 20 * 24), st.booleans()), min_size=1, max_size=12),
    keep_days=st.integers(8, 30),
)
def test_what_was_received_is_there_or_known_to_be_removed(messages, keep_days):
    placed = [(nth, FIRST + timedelta(hours=hour, minutes=7), kept) for nth, (hour, kept) in enumerate(messages)]
    policy = copy.deepcopy(POLICY) | {"keep_days": {BRONZE: keep_days, REJECTS: keep_days}}
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(contracts, "policy", lambda name: policy if name == "retention" else REAL(name)),
    ):
        home = Settings(Path(folder), Ports(20_000))
        put(home, BRONZE, [(n, at) for n, at, _ in placed])
        put(home, SILVER, [(n, at) for n, at, kept in placed if kept])
        put(home, REJECTS, [(n, at) for n, at, kept in placed if not kept])
        balance = BalanceTable(home, grace=timedelta(0))
        balance.turn(NOW, NOW)
        before = balance_table.read(home).sort_by("hour_at")
        assert [k.error for k in keep_lake(home, today=TODAY, now=NOW) if k.error or k.held] == []
        removed = retention.removed_by_day(home)
        expired = Counter(at.date() for _, at, _ in placed if at.date() < TODAY - timedelta(days=keep_days))
        assert removed.get(BRONZE, {}) == expired
        assert days_of(home, BRONZE) + expired == Counter(at.date() for _, at, _ in placed)
        rejected = Counter(at.date() for _, at, kept in placed if not kept)
        assert days_of(home, REJECTS) + Counter(removed.get(REJECTS, {})) == rejected
        assert days_of(home, SILVER) == Counter(at.date() for _, at, kept in placed if kept)
        balance.turn(NOW, NOW)
        assert balance_table.read(home).sort_by("hour_at").equals(before)
