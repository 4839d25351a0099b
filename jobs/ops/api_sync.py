"""`kefulake api-sync`: bring over what has changed in the systems that have to be asked (policy `connectors`)."""

from __future__ import annotations

import fcntl
import os
import random
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.stack import roots
from infra.stack.files import private_folder
from infra.stack.settings import Settings
from pipelines.channels.instants import instant_us
from pipelines.channels.interaction import Unreadable
from pipelines.collectors import regions
from pipelines.connectors import access, resources, source
from pipelines.connectors.access import AccessError
from pipelines.connectors.clock import Clock, RealClock
from pipelines.connectors.http_client import SourceClient
from pipelines.connectors.resources import Connectors, DeletedList, Resource
from pipelines.connectors.sync import Figures, Sync
from pipelines.io.connector_log import ConnectorLog, Sent
from pipelines.io.paced_producer import NoBroker
from pipelines.lineage.hooks import told_as_run
from pipelines.privacy.bronze_cipher import open_bronze
from pipelines.privacy.keys import MasterKey

_MOST_FINDINGS = 5
NOT_CONFIGURED = "not configured"


class AlreadyRunning(RuntimeError):
    """Another api-sync is at work in this home."""


@told_as_run("api_sync")
def command(
    resource: Annotated[list[str] | None, typer.Option(help="Only this resource; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(help="Read again what changed since then, e.g. 2026-11-01.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything, and look for what is gone.")] = False,
) -> None:
    """Ask each source what has changed, send what is new into the raw topics, and say how far each one is.

    Run it as often as you like: what is known is not sent again. --since and --full compare with everything that was
    ever sent, so they are safe too. Addresses and secrets: keys/connectors.yaml of the stack's folder, as
    docs/connectors.md says. A resource that fails keeps its place and the others go on; the exit code is then 1.
    """
    console, settings, declared = Console(highlight=False), Settings.load(), resources.declared()
    if unknown := sorted(set(resource or ()) - set(declared.resources)):
        raise typer.BadParameter(f"no resource {', '.join(unknown)}; there are {', '.join(declared.resources)}")
    since_us = _instant(since)
    with alone(settings):
        done = sync_all(settings, declared, resource, since_us=since_us, full=full, console=console)
    report(done, console)
    if any(figures.failed not in (None, NOT_CONFIGURED) for figures in done.values()):
        raise typer.Exit(1)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One run at a time in a home. Raises AlreadyRunning."""
    with (private_folder(settings.home / "connectors") / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise AlreadyRunning(f"another api-sync is at work (process {file.read().strip()}); it does this") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def sync_all(
    settings: Settings,
    declared: Connectors,
    names: list[str] | None,
    *,
    since_us: int | None = None,
    full: bool = False,
    console: Console,
    clock: Clock | None = None,
) -> dict[str, Figures]:
    """All resources, or those named, one after the other; figures by resource.

    Of a source nobody has configured nothing is asked, unless the resource was named.
    """
    done: dict[str, Figures] = {}
    columns = (TextColumn("{task.description}"), TextColumn("{task.fields[doing]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        for name in names or declared.resources:
            task = progress.add_task(name, total=None, doing="asking …")

            def told(figures: Figures, task=task) -> None:
                doing = f"{figures.pages:,} pages, {figures.records:,} records, {figures.sent:,} sent"
                progress.update(task, doing=doing)

            one = sync_one(settings, declared, name, told, since_us, full, clock or RealClock(), named=bool(names))
            progress.update(
                task, total=1, completed=1, doing=one.failed or f"{one.records:,} records, {one.sent:,} sent"
            )
            done[name] = one
    return done


def sync_one(
    settings: Settings,
    declared: Connectors,
    name: str,
    told,
    since_us: int | None,
    full: bool,
    clock: Clock,
    *,
    named: bool,
) -> Figures:
    """One resource; what makes it impossible is told in its figures."""
    resource = declared.resources[name]
    spec = declared.sources[resource.source]
    keys_file = settings.keys / "connectors.yaml"
    try:
        if not named and not access.configured(keys_file, resource.source, os.environ):
            return Figures(failed=NOT_CONFIGURED)
        where = access.load(keys_file, resource.source, spec.auth, os.environ)
        region = regions.declared().of(resource.channel, spec.account)
        bronze = roots.root_of(settings, region).table_path("bronze.raw_events")
        log = ConnectorLog(roots.bootstrap_of(settings, region), resource.topic, bronze)
        key = MasterKey.load(settings)
    except (AccessError, NoBroker, OSError, ValueError, RuntimeError) as error:
        return Figures(failed=str(error))
    secret = key.derive("connector records", key.token_version)
    file = settings.home / "connectors" / f"{name}.json"
    sync = Sync(resource, declared.client, spec.account, log, file, clock, secret, told)
    chance = random.Random()  # noqa: S311 - spreads retries, hides nothing
    client = SourceClient(resource.source, spec, where, declared.client, clock, chance)
    siblings = _tell_of_deletions(declared.resources, resource)
    try:
        return source.run(sync, client, since_us=since_us, full=full, opened=_opener(key), siblings=siblings)
    except KafkaException as error:
        return Figures(failed=f"Kafka: {error.args[0].str()}")
    except Exception as error:  # the others go on; its words may hold a header or an address, so its kind and place
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return Figures(failed=f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}")
    finally:
        client.close()


def _opener(key: MasterKey):
    def opened(sent: Sent) -> bytes:
        return open_bronze(sent.value, key, sent.partition, sent.offset) if sent.sealed else sent.value

    return opened


def _tell_of_deletions(all_resources: Mapping[str, Resource], resource: Resource) -> tuple[str, ...]:
    """Lists of deleted records of the same system and kind."""
    return tuple(
        name
        for name, other in all_resources.items()
        if isinstance(other.deletions, DeletedList)
        and (other.source, other.channel) == (resource.source, resource.channel)
    )


def report(done: Mapping[str, Figures], console: Console) -> None:
    """A row a resource, then what differed from the declaration, then what failed."""
    columns = (
        "pages",
        "records",
        "sent",
        "unchanged",
        "deleted",
        "drifted",
        "retries",
        "cursor before",
        "cursor after",
    )
    table = Table("resource", *columns, title="api-sync")
    for name, one in done.items():
        figures = (one.pages, one.records, one.sent, one.unchanged, one.deleted, one.drifted, one.retries)
        cursors = (_at(one.cursor_before_us), _at(one.cursor_after_us))
        style = "red" if one.failed not in (None, NOT_CONFIGURED) else None
        table.add_row(name, *(f"{figure:,}" for figure in figures), *cursors, style=style)
    console.print(table)
    for name, one in done.items():
        for finding, count in one.findings.most_common(_MOST_FINDINGS):
            console.print(f"[yellow]{name}: {finding} in {count:,} records[/yellow] (declared otherwise)", markup=True)
        if one.unproven:
            console.print(f"[yellow]{name}: {one.unproven:,} pages did not join the page before[/yellow]")
        if one.failed:
            console.print(f"{name}: {one.failed}", style="dim" if one.failed == NOT_CONFIGURED else "red", markup=False)


def _at(at_us: int | None) -> str:
    return "" if at_us is None else f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M:%S}Z"


def _instant(written: str | None) -> int | None:
    if written is None:
        return None
    try:
        at_us = instant_us(written, "--since")
    except Unreadable as error:
        raise typer.BadParameter(error.reject.reason) from None
    if at_us is None:
        raise typer.BadParameter("--since is empty")
    return at_us
