"""A past day out of the archive: records that do not stand in bronze are sent again, under the same event IDs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from jobs.ops.store_deliveries import Deliveries, Message
from jobs.ops.store_roots import Root
from pipelines.io.store_files_table import refs_in_bronze
from pipelines.stores.corrections import SentRow
from pipelines.stores.report import FileReport, instant
from pipelines.stores.rows import KeyedRecord, payload, withdrawal


@dataclass(frozen=True)
class Resent:
    """What a look at a store's day found: its report where something was sent, how many could not be (file erased)."""

    report: FileReport | None
    lost: int


def resend(deliveries: Deliveries, root: Root, store: str, day: date, now_us: int) -> Resent:
    """Send what of a day was acknowledged once and is missing in bronze: after a restore, or a broker's loss.

    Nothing is missing as a rule, and then nothing is sent. A day sent within policy ``resend.bronze_lag_s`` is left
    alone: its records may be on their way.
    """
    state = root.archive.state(store, day)
    if now_us - state.sent_at_us <= deliveries.policy["resend"]["bronze_lag_s"] * 1_000_000:
        return Resent(None, 0)
    there = refs_in_bronze(root.settings, _since_us(day))
    wanted = {key: row for key, row in state.rows.items() if row.source_ref not in there}
    wanted = {key: row for key, row in wanted.items() if row.readable or not row.withdrawn}
    if not wanted:
        return Resent(None, 0)
    report = _report(store, day, state.files, now_us)
    messages, lost = _messages(deliveries, root, report, wanted)
    root.send(message.record for message in messages)
    if not messages:
        return Resent(None, lost)
    return Resent(
        FileReport(
            **report.row() | {"rows_sent": len(messages), "rows_unreadable": sum(not m.sent.readable for m in messages)}
        ),
        lost,
    )


def _since_us(day: date) -> int:
    """No message of a day was received before the day before it began in UTC."""
    return (
        int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - timedelta(days=1).total_seconds())
        * 1_000_000
    )


def _report(store: str, day: date, files: dict[str, str], now_us: int) -> FileReport:
    sha256, name = list(files.items())[-1]
    named = hashlib.sha256(f"resent\x1f{store}\x1f{day}\x1f{now_us}".encode()).hexdigest()[:32]
    reason = "records missing from bronze.raw_events were sent again from the archive"
    return FileReport(named, name, sha256, 0, "resent", instant(now_us), store_id=store, store_day=day, reason=reason)


def _messages(
    deliveries: Deliveries, root: Root, report: FileReport, wanted: dict[str, SentRow]
) -> tuple[list[Message], int]:
    read: dict[str, tuple[dict[str, KeyedRecord], int]] = {}
    messages, lost = [], 0
    for key, row in wanted.items():
        if row.sha256 not in read:
            read[row.sha256] = deliveries.archived(root, report, row.sha256)
        records, columns = read[row.sha256]
        if (record := records.get(key)) is None and not row.withdrawn:
            lost += 1
            continue
        messages.append(deliveries.message(report.store_id, key, _value(report, key, row, record, columns), row))
    return messages, lost


def _value(report: FileReport, key: str, row: SentRow, record: KeyedRecord | None, columns: int) -> bytes:
    if row.withdrawn:
        fields = (record.record.fields if record is not None else None) or {}
        return withdrawal(fields, report.store_id, report.store_day, key, row.revision)
    return payload(record, report.store_id, report.store_day, row.revision, columns)
