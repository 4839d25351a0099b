"""The backup shipper: every few seconds what is new in the lake and in Kafka goes into the backup folder.

``python -m jobs.services.backup_shipper`` runs until SIGTERM or Ctrl-C; ``--once`` makes one round and ends.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime

from infra.stack.files import write_atomic
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.backup.places import backup_folder, warnings
from pipelines.io.backup_round import Shipper, Told
from pipelines.privacy.keys import MasterKey

log = logging.getLogger("backup_shipper")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Command line of the service."""
    parser = argparse.ArgumentParser(prog="backup_shipper", description=__doc__)
    parser.add_argument("--once", action="store_true", help="one round, then end")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def tell(settings: Settings, told: Told | None, error: str, last_whole: float) -> None:
    """What status and metrics show: `<home>/run/backup.json`."""
    facts = {
        "written_at": datetime.now(UTC).isoformat(),
        "folder": str(backup_folder(settings)),
        # Everything acknowledged before this instant is in the backup (epoch seconds; 0: nothing yet).
        "covers_until": last_whole,
        "error": error,
        "troubles": [*told.troubles, *([told.warning] if told.warning else [])] if told else [],
        "last": asdict(told) if told else None,
    }
    write_atomic(settings.run / "backup.json", json.dumps(facts, indent=1, ensure_ascii=False))


def main(argv: list[str] | None = None) -> int:
    """0 when it was asked to stop, or its one round went well."""
    args = parse_args(argv)
    logging.basicConfig(level=args.log_level, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    settings, policy, stop = Settings.load(), contracts.policy("backup"), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for warning in warnings(settings):
        log.warning("%s", warning)
    shipper, last_whole, told, said = Shipper(settings, policy, MasterKey.load(settings)), 0.0, None, set()
    while not stop.is_set():
        began, error = time.monotonic(), ""
        try:
            told = shipper.round()
            if not told.behind:
                last_whole = told.began_at
            log.info(
                "round %d: %d files, %d bytes, %d records of the raw topics' tail, %.1f s%s",
                told.round, told.files, told.bytes, told.tail_records, told.took_s,
                ", not at the end yet" if told.behind else "",
            )  # fmt: skip
            for trouble in {*told.troubles, told.warning} - {""} - said:
                log.warning("%s", trouble)
            said = {*told.troubles, told.warning}
        except Exception as problem:  # a full disk, a broker that is away: the next round goes on
            error = f"{type(problem).__name__}: {problem}"
            log.error("the round failed, will be made again: %s", error)
        tell(settings, told, error, last_whole)
        if args.once:
            return 1 if error or (told and told.behind) else 0
        if told is None or not told.behind or error:
            stop.wait(max(1.0, policy["every_s"] - (time.monotonic() - began)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
