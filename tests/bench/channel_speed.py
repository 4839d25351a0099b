"""Microseconds a message of each channel's parser, on the good examples: ``python -m tests.bench.channel_speed``.

Aims: 6 µs for a JSON message, 15 µs for XML, 150 µs for a mail (1 to 2 % of traffic), one core, nothing else running.
"""

from __future__ import annotations

import sys
import time
import timeit
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.channels import PARSERS

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
RECEIVED_AT_US = 1768089600_000_000  # after every example
ROUNDS = 10


def microseconds(channel: str, payload: bytes, number: int = 1_000) -> float:
    """The best of ten rounds: what the parser needs when the machine lets it."""
    parse = PARSERS[channel]
    parse(payload, "help@example.com", RECEIVED_AT_US)  # reads the policy once
    # Processor time, not wall time: the machine may be shared.
    clock = time.process_time
    rounds = timeit.repeat(
        lambda: parse(payload, "help@example.com", RECEIVED_AT_US), timer=clock, number=number, repeat=ROUNDS
    )
    return min(rounds) / number * 1e6


def main(channels: list[str]) -> None:
    """Print one line an example."""
    table = Table("channel", "example", "bytes", "µs", title=f"Parsers, best of {ROUNDS} rounds")
    for channel in channels or PARSERS:
        for path in sorted((EXAMPLES / f"raw.{channel}").glob("ok_*")):
            payload = path.read_bytes()
            table.add_row(channel, path.stem, str(len(payload)), f"{microseconds(channel, payload):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
