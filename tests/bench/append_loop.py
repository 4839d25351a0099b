"""The limit: consume, parse, append, in one process, with nothing cleaned, checked or kept exactly once.

Flat JSON is parsed into columns by Arrow. Of the 13-channel mix a good part is XML, e-mail and records that Arrow
cannot parse, so there the bytes are appended as they are: a limit that is higher than any parser could reach.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.json as paj
from confluent_kafka import Consumer, Message, TopicPartition
from deltalake import write_deltalake

from pipelines import contracts
from tests.bench.load_pool import FLAT_NUMBERS, FLAT_TEXTS

BATCH_ROWS = 100_000
STALLED_S = 60
# What every batch must agree on: a column that is NULL in one batch would else have no type there.
FLAT = pa.schema([(name, pa.string()) for name in FLAT_TEXTS] + [(name, pa.float64()) for name in FLAT_NUMBERS])


def columns(messages: Sequence[Message], *, parse: bool) -> pa.Table:
    """Coordinates and bytes of a batch, or the fields of its JSON."""
    values = [message.value() for message in messages]
    if parse:
        read = paj.ReadOptions(block_size=1 << 24, use_threads=False)
        shape = paj.ParseOptions(explicit_schema=FLAT, unexpected_field_behavior="ignore")
        return paj.read_json(pa.BufferReader(b"\n".join(values)), read, shape)
    return pa.table(
        {
            "raw_topic": pa.array([m.topic() for m in messages]),
            "raw_partition": pa.array([m.partition() for m in messages], pa.int32()),
            "raw_offset": pa.array([m.offset() for m in messages], pa.int64()),
            "payload": pa.array(values, pa.binary()),
        }
    )


def run(bootstrap: str, events: int, target: Path, *, parse: bool) -> dict:
    """Appends `events` messages of all raw topics; the clock runs from the first message to the last commit."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-append-loop",
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 262_144,
            "fetch.max.bytes": 52_428_800,
            "max.partition.fetch.bytes": 16_777_216,
        }
    )
    raw = [topic for topic in contracts.topics().values() if topic.format == "raw"]
    consumer.assign([TopicPartition(t.name, p, 0) for t in raw for p in range(t.partitions)])
    held: list[Message] = []
    began, seen, last = 0.0, 0, time.monotonic()
    while seen < events:
        got = [m for m in consumer.consume(min(10_000, events - seen), timeout=0.5) if m.error() is None]
        if got and not began:
            began = time.monotonic()
        last = time.monotonic() if got else last
        if time.monotonic() - last > STALLED_S:
            raise SystemExit(f"only {seen:,} of {events:,} messages came within {STALLED_S} s")
        held += got
        seen += len(got)
        if len(held) >= BATCH_ROWS or (seen >= events and held):
            write_deltalake(str(target), columns(held, parse=parse), mode="append")
            held = []
    took_s = time.monotonic() - began
    consumer.close()
    return {"events_per_s": round(events / took_s), "seconds": round(took_s, 2)}


def main(argv: list[str] | None = None) -> None:
    """Run and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="append_loop", description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--parse", action="store_true", help="flat JSON into columns; else the bytes as they are")
    args = parser.parse_args(argv)
    sys.stdout.write(json.dumps(run(args.bootstrap, args.events, args.target, parse=args.parse)) + "\n")


if __name__ == "__main__":
    main()
