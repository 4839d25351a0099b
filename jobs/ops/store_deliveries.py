"""One delivery of a store's file at a time: read, told whose it is, compared with what was sent, sent, committed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from jobs.ops.replay import key
from jobs.ops.store_roots import Root, Roots
from pipelines import contracts
from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction
from pipelines.io.paced_producer import Record
from pipelines.io.store_archive import DayState
from pipelines.io.store_files_table import TOPIC, refs_in_bronze
from pipelines.stores import origin, store_file
from pipelines.stores.arrivals import Arrival
from pipelines.stores.corrections import CORRECTED, NEW, REPEATED, Gone, Plan, SentRow, plan
from pipelines.stores.dates import DateForms
from pipelines.stores.report import FileReport, delivery_id, instant, shown_name, source_ref
from pipelines.stores.rows import KeyedRecord, keyed, payload, withdrawal
from pipelines.stores.store_file import StoreFile
from pipelines.stores.verdicts import FileIncomplete, FileRefused

# What has passed once is not asked again whether it takes too much away.
_ANY = {"max_withdrawn_share": 1.0, "min_withdrawn": 0}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """One message of a file: the record for Kafka, the row's state once it is acknowledged, and its key."""

    record: Record
    row_key: str
    sent: SentRow


class Deliveries:
    """Takes files in; ``now_us`` is the moment of the run, and the clock is asked nowhere below."""

    def __init__(self, roots: Roots, policy: Mapping[str, Any], now_us: int, *, allow_shrink: bool = False) -> None:
        self._roots, self.policy, self._now_us = roots, policy, now_us
        self._forms = DateForms(
            policy["dates"]["forms"], policy["dates"]["forms_by_day"], policy["dates"]["excel_days"]
        )
        self._correction = dict(policy["correction"]) | ({"max_withdrawn_share": 1.0} if allow_shrink else {})
        #: Files of runs that died, committed by this one; with the root each belongs to.
        self.finished: list[tuple[Root, FileReport]] = []
        self._largest = contracts.topic(TOPIC).max_message_bytes - 1024

    def take(self, arrival: Arrival, content: bytes, only_day: date | None = None) -> FileReport | None:
        """Import one file; its report, or None where it is of another day than asked for.

        The order makes it safe to be killed: bytes archived, messages acknowledged, state committed. Raises
        FileRefused, FileIncomplete; NoBroker where not all was acknowledged, and then nothing is committed.
        """
        found, store, day = self.recognise(arrival.path, content)
        if only_day is not None and day != only_day:
            return None
        store_file.must_end(found, content, self.policy["stores"][store])
        root = self._roots.of(self.policy["stores"][store]["account"])
        state = root.archive.state(store, day)
        report = self._begun(arrival, content, found, store, day)
        if (told := state.deliveries.get(report.delivery_id)) is not None:
            return FileReport.of(told)
        if report.file_sha256 in state.files:
            return replace(report, file_verdict="redelivered", reason=_older(report.file_sha256, state))
        unfinished = {told["file_sha256"] for told in root.archive.unfinished(store, day, state)}
        state = self._finished(root, report, state)
        # A run before began to send it, so it has passed; half of it may be in the log.
        limits = _ANY if report.file_sha256 in unfinished else self._correction
        return self._apply(root, report, found, content, state, **limits)

    def _finished(self, root: Root, report: FileReport, state: DayState) -> DayState:
        """The day's state once every file is committed whose run died while it was sending; see `finished`.

        Its messages may stand in the log. Another file must not send other words under the same revision: the stream
        would take them for duplicates.
        """
        for told in root.archive.unfinished(report.store_id, report.store_day, state):
            before = FileReport.of(told)
            content = root.archive.open(root.archive.folder(before.store_id, before.store_day), before.file_sha256)
            if before.file_sha256 == report.file_sha256 or content is None:
                continue
            found = store_file.dated(store_file.read(content, self.policy), self._forms, before.store_day)
            done = self._apply(root, before, found, content, state, **_ANY)
            self.finished.append((root, done))
            state = root.archive.state(report.store_id, report.store_day)
        return state

    def _apply(
        self, root: Root, report: FileReport, found: StoreFile, content: bytes, state: DayState, **limits: float
    ) -> FileReport:
        """Archive, send, commit; the report with its figures. ``limits``: policy ``correction``."""
        rows = keyed(found.records, self.policy["row_key"], root.archive.secret())
        made = plan(state.rows, rows, **limits)
        messages = self._messages(root, report, made, len(found.header))
        begun_us = root.archive.begin(report.store_id, report.store_day, content, report.told())
        stands = self._stands(root, begun_us)
        root.send(message.record for message in messages if message.sent.source_ref not in stands)
        report = replace(report, **_figures(made, messages), file_verdict=_verdict(state, made))
        self._commit(root, report, state, made, messages)
        return report

    def recognise(self, path: str, content: bytes) -> tuple[StoreFile, str, date]:
        """The file with all its dates read, its store and its day. Raises FileRefused, FileIncomplete."""
        try:
            return self._recognised(path, content)
        except (FileRefused, FileIncomplete):
            raise
        except Exception as error:  # bytes of a stranger must not keep the other files out
            log.exception("%s could not be read", shown_name(path))
            told = f"reading it failed with {type(error).__name__}; the bytes are kept, see the log (--verbose)"
            raise FileRefused("form.damaged", told) from error

    def _recognised(self, path: str, content: bytes) -> tuple[StoreFile, str, date]:
        read = store_file.read(content, self.policy)
        store = origin.store_of(read.records, read.titles, path, self.policy["stores"])
        claimed = origin.claimed_day(read.titles, path)
        day = origin.day_of(store_file.dated(read, self._forms, claimed).days, claimed)
        return store_file.dated(read, self._forms, day), store, day

    def _begun(self, arrival: Arrival, content: bytes, found: StoreFile, store: str, day: date) -> FileReport:
        sha256 = hashlib.sha256(content).hexdigest()
        return FileReport(
            delivery_id(arrival, sha256), shown_name(arrival.path), sha256, len(content), "imported",
            instant(self._now_us), found.form, found.encoding, store, day, rows_read=len(found.records),
            rows_beside=orjson.dumps({what: n for what, n in sorted(found.beside.items()) if n}).decode(),
        )  # fmt: skip

    # ---- messages

    def _messages(self, root: Root, report: FileReport, made: Plan, columns: int) -> list[Message]:
        store, day, sha256 = report.store_id, report.store_day, report.file_sha256
        messages = []
        for row, revision, _ in made.changes:
            value = payload(row, store, day, revision, columns)
            ref = source_ref(Path(report.file_name).name, row.record.line, sha256)
            messages.append(self.message(store, row.key, value, SentRow(row.content, revision, ref, sha256, True)))
        files = {gone.was.sha256 for gone in made.withdrawn}
        read = {sha256: self.archived(root, report, sha256)[0] for sha256 in files}
        messages += [self._withdrawn(report, gone, read[gone.was.sha256]) for gone in made.withdrawn]
        return messages

    def _withdrawn(self, report: FileReport, gone: Gone, rows: Mapping[str, KeyedRecord]) -> Message:
        was = rows.get(gone.key)
        fields = (was.record.fields if was is not None else None) or {}
        value = withdrawal(fields, report.store_id, report.store_day, gone.key, gone.revision)
        line = gone.was.source_ref.rpartition(":")[2].partition("#")[0]
        place = f"withdrawn-{line}-{gone.was.sha256[:4]}"
        ref = source_ref(Path(report.file_name).name, place, report.file_sha256)
        sent = gone.was._replace(revision=gone.revision, source_ref=ref, withdrawn=True)
        return self.message(report.store_id, gone.key, value, sent)

    def message(self, store: str, row_key: str, value: bytes, sent: SentRow) -> Message:
        """The record as `kefulake replay` would send it. Raises FileRefused where the topic takes none so large."""
        if len(value) > self._largest:
            raise FileRefused("form.too_large", f"the record at {sent.source_ref} is larger than {TOPIC} takes")
        account = self.policy["stores"][store]["account"]
        parsed = PARSERS["store"](value, account, self._now_us, sent.source_ref)
        headers = [("account", account.encode()), ("source_ref", sent.source_ref.encode())]
        record = Record(TOPIC, key(parsed), value, headers)
        return Message(record, row_key, sent._replace(readable=isinstance(parsed, Interaction)))

    def archived(self, root: Root, report: FileReport, sha256: str) -> tuple[dict[str, KeyedRecord], int]:
        """Records of an archived file by key, and how many columns it has; none where its bytes were erased."""
        content = root.archive.open(root.archive.folder(report.store_id, report.store_day), sha256)
        if content is None:
            return {}, 0
        found = store_file.dated(store_file.read(content, self.policy), self._forms, report.store_day)
        rows = keyed(found.records, self.policy["row_key"], root.archive.secret())
        return {row.key: row for row in rows if not row.repeated}, len(found.header)

    def _stands(self, root: Root, begun_us: int | None) -> set[str]:
        """Refs that stand in bronze though their file was never committed: its run died while it was sending.

        They are not sent again, for the stream forgets an event after a day. What was sent just now need not stand in
        bronze yet; the stream still knows it and finds it to be a duplicate.
        """
        if begun_us is None or self._now_us - begun_us <= self.policy["resend"]["bronze_lag_s"] * 1_000_000:
            return set()
        return refs_in_bronze(root.settings, begun_us)

    def _commit(self, root: Root, report: FileReport, before: DayState, made: Plan, messages: list[Message]) -> None:
        """The day's state after the acknowledgements: from here on the file counts as dealt with."""
        rows = dict(before.rows)
        for gone in made.gone:  # those nobody could read leave no message, and are gone as well
            rows[gone.key] = gone.was._replace(withdrawn=True)
        for same in made.same:  # the newer file says it as well: it can be sent again from there
            rows[same] = rows[same]._replace(sha256=report.file_sha256)
        rows |= {message.row_key: message.sent for message in messages}
        state = DayState(
            before.deliveries | {report.delivery_id: report.told()},
            before.files | {report.file_sha256: report.file_name},
            rows,
            self._now_us if messages else before.sent_at_us,
        )
        root.archive.commit(report.store_id, report.store_day, state)


def _figures(made: Plan, messages: list[Message]) -> dict[str, int]:
    return {
        "rows_new": made.count(NEW),
        "rows_corrected": made.count(CORRECTED),
        "rows_repeated": made.count(REPEATED),
        "rows_withdrawn": len(made.withdrawn),
        "rows_unchanged": made.unchanged,
        "rows_unreadable": sum(not message.sent.readable for message in messages),
        "rows_sent": len(messages),
    }


def _verdict(before: DayState, made: Plan) -> str:
    if not before.files:
        return "imported"
    return "corrected" if made.changes or made.gone else "unchanged"


def _older(sha256: str, state: DayState) -> str | None:
    """Why these bytes, delivered once more, change nothing even where another file has taken their place since."""
    newest = next(reversed(state.files))
    return None if newest == sha256 else f"a correction of it stands ({state.files[newest]}, {newest[:12]})"
