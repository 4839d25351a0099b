"""What was judged lately is counted by topic and rule, and only the files that may hold it are opened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from infra.stack.settings import Ports, Settings
from pipelines import contracts
from pipelines.io.delta import Move, open_store
from pipelines.io.reject_counts import counted_since

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(tmp_path, Ports(20_000))


def put(settings: Settings, name: str, *rows: dict) -> None:
    """Rows by one commit; `minute` after noon is when they were judged. They came in the day before."""
    table = contracts.table(name)
    schema = contracts.arrow_schema(table)
    received = NOON - timedelta(days=1)
    store = open_store(settings.table_path(name), schema, table.partition_by, name=name, description="")
    full = [
        {"raw_partition": 0, "raw_offset": nth, "received_at": received, "received_date": received.date()}
        | {"processed_at": NOON + timedelta(minutes=row["minute"])}
        | row
        for nth, row in enumerate(rows)
    ]
    columns = [pa.array([row.get(f.name) for row in full], f.type) for f in schema]
    before = store.positions(["c/t/0"]).get("c/t/0")
    store.append(pa.table(columns, schema=schema), {"c/t/0": Move(before, (before or 0) + 1)})


def counted(settings: Settings, minute: int) -> set:
    return set(counted_since(settings, NOON + timedelta(minutes=minute), memory_limit_mb=256))


def test_kept_rejected_and_in_review_are_counted_by_the_time_they_were_judged(settings):
    app, sms = {"raw_topic": "raw.app", "minute": 10}, {"raw_topic": "raw.sms", "minute": 10}
    put(settings, "silver.interactions", app, app, app | {"minute": 9}, sms)  # one a minute too early
    put(settings, "silver.feedback", app)
    put(settings, "silver.ticket_events", app)
    put(settings, "review.queue", app | {"rule": "complaint.vague"})
    put(settings, "quarantine.rejects", app | {"rule": "text.blank"}, sms | {"rule": "a.a"}, sms | {"rule": "b.b"})
    assert counted(settings, 10) == {
        ("raw.app", None, 2),  # interactions
        ("raw.app", None, 1),  # feedback; ticket events and review give the same line
        ("raw.app", "text.blank", 1),
        ("raw.sms", None, 1),
        ("raw.sms", "a.a", 1),
        ("raw.sms", "b.b", 1),
    }
    assert sum(n for *_, n in counted_since(settings, NOON + timedelta(minutes=10), memory_limit_mb=256)) == 9


def test_what_the_tiering_service_rejects_is_no_raw_message(settings):
    put(settings, "quarantine.rejects", {"raw_topic": "feedback.clean", "minute": 1, "rule": "tiering.unreadable"})
    assert counted(settings, 0) == set()


def test_duplicates_do_not_count(settings):
    duplicates = contracts.table("quarantine.duplicates")
    assert "processed_at" not in {f.name for f in duplicates.fields}
    put(settings, "quarantine.duplicates", {"raw_topic": "raw.app", "minute": 1, "rule": "event_id"})
    assert counted(settings, 0) == set()


def test_files_judged_before_the_window_are_not_opened(settings):
    put(settings, "quarantine.rejects", {"raw_topic": "raw.app", "minute": 1, "rule": "old"})
    path = settings.table_path("quarantine.rejects")
    [old] = DeltaTable(path).file_uris()
    put(settings, "quarantine.rejects", {"raw_topic": "raw.app", "minute": 20, "rule": "new"})
    Path(old).unlink()
    assert counted(settings, 2) == {("raw.app", "new", 1)}


def test_no_table_yet(settings):
    assert counted(settings, 0) == set()
