"""``kefulake flush``: what has been received by now stands in the tables when it returns.

By itself a message is in silver with the next checkpoint, up to ten seconds later. Who has just brought in a file and
builds on it, or wants to look, need not wait: flush has the job take a checkpoint as soon as it is through.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from infra.stack import flink_jobs, supervisor
from infra.stack.flink_source import read_up_to
from infra.stack.observe_data import CLEANING_GROUP
from infra.stack.settings import Settings

JOB = "clean_interactions"
LOOK_EVERY_S, LONGEST_S = 0.2, 5.0
TABLES_EVERY_S = 0.5  # a look opens every table, on cores that their writer needs
MOST_PER_S = 50_000  # more than two workers judge, so that a pause never outlasts what is left
CHECKPOINT_LIMIT_S = 60.0
# So long after a restart only committed offsets count, which follow by themselves: until then the source may still be
# reported where the lost run was. Flink's own delay is some seconds.
DOUBTFUL_S = 60.0


class FlushFailed(RuntimeError):
    """Not everything reached its table in time; the message says what is behind and where to look."""


@dataclass(frozen=True)
class Flushed:
    """messages: how many the job had not committed when flush began. checkpoints: how many flush asked for."""

    messages: int
    checkpoints: int
    seconds: float


def command(
    limit_s: Annotated[float, typer.Option("--limit-s", help="Give up after so many seconds.", min=1)] = 300,
) -> None:
    """Bring into the tables now what has been received by now, without waiting for the next checkpoint.

    Messages that come in meanwhile need not be through. Exit code 1 when something is still on its way at the limit.
    """
    console = Console()
    with console.status("") as line:
        done = flush(Settings.load(), limit_s, line.update)
    console.print(
        f"{done.messages:,} messages were on their way; they are in the tables "
        f"({done.seconds:.1f} s, checkpoints asked for: {done.checkpoints})"
    )


def flush(settings: Settings, limit_s: float, tell: Callable[[str], None] = lambda _: None) -> Flushed:
    """Waits until every message received before this call is in bronze and its output in its table.

    Raises FlushFailed when the job does not run or the limit is over, OSError when the job manager is away,
    KafkaException when the broker is.
    """
    from pipelines.io import progress
    from pipelines.service.passed import beyond

    began = time.monotonic()
    before = progress.look(settings, CLEANING_GROUP)
    received = progress.ends_of_records(settings.bootstrap, before.job, before.raw_ends)
    waiting, checkpoints = judge(settings, received, limit_s, tell)
    tell("all judged; the tables follow …")
    # What a checkpoint has committed lies below the end of its topic from the moment it is complete.
    seen = progress.look(settings, CLEANING_GROUP)
    written = seen.output_ends
    if waiting and not beyond(received, seen.raw_ends):
        # What came in since stands in transactions that are open, and readers stop at the first of them.
        _checkpoint(settings, _running_job(settings))
        checkpoints += 1
    while not (beyond(seen.bronze, received) and beyond(seen.outputs, written)):
        if time.monotonic() - began > limit_s:
            short = behind(seen.bronze, received) + behind(seen.outputs, written)
            raise FlushFailed(
                f"all is judged, but after {limit_s:.0f} s the tables are {short:,} offsets behind; "
                f"see kefulake status and {settings.logs / 'tiering.log'}"
            )
        time.sleep(TABLES_EVERY_S)
        seen = progress.look(settings, CLEANING_GROUP)
    tell("links follow …")
    identities(settings, began + limit_s)
    return Flushed(waiting, checkpoints, time.monotonic() - began)


def identities(settings: Settings, deadline_s: float) -> None:
    """Waits until the identity resolver has seen what is committed by now, and its links stand in their table.

    Where no resolver runs, links come with the next `kefulake identity load`: nothing to wait for. Raises FlushFailed.
    """
    for service, table in (("identity_resolver", "identity_claims"), ("tiering", "silver.identity_links")):
        since = time.time()
        while (seen_at := _caught_up_at(settings, service, table)) is not None and seen_at < since:
            if time.monotonic() > deadline_s:
                raise FlushFailed(f"{service} has not caught up with {table} in time; see kefulake status")
            time.sleep(TABLES_EVERY_S)


def _caught_up_at(settings: Settings, service: str, table: str) -> float | None:
    """When a stream last had everything (epoch seconds, 0: not yet); None where its service does not run."""
    if supervisor.states(settings).get(service.replace("_", "-"), {}).get("statename") != "RUNNING":
        return None
    try:
        told = json.loads((settings.run / f"{service}.json").read_text(encoding="utf-8"))["tables"][table]
    except (FileNotFoundError, KeyError):
        return 0.0
    return datetime.fromisoformat(told["caught_up_at"]).timestamp() if told["caught_up_at"] else 0.0


def judge(
    settings: Settings, ends: Mapping[str, int], limit_s: float, tell: Callable[[str], None] = lambda _: None
) -> tuple[int, int]:
    """Waits until the cleaning job has judged and committed the raw topics up to `ends`; how many messages it had not
    committed before, and how many checkpoints were asked for. Raises as `flush`.
    """
    from confluent_kafka import TopicPartition

    from pipelines.io import progress

    places = [TopicPartition(topic, int(number)) for topic, _, number in (place.rpartition("/") for place in ends)]
    waiting, began, checkpoints, trouble = None, time.monotonic(), 0, ""
    while True:
        committed = progress.positions_of(settings.bootstrap, CLEANING_GROUP, places)
        waiting = behind(committed, ends) if waiting is None else waiting
        if not behind(committed, ends):
            return waiting, checkpoints
        job_id = _running_job(settings)
        read = read_up_to(settings, job_id, {place.topic for place in places})
        doubtful = time.time() - read.restarted_at_s < DOUBTFUL_S
        left = behind(committed if doubtful else _further(committed, read.next_offset), ends)
        tell(f"{left:,} messages to judge …")
        if not left:
            checkpoints += 1
            trouble = _checkpoint(settings, job_id)
            # A run that began anew reads again from its last checkpoint, so the one just taken may lie before `ends`.
            if not trouble and read_up_to(settings, job_id, ()).restarted_at_s == read.restarted_at_s:
                return waiting, checkpoints
        if time.monotonic() - began > limit_s:
            what = f"{left:,} messages are not judged" if left else "all is judged and not committed"
            raise FlushFailed(f"after {limit_s:.0f} s {what}; see kefulake status{trouble}")
        time.sleep(min(LONGEST_S, max(LOOK_EVERY_S, left / MOST_PER_S)))


def judged(settings: Settings, topic: str, limit_s: float = 1800) -> None:
    """Waits until the job has read a topic of its own to the end, and a checkpoint holds what it learned from it.

    Raises FlushFailed; OSError when the job manager is away, KafkaException when the broker is.
    """
    from pipelines.io.committed_log import CommittedLog

    reader, began = CommittedLog(settings.bootstrap, [topic]), time.monotonic()
    ends = {str(source): high for source in reader.sources() if (high := reader.bounds(source)[1])}
    while ends:
        job_id = _running_job(settings)
        if not behind(read_up_to(settings, job_id, [topic]).next_offset, ends):
            if not (trouble := _checkpoint(settings, job_id)):
                return
            if time.monotonic() - began > limit_s:
                raise FlushFailed(f"{topic} is read, but no checkpoint came{trouble}")
        if time.monotonic() - began > limit_s:
            raise FlushFailed(f"after {limit_s:.0f} s the job has not read {topic} to its end; see kefulake status")
        time.sleep(LOOK_EVERY_S)


def _further(some: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    """The larger position of each partition."""
    return {place: max(some.get(place, 0), others.get(place, 0)) for place in {*some, *others}}


def _running_job(settings: Settings) -> str:
    job = flink_jobs.running_job(settings, JOB)
    if job is None:
        raise FlushFailed(f"{JOB} is not running; start it with: kefulake deploy {JOB}")
    return job.job_id


def _checkpoint(settings: Settings, job_id: str) -> str:
    """Asks for one; why there was none, '' otherwise: a job that is being restarted gives one at a later try."""
    try:
        flink_jobs.checkpoint(settings, job_id, CHECKPOINT_LIMIT_S)
    except flink_jobs.CheckpointFailed as error:
        return f"; {error}"
    return ""


def behind(positions: Mapping[str, int], ends: Mapping[str, int]) -> int:
    """How many offsets the positions are short of the ends.

    >>> behind({"raw.app/0": 3}, {"raw.app/0": 5, "raw.sms/0": 4, "raw.email/0": 0})
    6
    """
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
