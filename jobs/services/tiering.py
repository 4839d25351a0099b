"""The tiering service: committed records of every topic with a table contract into Delta, exactly once.

``python -m jobs.services.tiering`` runs until SIGTERM or Ctrl-C; ``--once`` ends when all tables have caught up.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.batch_memory import collect_rarely
from pipelines.io.tiering_service import Service, tiered_tables
from pipelines.privacy.keys import MasterKey


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Command line of the service."""
    parser = argparse.ArgumentParser(prog="tiering", description=__doc__)
    parser.add_argument(
        "--tables", nargs="+", choices=tiered_tables(), metavar="TABLE", help="only these (default: all)"
    )
    parser.add_argument("--once", action="store_true", help="end when every table has caught up with its topics")
    parser.add_argument(
        "--no-upkeep", action="store_true", help="no compaction, checkpoints and vacuum in this process"
    )
    parser.add_argument("--status-file", type=Path, help="default: <home>/run/tiering.json")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """0 when it was asked to stop and every stream ended well, 1 otherwise."""
    args = parse_args(argv)
    collect_rarely()
    logging.basicConfig(level=args.log_level, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    settings = Settings.load()
    service = Service(settings, args.tables or tiered_tables(), contracts.policy("tiering"), MasterKey.load(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, service.stop)
    status_file = args.status_file or settings.run / "tiering.json"
    return 0 if service.run(until_caught_up=args.once, upkeep=not args.no_upkeep, status_file=status_file) else 1


if __name__ == "__main__":
    sys.exit(main())
