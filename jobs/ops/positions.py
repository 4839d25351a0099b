"""Positions of the tiering service: show them, or accept a gap in a topic's log, written down in the table's history.

``python -m jobs.ops.positions`` lists topic, partition, next offset, and the log's begin and end. ``--set
raw.app/0=120`` moves one position; only for a log whose records are gone for good (the service's error says so).
"""

from __future__ import annotations

import argparse
import sys

import pyarrow as pa
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io.committed_log import CommittedLog, Source
from pipelines.io.delta import LostRace, Move
from pipelines.io.tiering_service import open_table, tiered_tables


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="positions", description=__doc__)
    parser.add_argument("--tables", nargs="+", choices=tiered_tables(), metavar="TABLE", default=tiered_tables())
    parser.add_argument("--set", metavar="TOPIC/PARTITION=OFFSET", help="accept what lies between as lost")
    return parser.parse_args(argv)


def wanted_move(text: str) -> tuple[str, int, int]:
    """Topic, partition and offset of ``--set``; ValueError when it isn't written so.

    >>> wanted_move("raw.app/0=120")
    ('raw.app', 0, 120)
    """
    where, equals, offset = text.partition("=")
    topic, slash, partition = where.rpartition("/")
    if not (equals and slash and partition.isdigit() and offset.isdigit()):
        raise ValueError(f"{text!r}: write it as TOPIC/PARTITION=OFFSET, for example raw.app/0=120")
    return topic, int(partition), int(offset)


def move(settings: Settings, policy: dict, text: str) -> str:
    """Move one position; gives what was done. Raises ValueError for a topic that feeds no table, LostRace in use."""
    topic, partition, offset = wanted_move(text)
    for name in tiered_tables():
        if topic not in contracts.table(name).topics:
            continue
        store = open_table(settings, name, policy)
        for source in CommittedLog(settings.bootstrap, [topic]).sources():
            if source.partition == partition:
                before = store.positions([source.application]).get(source.application)
                empty: pa.Table = store.schema.empty_table()
                store.append(empty, {source.application: Move(before, offset)})
                return f"{name}: next offset of {source} was {before}, is {offset} (version {store.version})"
    raise ValueError(f"no table is fed by {topic}, partition {partition}")


def listed(settings: Settings, policy: dict, tables: list[str]) -> list[tuple[str, Source, int | None, int, int]]:
    """Table, source, next offset in the table, begin and end of the log."""
    lines = []
    for name in tables:
        store, log = open_table(settings, name, policy), CommittedLog(settings.bootstrap, contracts.table(name).topics)
        sources = log.sources()
        positions = store.positions([source.application for source in sources])
        for source in sources:
            low, high = log.bounds(source)
            lines.append((name, source, positions.get(source.application), low, high))
    return lines


def main(argv: list[str] | None = None) -> int:
    """0 when every position lies inside its log."""
    args, settings, policy = parse_args(argv), Settings.load(), contracts.policy("tiering")
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        if args.set:
            console.print(move(settings, policy, args.set))
            return 0
        table, well = Table(box=None, header_style="bold"), True
        for column in ("table", "partition", "next offset", "log begins", "log ends", ""):
            table.add_column(column)
        for name, source, position, low, high in listed(settings, policy, args.tables):
            inside = low <= (position or 0) <= high
            well &= inside
            row = (name, str(source), "-" if position is None else str(position), str(low), str(high))
            table.add_row(*row, "" if inside else "[red]outside[/]")
        console.print(table)
        return 0 if well else 1
    except (ValueError, LostRace, KafkaException) as error:
        console.print(f"[red]{error}[/]")
        return 2


if __name__ == "__main__":
    sys.exit(main())
