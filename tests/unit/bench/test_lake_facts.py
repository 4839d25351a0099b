"""Facts of a lake of a few rows: commit moments, waiting times, and a balance that sees lost and doubled rows."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from tests.bench import lake_facts

AT = datetime(2026, 1, 9, 8, 0, tzinfo=UTC)


def append(lake, name, offsets, *, topic="raw.app", received_s=()):
    received = [int(AT.timestamp() + s) * 1_000_000 for s in received_s or [0] * len(offsets)]
    table = pa.table(
        {
            "raw_topic": pa.array([topic] * len(offsets)),
            "raw_partition": pa.array([0] * len(offsets), pa.int32()),
            "raw_offset": pa.array(offsets, pa.int64()),
            "received_at": pa.array(received, pa.int64()).cast(pa.timestamp("us", "UTC")),
            "processed_at": pa.array([at + 500_000 for at in received], pa.int64()).cast(pa.timestamp("us", "UTC")),
        }
    )
    write_deltalake(str(lake_facts.table_folder(lake, name)), table, mode="append")


def set_visible(lake, name, version, after_s):
    entry = lake_facts.table_folder(lake, name) / "_delta_log" / f"{version:020}.json"
    os.utime(entry, (AT.timestamp() + after_s,) * 2)


@pytest.mark.parametrize(
    ("silver", "duplicates", "lost", "twice"),
    [
        ([0, 1], [2], 0, 0),  # each once
        ([0], [2], 1, 0),  # 1 stands nowhere
        ([0, 1], [1, 2], 0, 1),  # 1 is kept and a duplicate
        ([0, 1, 1], [2], 0, 1),  # 1 is kept twice
    ],
)
def test_the_balance_sees_lost_and_doubled_rows(tmp_path, silver, duplicates, lost, twice):
    append(tmp_path, lake_facts.BRONZE, [0, 1, 2])
    append(tmp_path, "silver.interactions", silver)
    append(tmp_path, "quarantine.duplicates", duplicates)
    found = lake_facts.balance(tmp_path)
    assert (found.raw, found.lost, found.twice) == (3, lost, twice)
    assert found.closes(3) is (not lost and not twice)
    assert not found.closes(4)  # a message that never came to bronze is missed as well


def test_waiting_times_count_from_received_to_the_commit(tmp_path):
    append(tmp_path, "silver.interactions", [0, 1], received_s=[0, 2])
    append(tmp_path, "silver.interactions", [2], received_s=[10])
    set_visible(tmp_path, "silver.interactions", 0, 5)
    set_visible(tmp_path, "silver.interactions", 1, 14)
    began = AT.timestamp()
    found = lake_facts.visible_after_s(tmp_path, "silver.interactions", began, began + 60)
    assert sorted(found) == [(3.0, 1), (4.0, 1), (5.0, 1)]  # 5 - 2, 14 - 10, 5 - 0
    assert lake_facts.visible_after_s(tmp_path, "silver.interactions", began + 1, began + 5) == [(3.0, 1)]
    assert lake_facts.last_commit_at(tmp_path, ["silver.interactions", "silver.feedback"]) == began + 14
    assert lake_facts.first_judged_at(tmp_path) == began + 0.5
    assert lake_facts.rows(tmp_path, "silver.interactions") == 3
    assert lake_facts.rows(tmp_path, "silver.feedback") == 0


def test_a_lake_without_rows_says_so(tmp_path):
    with pytest.raises(LookupError, match="no rows"):
        lake_facts.last_commit_at(tmp_path, ["silver.interactions"])


def test_duplicates_are_counted_by_rule(tmp_path):
    assert lake_facts.duplicates_by_rule(tmp_path) == {}
    rules = pa.table({"rule": ["event_id", "feedback.repeated", "event_id"]})
    write_deltalake(str(lake_facts.table_folder(tmp_path, "quarantine.duplicates")), rules)
    assert lake_facts.duplicates_by_rule(tmp_path) == {"event_id": 2, "feedback.repeated": 1}
