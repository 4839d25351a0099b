"""The balance service: keeps ``gold.data_balance`` up to date and raises the alarm when a closed hour does not balance.

It also watches the share of rejects. ``python -m jobs.services.balance`` runs until SIGTERM or Ctrl-C; ``--once`` takes
one turn.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaException

from infra.stack.files import write_atomic
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import balance_table, progress, reject_counts
from pipelines.io.balance_table import BalanceTable
from pipelines.quality.reject_shares import reject_shares
from pipelines.service.passed import Passed
from pipelines.tables.data_balance import breaches

log = logging.getLogger("balance")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Command line of the service."""
    parser = argparse.ArgumentParser(prog="balance", description=__doc__)
    parser.add_argument("--once", action="store_true", help="one turn, then end")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def take_turn(settings: Settings, table: BalanceTable, passed: Passed, cleaning_group: str) -> None:
    """Look how far all parts are, bring the table up to date, alarm, and tell `<home>/run/balance.json`."""
    try:
        passed.look(progress.look(settings, cleaning_group))
    except KafkaException as error:  # the tables can be counted without the broker; only closing has to wait
        log.warning("how far the parts are cannot be seen: %s", error)
    changed = table.turn(passed.until)
    for breach in breaches(changed, closed_only=False):
        log.error("ALERT %s", breach)
    told = summary(balance_table.read(settings).to_pylist(), passed.until)
    write_atomic(settings.run / "balance.json", json.dumps(told, indent=1))
    log.info("%d rows computed; %s", changed.num_rows, told)


def watch_rejects(settings: Settings, alarm: dict, memory_limit_mb: int, now: datetime) -> None:
    """Alarm where more was rejected lately than policy `rejects` allows; tell `<home>/run/reject_shares.json`."""
    since = now - timedelta(minutes=alarm["window_minutes"])
    lines = reject_shares(reject_counts.counted_since(settings, since, memory_limit_mb=memory_limit_mb), **alarm)
    for line in lines:
        if line.too_many:
            log.error("ALERT %s", line)
    told = {
        "written_at": now.isoformat(),
        "window_minutes": alarm["window_minutes"],
        "channels": [asdict(line) for line in lines],
    }
    write_atomic(settings.run / "reject_shares.json", json.dumps(told, indent=1))


def summary(rows: list[dict], passed_until: datetime | None) -> dict:
    """What status and metrics show: totals over all hours, closed and open, and the breaches among the closed."""
    closed = [row for row in rows if row["closed"]]
    return {
        "written_at": datetime.now(UTC).isoformat(),
        "passed_until": passed_until.isoformat() if passed_until else None,
        "hours_closed": len({row["hour_at"] for row in closed}),
        "received": sum(row["received"] for row in rows),
        "accounted_for": sum(row["received"] - row["missing"] for row in rows),
        "open_missing": sum(row["missing"] for row in rows if not row["closed"]),
        "closed_missing": sum(row["missing"] for row in closed),
        "closed_unknown": sum(row["unknown"] for row in closed),
        "twice": sum(row["twice"] for row in rows),
    }


def main(argv: list[str] | None = None) -> int:
    """0 when it was asked to stop."""
    args = parse_args(argv)
    logging.basicConfig(level=args.log_level, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    settings, policy = Settings.load(), contracts.policy("tiering")["balance"]
    alarm, memory_limit_mb = contracts.policy("rejects")["alarm"], policy["memory_limit_mb"]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    passed = Passed()
    table = BalanceTable(settings, grace=timedelta(seconds=policy["grace_s"]), memory_limit_mb=memory_limit_mb)
    turns = (
        # First, because counting an hour may take long.
        lambda: watch_rejects(settings, alarm, memory_limit_mb, datetime.now(UTC)),
        lambda: take_turn(settings, table, passed, policy["cleaning_group"]),
    )
    while not stop.is_set():
        well = [_tried(turn) for turn in turns]
        if args.once:
            return 0 if all(well) else 1
        stop.wait(policy["every_s"])
    return 0


def _tried(turn: Callable[[], None]) -> bool:
    try:
        turn()
    except Exception as error:  # a table being made, a full disk: counting again is always safe
        log.warning("turn failed, will be taken again: %s: %s", type(error).__name__, error)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
