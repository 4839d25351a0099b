"""The identity resolver: identifiers of committed messages, orders and CRM records, into the identity state.

``python -m jobs.services.identity_resolver`` runs until SIGTERM or Ctrl-C; ``--once`` ends when it has caught up.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from functools import partial
from pathlib import Path

from infra.stack import roots
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.committed_log import CommittedLog
from pipelines.io.converters import LeftToTiering
from pipelines.io.identity_sightings import MESSAGES, NAME, ORDERS, RECORDS, SightingConverter, SightingStore
from pipelines.io.mariadb import connect
from pipelines.io.publisher import publish
from pipelines.io.tiering import Limits, TableStream
from pipelines.io.tiering_service import run_alone

TOPICS = (*MESSAGES, RECORDS, ORDERS)


def sighting_stream(settings: Settings) -> TableStream:
    """The stream of sightings into the identity state. Nothing is opened before its first `rewind`."""
    identity = contracts.policy("identity")
    policy = identity["sightings"]
    reader = policy["reader"]
    engine = connect(settings.database_url)

    def open_store() -> SightingStore:
        roots.require_own_cluster(settings)
        return SightingStore(engine, identity, partial(publish, settings.bootstrap))

    return TableStream(
        NAME,
        CommittedLog(
            settings.bootstrap, TOPICS, queue_kbytes=reader["queue_kbytes"], timeout_s=reader["request_timeout_s"]
        ),
        open_store,
        SightingConverter(policy),
        LeftToTiering(),
        Limits.of(policy),
        transactional=True,
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Command line of the service."""
    parser = argparse.ArgumentParser(prog="identity_resolver", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end when the state has caught up with the topics")
    parser.add_argument("--status-file", type=Path, help="default: <home>/run/identity_resolver.json")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0 when it was asked to stop and ended well, 1 otherwise."""
    args = parse_args(argv)
    logging.basicConfig(level=args.log_level, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    settings, stop = Settings.load(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    status_file = args.status_file or settings.run / "identity_resolver.json"
    policy = contracts.policy("identity")["sightings"]
    return run_alone(sighting_stream(settings), stop, policy, status_file, once=args.once)


if __name__ == "__main__":
    sys.exit(main())
