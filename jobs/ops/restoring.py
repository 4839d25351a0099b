"""What `kefulake restore` does, step by step: keys, lake, broker, database, job, raw messages, and then everything."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from infra.stack import keys, lifecycle, supervisor
from infra.stack.files import private_folder
from infra.stack.flink_records import JobRecord
from infra.stack.kafka_log_start import begin_logs_at
from infra.stack.settings import Settings
from jobs.ops import deploy, flush
from jobs.services import serving_writer
from pipelines import contracts
from pipelines.backup import cut, manifest, places
from pipelines.backup.manifest import State
from pipelines.backup.recovery_key import RecoveryKeyError
from pipelines.backup.soundness import newest_sound
from pipelines.backup.store import BackupDamaged, Damage
from pipelines.cleaning import baseline_records
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.remembered import SEEN
from pipelines.identity import map_records
from pipelines.io import (
    backup_keys,
    raw_rewrite,
    restore_identity,
    restore_lake,
    restore_serving,
    restore_vault,
    seen_messages,
)
from pipelines.io.backup_topics import VAULT_TAIL
from pipelines.io.compacted_tail import CompactedTail
from pipelines.io.publisher import publish
from pipelines.io.restore_needs import damaged_of, tables_needed
from pipelines.privacy.keys import MasterKey

JOB = "clean_interactions"
Tell = Callable[[str], None]


class RestoreRefused(RuntimeError):
    """Nothing was restored; the message says why and what to do."""


@dataclass
class Restored:
    """What a restore did. rewritten: raw messages written again and judged; taken_out: rows that came out for it.

    begin, ends: from where to where each raw partition was written again.
    """

    round: int = 0
    at: float = 0.0
    bytes: int = 0
    taken_out: dict[str, int] = field(default_factory=dict)
    rewritten: int = 0
    remembered: int = 0
    served: dict[str, int] = field(default_factory=dict)
    begin: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def took_s(self) -> float:
        """All steps together."""
        return sum(self.steps.values())


def restore(
    settings: Settings,
    folder: Path,
    sealed: Path,
    until: float | None,
    ask: Callable[[], str],
    *,
    tell: Tell = lambda _: None,
    earlier: bool = False,
    parts: Sequence[str] | None = None,
) -> Restored:
    """The whole restore; `parts`: what runs afterwards (None: everything). Raises RestoreRefused, BackupDamaged,
    ManifestDamaged, RecoveryKeyError, or what the parts raise. A home that a failed restore leaves is to be deleted.
    """
    told, policy = Restored(), contracts.policy("backup")
    require_empty(settings)
    clock = _Clock(told.steps)
    state = state_at(folder, until, earlier=earlier)
    told.round, told.at, told.ends = state.rounds, state.at, state.ends
    tell("keys …")
    bring_keys(settings, sealed, ask)
    key = MasterKey.load(settings)
    told.bytes = restore_lake.bring_tables(settings, folder, tables_needed(folder, state), tell)
    clock.lap("lake copied")
    tell("looking for what is not settled …")
    begin = restore_lake.cuts(settings, state.ends)
    records = restore_lake.raw_records(folder, key, begin, state.ends)
    begin = restore_lake.begins(records, begin, state.ends)
    told.begin = begin
    said_again = restore_identity.told_by(settings, cut.beyond(begin) or "false")
    told.taken_out = restore_lake.take_out(settings, begin)
    clock.lap("cut")

    tell("broker and database …")
    quiet = lambda *_: None  # noqa: E731
    lifecycle.up(settings, only=["kafka"], extra=None, tell=quiet)  # makes the topics
    lifecycle.down(settings, quiet)
    begin_logs_at(settings, begin)
    lifecycle.up(settings, only=["kafka", "mariadb"], extra=None, tell=quiet)
    tiering = contracts.policy("tiering")
    restore_lake.positions(settings, tiering, begin)
    clock.lap("broker")
    tell("identities, vault, audit log, served rows …")
    told.served = restore_serving.files(settings, folder, state)
    told.served |= restore_serving.compacted(settings, folder, state, key)
    told.served |= restore_identity.identity(settings, folder, state, key, said_again)
    told.served |= restore_vault.vault(settings, tiering, folder, state, key)
    told.served["audit.log"] = restore_serving.audit(settings, tiering)
    serving = contracts.policy("serving")
    told.served["interactions (MariaDB)"] = restore_serving.served_interactions(
        settings, serving_writer.open_store(settings, serving), serving["retention"]["keep_days"]
    )
    clock.lap("served state")

    tell("the job, and what it has to remember …")
    since = datetime.fromtimestamp(state.at, UTC) - timedelta(hours=policy["remember_hours"])
    told.remembered = remember(settings, key, since)
    lifecycle.up(settings, only=["flink-jobmanager", "flink-taskmanager"], extra=None, tell=quiet)
    deploy.deploy(settings, JobRecord(JOB, deploy.JOBS[JOB], deploy.job_arguments(settings), 2))
    flush.judged(settings, SEEN)
    clock.lap("job remembers")
    tell("raw messages at their old offsets …")
    for place, of_place in records.items():
        told.rewritten += raw_rewrite.rewrite(
            settings.bootstrap, place, of_place, begin[place], state.ends[place], lambda _: None
        )
    clock.lap("raw messages")
    tell("everything else, and what was judged again into its tables …")
    lifecycle.up(settings, only=list(parts) if parts else None, extra=None, tell=quiet)
    flush.flush(settings, 600, tell)
    clock.lap("flushed")
    return told


class _Clock:
    def __init__(self, steps: dict[str, float]):
        self._steps, self._at = steps, time.monotonic()

    def lap(self, name: str) -> None:
        """Note how long it took since the last."""
        now = time.monotonic()
        self._steps[name], self._at = round(now - self._at, 1), now


def require_empty(settings: Settings) -> None:
    """Raises RestoreRefused unless nothing lies in the home that a restore would mix with, and the servers are ours."""
    if not (settings.own_kafka and settings.own_mariadb):
        raise RestoreRefused(
            "restore rebuilds the embedded broker and database: unset KEFULAKE_KAFKA and KEFULAKE_DATABASE_URL. "
            "Servers of your own are restored by their own means, the lake's files from the backup's folder lake"
        )
    if supervisor.states(settings):
        raise RestoreRefused(f"the stack of {settings.home} runs; restore makes a new home, name one by --home")
    for name in ("lake", "kafka", "mariadb", "jobs", "checkpoints"):
        place = settings.home / name
        if place.exists() and any(place.iterdir()):
            raise RestoreRefused(f"{place} is not empty; restore makes a new home, name another by --home")


def state_at(folder: Path, until: float | None, *, earlier: bool) -> State:
    """The round to go to, every file it needs checked. With `earlier`, the newest before it that needs none damaged.

    Raises BackupDamaged or ManifestDamaged naming what is damaged, RestoreRefused where there is no such round.
    """
    try:
        state = _round_of(folder, until, earlier=earlier)
        found = _in_the_way(folder, state, earlier=earlier)
        if found and not earlier:
            raise BackupDamaged(
                "; ".join(map(str, found)) + ". kefulake backup full copies again what the lake still has; "
                "--newest-sound goes to the newest round that needs none of these"
            )
        while found:  # a round before the damaged file came needs it not
            came = [state.files[damage.path]["at"] for damage in found if damage.path in state.files]
            state = newest_sound(folder, until=min([*came, math.nextafter(state.at, 0)]))
            found = _in_the_way(folder, state, earlier=earlier)
        return state
    except FileNotFoundError as error:
        raise RestoreRefused(str(error)) from error


def _in_the_way(folder: Path, state: State, *, earlier: bool) -> list[Damage]:
    """With `earlier` a damaged tail of the vault keeps nobody back: `tokens without an entry` counts what it held."""
    tails = state.of(VAULT_TAIL) if earlier else {}
    return [damage for damage in damaged_of(folder, state) if damage.path not in tails]


def _round_of(folder: Path, until: float | None, *, earlier: bool) -> State:
    try:
        return manifest.read(folder, until=until)
    except manifest.ManifestDamaged:
        if not earlier:
            raise
        return newest_sound(folder, until=until)


def bring_keys(settings: Settings, sealed: Path, ask: Callable[[], str]) -> None:
    """The master key and the agents' keys, from the sealed folder; the environment's master key goes first."""
    private_folder(settings.keys)
    if not os.environ.get("KEFULAKE_MASTER_KEY"):
        backup_keys.bring_back(sealed, ask(), settings.keys)
    if not (settings.keys_file.exists() or os.environ.get("KEFULAKE_MASTER_KEY")):
        raise RecoveryKeyError("the sealed keys hold no master key")
    keys.ensure_master_key(settings)
    backup_keys.go_on_with(sealed, places.keys_folder(settings))


def remember(settings: Settings, key: MasterKey, since: datetime) -> int:
    """Tell topic restore.seen what the job has to know; how many messages."""
    context = CleaningContext.create(key, settings.region)
    for topic, feed in (
        ("identity.map", partial(map_records.feed, context.identity)),
        ("policy.baselines", partial(baseline_records.feed, context.baselines)),
    ):
        tail = CompactedTail(settings.bootstrap, topic)
        for records in tail.load_to_end():
            feed(records)
        tail.close()
    return publish(settings.bootstrap, SEEN, seen_messages.seeds(settings, context, key, since), timeout_s=600)
