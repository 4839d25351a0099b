"""The serving writer: committed interactions into MariaDB for look-ups, each once, the recent ones.

``python -m jobs.services.serving_writer`` runs until SIGTERM or Ctrl-C; ``--once`` ends when it has caught up.
``--set interactions.clean/0=1234`` writes down where to go on after the log was refused, and ends.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from infra.stack import roots
from infra.stack.files import private_folder
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.bulk_rows import drop_leavings
from pipelines.io.committed_log import CommittedLog
from pipelines.io.converters import JsonConverter, LeftToTiering
from pipelines.io.mariadb import MariaStore, connect
from pipelines.io.records import JsonRecords
from pipelines.io.tiering import Limits, TableStream
from pipelines.io.tiering_service import run_alone

log = logging.getLogger(__name__)

TABLE = "silver.interactions"
NAME = "interactions"
# By customer for the agent's screen, by phone token for the caller on the line, by arrival for retention.
INDEXES = (("customer_id", "occurred_at"), ("phone_token", "occurred_at"), ("received_at",))


@lru_cache(maxsize=4)
def _engine(url: str, load_data: bool) -> Engine:
    """One pool of connections a process: the store is opened anew after every failure, its connections need not be."""
    return connect(url, load_data=load_data)


def open_store(settings: Settings, policy: Mapping[str, Any]) -> MariaStore:
    """The table of recent interactions, made when it isn't there yet. Raises WrongRegion as tiering's `open_table`."""
    roots.require_own_cluster(settings)
    load_data = policy["load_data"] == "always" or (policy["load_data"] == "own_server" and settings.own_mariadb)
    scratch = private_folder(settings.run / "serving_writer") if load_data else None
    if scratch is not None:
        drop_leavings(scratch)
    engine = _engine(settings.database_url, load_data)
    return MariaStore(engine, contracts.table(TABLE), name=NAME, indexes=INDEXES, scratch=scratch)


def serving_stream(settings: Settings, policy: Mapping[str, Any]) -> TableStream:
    """The stream of interactions into MariaDB. Nothing is opened before its first `rewind`."""
    table = contracts.table(TABLE)
    topics = [contracts.topic(topic) for topic in table.topics]
    reader = policy["reader"]
    return TableStream(
        NAME,
        CommittedLog(
            settings.bootstrap, table.topics, queue_kbytes=reader["queue_kbytes"], timeout_s=reader["request_timeout_s"]
        ),
        lambda: open_store(settings, policy),
        JsonConverter({topic.name: JsonRecords(topic, table) for topic in topics}),
        LeftToTiering(),
        Limits.of(policy),
        transactional=all(topic.transactional for topic in topics),
    )


def forget_rounds(settings: Settings, policy: Mapping[str, Any], stop: threading.Event) -> None:
    """Every now and then delete what is older than the policy keeps, in small transactions, until `stop`."""
    retention = policy["retention"]
    store = None
    while not stop.wait(retention["every_s"]):
        try:
            store = store or open_store(settings, policy | {"load_data": "never"})
            limit_at = datetime.now(UTC) - timedelta(days=retention["keep_days"])
            gone, total = retention["delete_rows"], 0
            while gone == retention["delete_rows"] and not stop.is_set():
                gone = store.delete_received_before(limit_at, rows=retention["delete_rows"])
                total += gone
            if total:
                log.info("%s: %d rows older than %d days were deleted", NAME, total, retention["keep_days"])
        except (DBAPIError, OSError) as error:  # it can wait; the stream itself says when the server is away
            log.info("%s: old rows stay for now: %s", NAME, type(error).__name__)


def set_position(settings: Settings, told: str, policy: Mapping[str, Any]) -> None:
    """``topic/partition=offset``: where to go on, by a person's decision."""
    place, _, offset = told.partition("=")
    sources = {
        str(source): source for source in CommittedLog(settings.bootstrap, contracts.table(TABLE).topics).sources()
    }
    if place not in sources or not offset.isdigit():
        raise SystemExit(f"--set takes PARTITION=OFFSET with one of {', '.join(sources)}, not {told!r}")
    open_store(settings, policy).set_position(sources[place].application, int(offset))
    log.warning("%s: %s goes on at offset %s, as told", NAME, place, offset)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Command line of the service."""
    parser = argparse.ArgumentParser(prog="serving_writer", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when the table has caught up with its topic")
    parser.add_argument("--set", metavar="TOPIC/PARTITION=OFFSET", help="write down where to go on, and end")
    parser.add_argument("--status-file", type=Path, help="default: <home>/run/serving_writer.json")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0 when it was asked to stop and ended well, 1 otherwise."""
    args = parse_args(argv)
    logging.basicConfig(level=args.log_level, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    settings, policy, stop = Settings.load(), contracts.policy("serving"), threading.Event()
    if args.set:
        set_position(settings, args.set, policy)
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    status_file = args.status_file or settings.run / "serving_writer.json"
    threading.Thread(target=forget_rounds, args=(settings, policy, stop), daemon=True).start()
    return run_alone(serving_stream(settings, policy), stop, policy, status_file, once=args.once)


if __name__ == "__main__":
    sys.exit(main())
