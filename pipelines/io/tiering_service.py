"""Runs the streams of all tables side by side, each in a thread, and their upkeep in one more."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.stack import roots
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import delta_upkeep
from pipelines.io.cluster_region import WrongRegion
from pipelines.io.committed_log import CommittedLog, LogRefused, TopicChanged
from pipelines.io.converters import BronzeConverter, JsonConverter, UnreadableKeeper
from pipelines.io.delta import DeltaStore, LostRace, SchemaRefused, open_store
from pipelines.io.erasure_errands import Errands
from pipelines.io.records import JsonRecords, UnknownColumn
from pipelines.io.stream_health import Health, write_status
from pipelines.io.tiering import Limits, TableStream
from pipelines.lineage.hooks import ServiceRuns
from pipelines.privacy.keys import MasterKey

log = logging.getLogger(__name__)

REJECTS = "quarantine.rejects"
TOPICS_EVERY_S = 30.0
# A person has to act on these: the stream stops, says why, and looks again every now and then.
_REFUSALS = (LogRefused, SchemaRefused, UnknownColumn, WrongRegion)


def tiered_tables() -> list[str]:
    """Names of all tables the tiering service writes."""
    return sorted(name for name, table in contracts.tables().items() if table.engine == "tiering")


def open_table(settings: Settings, name: str, policy: Mapping[str, Any]) -> DeltaStore:
    """The Delta table of a contract, made when it isn't there yet.

    Raises WrongRegion when this root, or the broker that would be read, is another region's.
    """
    roots.require_own_cluster(settings)
    table = contracts.table(name)
    return open_store(
        settings.table_path(name),
        contracts.arrow_schema(table),
        table.partition_by,
        name=name,
        description=table.description,
        checkpoint_every=policy["upkeep"]["checkpoint_every_commits"],
        log_retention_hours=policy["upkeep"]["log_retention_hours"],
    )


def table_stream(settings: Settings, name: str, policy: Mapping[str, Any], key: MasterKey) -> TableStream:
    """The stream of one table, from its contract. Nothing is opened before its first `rewind`."""
    table = contracts.table(name)
    topics = [contracts.topic(topic) for topic in table.topics]
    if all(topic.format == "raw" for topic in topics):
        converter = BronzeConverter(key, contracts.arrow_schema(table))
    else:
        converter = JsonConverter({topic.name: JsonRecords(topic, table) for topic in topics})
    reader = policy["reader"]
    return TableStream(
        name,
        CommittedLog(
            settings.bootstrap, table.topics, queue_kbytes=reader["queue_kbytes"], timeout_s=reader["request_timeout_s"]
        ),
        lambda: open_table(settings, name, policy),
        converter,
        UnreadableKeeper(lambda: open_table(settings, REJECTS, policy), key),
        Limits.of(policy),
        transactional=all(topic.transactional for topic in topics),
    )


def serve(
    stream: TableStream,
    health: Health,
    stop: threading.Event,
    policy: Mapping[str, Any],
    *,
    until_caught_up: bool = False,
    errands: Errands | None = None,
) -> None:
    """Turn after turn until `stop`; then what is held is committed. Every failure leads back to `rewind`.

    Between turns, when caught up, the stream's thread runs `errands`: erasures are the work of the table's one writer.

    A service runs and tries again for ever. Who asked it to end (`until_caught_up`) waits for the end: it gives up
    once nothing was committed for policy `once_gives_up_after_s`.
    """
    first_s, last_s = policy["retry_after_error_s"]
    pause_s, commits, worked_at = first_s, health.commits, time.monotonic()
    while not stop.is_set():
        if health.commits != commits:
            commits, worked_at = health.commits, time.monotonic()
        if until_caught_up and time.monotonic() - worked_at >= policy["once_gives_up_after_s"]:
            health.state = "gave_up"
            log.error("%s: gave up after %.0f s: %s", stream.name, time.monotonic() - worked_at, health.error)
            return
        try:
            stream.rewind()
            health.state, health.error = "running", ""
            if _turns(stream, health, stop, policy, until_caught_up, errands):
                continue
            return
        except LostRace as lost:
            health.lost_races += 1
            rest_s = random.uniform(*policy["rest_after_lost_race_s"])  # noqa: S311 - spreads two services, no secret
            log.info("%s: another service writes this table (%s); resting %.1f s", stream.name, lost, rest_s)
            stop.wait(rest_s)
            continue
        except TopicChanged as changed:
            log.warning("%s: %s", stream.name, changed)
            continue
        except _REFUSALS as refusal:
            if health.error != str(refusal):
                log.error("%s is refused: %s", stream.name, refusal)
            health.state, health.error = "refused", str(refusal)
            stop.wait(last_s)
            continue
        except Exception as error:  # a broker that is away, a full disk: the table tells where to go on
            if health.state == "running":
                pause_s = first_s
            health.state, health.error = "retrying", f"{type(error).__name__}: {error}"
            log.warning(
                "%s: %s; trying again in %.0f s", stream.name, health.error, pause_s, exc_info=log.isEnabledFor(10)
            )
        stop.wait(pause_s)
        pause_s = min(2 * pause_s, last_s)
    if health.state in ("starting", "running"):  # asked to stop while it was resting after a lost race, or starting
        health.state = "stopped"


def run_alone(
    stream: TableStream, stop: threading.Event, policy: Mapping[str, Any], status_file: Path, *, once: bool
) -> int:
    """A service of one stream: serves it until `stop` (or, with `once`, until it has caught up), tells its status each
    second. Gives the exit code: 0 when it was asked to stop, or had caught up, and ended well; else 1.
    """
    health = Health()
    thread = threading.Thread(
        target=serve, args=(stream, health, stop, policy), kwargs={"until_caught_up": once}, name=stream.name
    )
    thread.start()
    while thread.is_alive():
        write_status(status_file, {stream.name: health})
        if once and health.state == "refused":
            stop.set()
        thread.join(1.0)
    write_status(status_file, {stream.name: health})
    return 0 if health.state == "stopped" else 1


def _turns(
    stream: TableStream,
    health: Health,
    stop: threading.Event,
    policy: Mapping[str, Any],
    until_caught_up: bool,
    errands: Errands | None,
) -> bool:
    """True when the table was rewritten under the stream, so that it has to be opened anew."""
    poll_s, looked_at, checked_at = policy["reader"]["idle_poll_s"], 0.0, time.time()
    while not stop.is_set():
        began_at = time.time()
        if stream.collect(poll_s, stop.is_set) or (until_caught_up and stream.log_at_end and stream.rows_waiting):
            stream.write()
            health.last_commit_at, health.rows_written = time.time(), stream.rows_written
            health.commits, health.unreadable = stream.commits, stream.unreadable_kept
        health.rows_waiting = stream.rows_waiting
        if stream.caught_up:
            health.caught_up_at = began_at
            if errands is not None and (errand := errands.next(stream.name)):
                errands.run(errand)
                return True
            if until_caught_up:
                break
        if began_at - looked_at > 1:
            looked_at, health.lag = began_at, {str(source): n for source, n in stream.lag().items()}
        if began_at - checked_at > TOPICS_EVERY_S:
            checked_at = began_at
            stream.check_topics()
    if stream.rows_waiting:
        stream.write()
        health.rows_written, health.rows_waiting = stream.rows_written, 0
    health.state = "stopped"
    health.lag = {str(source): n for source, n in stream.lag().items()}
    stream.close()
    return False


def upkeep_rounds(settings: Settings, tables: Sequence[str], policy: Mapping[str, Any], stop: threading.Event) -> None:
    """Compaction, checkpoints and vacuum of all tables, one after the other, until `stop`."""
    keep, vacuumed_at = delta_upkeep.Upkeep.of(policy["upkeep"]), time.monotonic()
    while not stop.wait(policy["upkeep"]["every_s"]):
        due = time.monotonic() - vacuumed_at >= policy["upkeep"]["vacuum_every_s"]
        for name in tables:
            _upkeep(settings.table_path(name), name, keep, due, stop)
        if due:
            vacuumed_at = time.monotonic()


def _upkeep(path: Path, name: str, keep: delta_upkeep.Upkeep, with_vacuum: bool, stop: threading.Event) -> None:
    if not (path / "_delta_log").exists():
        return
    try:
        while not stop.is_set():
            began = time.monotonic()
            if not (merged := delta_upkeep.compact(path, keep)):
                break
            log.info("%s: merged %d small files in %.1f s", name, merged, time.monotonic() - began)
        if delta_upkeep.checkpoint(path, keep):
            log.info("%s: wrote a log checkpoint", name)
        if with_vacuum and not stop.is_set() and (gone := delta_upkeep.vacuum(path, keep)):
            log.info("%s: vacuum removed %d files", name, gone)
    except Exception as error:  # upkeep can wait: a table that is busy or broken must not stop that of the others
        log.warning("%s: upkeep failed, will be tried again: %s: %s", name, type(error).__name__, error)


class Service:
    """All streams of one process; `status_file` tells others how they fare."""

    def __init__(self, settings: Settings, tables: Sequence[str], policy: Mapping[str, Any], key: MasterKey):
        self._settings, self._policy = settings, policy
        self._streams = {name: table_stream(settings, name, policy, key) for name in tables}
        self.health = {name: Health() for name in tables}
        self._errands = Errands(settings, tables)
        self._lineage = ServiceRuns(settings, "tiering", tables)
        self._stop = threading.Event()

    def stop(self, *_: object) -> None:
        """Ask all streams to commit what they hold and end; usable as a signal handler."""
        self._stop.set()

    def run(self, *, until_caught_up: bool = False, upkeep: bool = True, status_file: Path | None = None) -> bool:
        """Blocks until all streams ended; False when one is refused or did not get through."""
        threads = [
            threading.Thread(
                target=serve,
                args=(stream, self.health[name], self._stop, self._policy),
                kwargs={"until_caught_up": until_caught_up, "errands": self._errands},
                name=name,
            )
            for name, stream in self._streams.items()
        ]
        keeper = threading.Thread(
            target=upkeep_rounds, args=(self._settings, list(self._streams), self._policy, self._stop), daemon=True
        )
        for thread in threads:
            thread.start()
        threading.Thread(target=self._errands.follow, args=(self._stop,), name="erasures", daemon=True).start()
        if upkeep:
            keeper.start()
        while any(thread.is_alive() for thread in threads):
            if status_file is not None:
                write_status(status_file, self.health)
            self._lineage.tell_when_due()  # its client takes seconds to import: the status comes first
            if until_caught_up and all(h.state in ("stopped", "refused", "gave_up") for h in self.health.values()):
                self._stop.set()
            _join(threads, 1.0)
        if status_file is not None:
            write_status(status_file, self.health)
        well = all(h.state == "stopped" for h in self.health.values())
        self._lineage.end(well)
        return well


def _join(threads: Sequence[threading.Thread], wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
