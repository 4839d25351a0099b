"""How far the Kafka source of a running job has read, asked of the job itself.

The committed offsets of its consumer group say so only up to ten seconds later: a reader that has nothing to read sits
in its poll that long before it sends what a checkpoint told it to commit.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from infra.stack import flink
from infra.stack.settings import Settings

_METRIC = re.compile(r"KafkaSourceReader\.topic\.(?P<topic>.+)\.partition\.(?P<partition>\d+)\.currentOffset$")
_AT_A_TIME = 10  # names in one address: Flink takes 4,096 characters
# Flink answers with the figures it had fetched for whoever asked before, be it five seconds ago, and then fetches new
# ones, in some 0.1 s on full cores.
FETCHED_AFTER_S = 0.3


@dataclass(frozen=True)
class ReadUpTo:
    """next_offset by partition (``raw.app/0``), of those read since the job began; a checkpoint taken now holds them.

    restarted_at_s: when the job last began anew by itself, epoch seconds, 0 when it never did. Flink hands out figures
    from before that for some seconds: they say how far the run had come that is lost.
    """

    next_offset: dict[str, int]
    restarted_at_s: float


def read_up_to(settings: Settings, job_id: str, topics: Iterable[str]) -> ReadUpTo:
    """What the job's source has handed on of these topics; takes ``FETCHED_AFTER_S`` when there are any.

    Raises OSError when the job manager does not answer.
    """
    named = {topic.replace(".", "_"): topic for topic in topics}  # as Flink writes a name into a metric's
    job = flink.rest(settings, f"/jobs/{job_id}")
    restarted_at_s = job["timestamps"]["RESTARTING"] / 1000
    if not named:
        return ReadUpTo({}, restarted_at_s)
    _next_offsets(settings, job, named)
    time.sleep(FETCHED_AFTER_S)
    return ReadUpTo(_next_offsets(settings, job, named), restarted_at_s)


def _next_offsets(settings: Settings, job: dict[str, Any], named: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for vertex in job["vertices"]:
        if not vertex["name"].startswith("Source"):
            continue
        path = f"/jobs/{job['jid']}/vertices/{vertex['id']}/metrics"
        names = [metric["id"] for metric in flink.rest(settings, path) if _METRIC.search(metric["id"])]
        for start in range(0, len(names), _AT_A_TIME):
            asked = quote(",".join(names[start : start + _AT_A_TIME]))
            for metric in flink.rest(settings, f"{path}?get={asked}"):
                place = _METRIC.search(metric["id"])
                if place["topic"] in named:
                    found[f"{named[place['topic']]}/{place['partition']}"] = int(metric["value"]) + 1
    return found
