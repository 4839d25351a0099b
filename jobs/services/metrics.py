"""The metrics service: what `kefulake status` shows, as Prometheus text on a loopback port.

What is asked often (parts, jobs, lag) is looked up every 10 s, what means reading table logs every 30 s; a scrape
only prints what was found last, so scraping costs nothing.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from infra.stack import observe, observe_backup, observe_data
from infra.stack.settings import Settings

log = logging.getLogger("metrics")
OFTEN_S, SELDOM_S = 10.0, 30.0
# name → (help, labels). The one list of what this service tells.
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "kefulake_part_up": ("1 when the part is well", ("part",)),
    "kefulake_part_memory_bytes": ("Resident memory of the part and what it started", ("part",)),
    "kefulake_part_uptime_seconds": ("Since the part's last start", ("part",)),
    "kefulake_job_up": ("1 when the Flink job is as it was deployed to be", ("job",)),
    "kefulake_job_restarts": ("Restarts of the job's present run", ("job",)),
    "kefulake_job_checkpoint_age_seconds": ("Since the job's last completed checkpoint", ("job",)),
    "kefulake_job_checkpoint_seconds": ("How long the last completed checkpoint took", ("job",)),
    "kefulake_lag_messages": ("Messages a consumer has still to take", ("consumer", "of")),
    "kefulake_stream_up": ("1 when the consumer takes them", ("consumer", "of")),
    "kefulake_table_age_seconds": ("Since the newest received_at of the table", ("table",)),
    "kefulake_rejected_share": ("Rejected of all judged lately, on channels with enough messages to say", ("channel",)),
    "kefulake_rejected_share_allowed": ("Up to this share is normal (policy rejects)", ("channel",)),
    "kefulake_rejects_age_seconds": ("Since the share of rejects was measured", ()),
    "kefulake_backup_age_seconds": ("Everything acknowledged longer ago is in the backup", ()),
    "kefulake_backup_troubles": ("What the last round of the backup could not ship", ()),
    "kefulake_balance_rows": ("Rows of the closed hours by where they stand; twice: of all hours", ("stands_in",)),
    "kefulake_balance_closes": (
        "1 when every raw message of the closed hours stands in one output, and none in two",
        (),
    ),
}
Sample = tuple[str, tuple[str, ...], float]


@dataclass(eq=False)
class Found(Collector):
    """The samples of the last round, by source; what a scrape prints."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family a metric, in the order of METRICS."""
        everything = [sample for samples in list(self.samples.values()) for sample in samples]
        for name, (text, labels) in METRICS.items():
            family = GaugeMetricFamily(name, text, labels=labels)
            for its_name, values, number in everything:
                if its_name == name:
                    family.add_metric(values, number)
            yield family


def part_samples(settings: Settings) -> Iterator[Sample]:
    """Parts and jobs."""
    for part in observe.parts(settings):
        yield "kefulake_part_up", (part.name,), float(part.trouble is None)
        yield "kefulake_part_memory_bytes", (part.name,), part.memory_mb * 1e6
        yield "kefulake_part_uptime_seconds", (part.name,), part.up_s
    for job in observe.jobs(settings):
        yield "kefulake_job_up", (job.name,), float(job.trouble is None)
        yield "kefulake_job_restarts", (job.name,), job.restarts
        if job.checkpoint_age_s is not None and job.checkpoint_ms is not None:
            yield "kefulake_job_checkpoint_age_seconds", (job.name,), job.checkpoint_age_s
            yield "kefulake_job_checkpoint_seconds", (job.name,), job.checkpoint_ms / 1000


def lag_samples(settings: Settings) -> Iterator[Sample]:
    """Lag of the cleaning job, the tiering service and the serving writer."""
    for lag in [*observe_data.cleaning_lag(settings), *observe_data.stream_lag(settings)]:
        yield "kefulake_lag_messages", (lag.consumer, lag.what), lag.messages
        yield "kefulake_stream_up", (lag.consumer, lag.what), float(lag.trouble is None)


def table_samples(settings: Settings) -> Iterator[Sample]:
    """Freshness, rejects and balance."""
    for fresh in observe_data.freshness(settings):
        yield "kefulake_table_age_seconds", (fresh.table,), fresh.age_s
    rejects = observe_data.rejects(settings)
    if rejects is not None:
        yield "kefulake_rejects_age_seconds", (), rejects.age_s
        for line in [] if rejects.stale else rejects.channels:
            yield "kefulake_rejected_share", (line.channel,), line.share
            yield "kefulake_rejected_share_allowed", (line.channel,), line.allowed_share
    balance = observe_data.balance(settings)
    if balance is not None:
        for name, number in balance.counts.items():
            yield "kefulake_balance_rows", (name,), number
        yield "kefulake_balance_closes", (), float(balance.closes)


def backup_samples(settings: Settings) -> Iterator[Sample]:
    """How old the backup is."""
    backup = observe_backup.backup(settings)
    if backup is not None:
        yield "kefulake_backup_troubles", (), float(len(backup.troubles))
        if backup.age_s is not None:
            yield "kefulake_backup_age_seconds", (), backup.age_s


SOURCES: dict[str, tuple[float, Callable[[Settings], Iterator[Sample]]]] = {
    "parts": (OFTEN_S, part_samples),
    "lag": (OFTEN_S, lag_samples),
    "tables": (SELDOM_S, table_samples),
    "backup": (OFTEN_S, backup_samples),
}


def look(settings: Settings, found: Found, due: dict[str, float], now: float) -> None:
    """Looks up what is due. A source that fails keeps no old figures: none is better than a wrong one."""
    for source, (every_s, ask) in SOURCES.items():
        if now < due.get(source, 0):
            continue
        due[source] = now + every_s
        try:
            found.samples[source] = list(ask(settings))
        except Exception as error:  # whatever a part that is just dying may answer
            found.samples[source] = []
            log.warning("%s could not be looked up: %s", source, error)


def main() -> int:
    """Serves until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s %(message)s")
    settings, found, stopping = Settings.load(), Found(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    registry = CollectorRegistry()
    registry.register(found)
    start_http_server(settings.ports.metrics, addr="127.0.0.1", registry=registry)
    due: dict[str, float] = {}
    while not stopping.wait(0.5):
        look(settings, found, due, time.monotonic())
    return 0


if __name__ == "__main__":
    sys.exit(main())
