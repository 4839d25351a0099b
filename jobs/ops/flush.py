"""``kefulake flush``: what has been received by now stands in the tables when it returns.

By itself a message is in silver with the next checkpoint, up to ten seconds later. Who has just brought in a file and
builds on it, or wants to look, need not wait: flush has the job take a checkpoint as soon as it is through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from infra.stack import flink_jobs
from infra.stack.observe_data import CLEANING_GROUP
from infra.stack.settings import Settings

JOB = "clean_interactions"
LOOK_EVERY_S = 0.5
CHECKPOINT_LIMIT_S = 60.0


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

    What comes in meanwhile is not waited for. Exit code 1 when something is still on its way at the limit.
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
    from pipelines.service.passed import Passed

    began, passed = time.monotonic(), Passed()
    seen = progress.look(settings, CLEANING_GROUP)
    waiting, checkpoints = judge(settings, seen.raw_ends, limit_s, tell)
    tell("all judged; the tables follow …")
    while passed.look(seen) is None:
        if time.monotonic() - began > limit_s:
            short = behind(seen.bronze, seen.raw_ends) + behind(seen.outputs, seen.output_ends)
            raise FlushFailed(
                f"all is judged, but after {limit_s:.0f} s the tables are {short:,} offsets behind; "
                f"see kefulake status and {settings.logs / 'tiering.log'}"
            )
        time.sleep(LOOK_EVERY_S)
        seen = progress.look(settings, CLEANING_GROUP)
    return Flushed(waiting, checkpoints, time.monotonic() - began)


def judge(
    settings: Settings, ends: Mapping[str, int], limit_s: float, tell: Callable[[str], None] = lambda _: None
) -> tuple[int, int]:
    """Waits until the cleaning job has judged and committed the raw topics up to `ends`; how many messages that were,
    and how many checkpoints it asked for. Raises as `flush`.
    """
    from confluent_kafka import TopicPartition

    from pipelines.io import progress

    places = [TopicPartition(topic, int(number)) for topic, _, number in (place.rpartition("/") for place in ends)]
    began, checkpoints, trouble = time.monotonic(), 0, ""
    committed: list[tuple[float, int]] = []
    while True:
        left = behind(progress.committed(settings.bootstrap, CLEANING_GROUP, places), ends)
        now = time.monotonic() - began
        if not committed or left != committed[-1][1]:
            committed.append((now, left))
        if not left:
            return committed[0][1], checkpoints
        if now > limit_s:
            raise FlushFailed(f"after {limit_s:.0f} s {left:,} messages are not judged; see kefulake status{trouble}")
        tell(f"{left:,} messages to judge …")
        if due(committed, now):
            trouble = _checkpoint(settings)
            checkpoints += 1
        time.sleep(LOOK_EVERY_S)


def due(committed: Sequence[tuple[float, int]], now: float) -> bool:
    """Whether the job is through by now, judged by its last two commits (second, messages left): only then is a
    checkpoint of use. Without two commits there is no pace to judge by, and one is asked for.

    >>> due([(0.0, 500)], 0.0)
    True
    >>> at_100_a_second = [(0.0, 1500), (10.0, 500)]  # the rest takes until second 15
    >>> due(at_100_a_second, 14.0), due(at_100_a_second, 15.0)
    (False, True)
    """
    if len(committed) < 2:
        return True
    (before_s, before), (at_s, left) = committed[-2:]
    return now >= at_s + left * (at_s - before_s) / max(1, before - left)


def _checkpoint(settings: Settings) -> str:
    """Asks for one; why there was none, '' otherwise: a job that is being restarted gives one at a later try."""
    job = flink_jobs.running_job(settings, JOB)
    if job is None:
        raise FlushFailed(f"{JOB} is not running; start it with: kefulake deploy {JOB}")
    try:
        flink_jobs.checkpoint(settings, job.job_id, CHECKPOINT_LIMIT_S)
    except flink_jobs.CheckpointFailed as error:
        return f"; {error}"
    return ""


def behind(positions: Mapping[str, int], ends: Mapping[str, int]) -> int:
    """How many offsets the positions are short of the ends.

    >>> behind({"raw.app/0": 3}, {"raw.app/0": 5, "raw.sms/0": 4, "raw.email/0": 0})
    6
    """
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
