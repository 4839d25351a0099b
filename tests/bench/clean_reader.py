"""Reads the clean topics uncommitted and tells how old each record is when it arrives; a process of its own.

``python -m tests.bench.clean_reader --bootstrap HOST:PORT --from EPOCH --until EPOCH``: records received in that window
count. Its last line is JSON: how many, percentiles in ms of raw record time → read and of its two halves, and what a
record took that was received in each second of the window: a tail has a moment, and the moment a cause.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from array import array

import numpy as np
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from pipelines import contracts
from tests.bench.figures import percentiles

TOPICS = ("interactions.clean", "feedback.clean", "ticket_events.clean")
QUIET_S = 15  # nothing more of the window will come
_RECEIVED = re.compile(rb'"received_at":(\d+)')
_PROCESSED = re.compile(rb'"processed_at":(\d+)')


def consumer(bootstrap: str) -> Consumer:
    """From the end of the clean topics, at once and uncommitted: what fades (agent push, alerts) reads so."""
    found = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-clean-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",
            "fetch.wait.max.ms": 20,
            "fetch.min.bytes": 1,
        }
    )
    places = [TopicPartition(name, p, OFFSET_END) for name in TOPICS for p in range(contracts.topic(name).partitions)]
    found.assign(places)
    return found


def read(found: Consumer, from_s: float, until_s: float) -> dict:
    """Waits until the window is over and nothing of it comes any more."""
    received, whole, to_judged, to_read = array("d"), array("d"), array("d"), array("d")
    last = time.time()
    while True:
        first = found.poll(0.1)
        # All that came with it in one call: what this reader spends, the job lacks.
        messages = [] if first is None else [first, *found.consume(1000, 0)]
        now = time.time()
        if now > until_s and now - last > QUIET_S:
            break
        for message in messages:
            value = message.value() if message.error() is None else b""
            came, processed = _RECEIVED.search(value), _PROCESSED.search(value)
            if came is None or processed is None:
                continue
            received_s, processed_s = int(came[1]) / 1e6, int(processed[1]) / 1e6
            if from_s <= received_s < until_s:
                last = now
                received.append(received_s)
                whole.append((now - received_s) * 1000)
                to_judged.append((processed_s - received_s) * 1000)
                to_read.append((now - processed_s) * 1000)
    return {
        "records": len(whole),
        "clean_ms": percentiles(whole),
        "raw_to_judged_ms": percentiles(to_judged),
        "judged_to_read_ms": percentiles(to_read),
        "by_second": by_second(received, whole, to_judged),
    }


def by_second(received_s: array, whole: array, to_judged: array) -> list[dict]:
    """``{"at", "records", "p50", "p95", "judged_p50", "judged_p95"}`` of the records received in each second, ms."""
    at = np.floor(np.asarray(received_s))
    told = []
    for second in np.unique(at):
        these = at == second
        found = _whole_ms(percentiles(np.asarray(whole)[these], (50, 95)))
        judged = _whole_ms(percentiles(np.asarray(to_judged)[these], (50, 95)), "judged_")
        told.append({"at": int(second), "records": int(these.sum())} | found | judged)
    return told


def _whole_ms(found: dict[str, float], prefix: str = "") -> dict[str, int]:
    return {prefix + name: round(value) for name, value in found.items()}


def main(argv: list[str] | None = None) -> None:
    """Read and report; the first line says that it listens."""
    parser = argparse.ArgumentParser(prog="clean_reader", description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--from", dest="from_s", type=float, required=True, help="epoch seconds")
    parser.add_argument("--until", dest="until_s", type=float, required=True, help="epoch seconds")
    args = parser.parse_args(argv)
    found = consumer(args.bootstrap)
    sys.stdout.write(json.dumps(read(found, args.from_s, args.until_s)) + "\n")
    found.close()


if __name__ == "__main__":
    main()
