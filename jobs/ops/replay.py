"""`kefulake replay`: play recorded messages into a channel, as if its collector had just received them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.stack import roots
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.channels import PARSERS
from pipelines.channels.instants import instant_us
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.collectors import regions
from pipelines.io import replays
from pipelines.io.paced_producer import NoBroker, Record, SendResult, send
from pipelines.io.payload_files import Payload, PayloadFileError, payloads
from pipelines.io.replays import Replayed
from pipelines.lineage.hooks import told_as_run

console = Console()
_SPEED = re.compile(r"(max)|(\d+(?:\.\d+)?)x|(\d+(?:\.\d+)?)/s")


@told_as_run("replay")
def command(
    file: Annotated[Path, typer.Argument(exists=True, help="File (.ndjson .csv .eml …, also .gz) or folder.")],
    channel: Annotated[str, typer.Option(help="Channel to play it into, e.g. web_chat.")],
    account: Annotated[str, typer.Option(help="Account of the company on that channel.")] = "default",
    speed: Annotated[str, typer.Option(help="max, 500/s, or 10x: ten times as fast as it happened.")] = "max",
    encoding: Annotated[str, typer.Option(help="Of lines and rows: utf-8, gbk, gb18030 …")] = "utf-8",
    received_at_field: Annotated[str | None, typer.Option(help="Field with the time of receipt; else now.")] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="The file holds rejects, sent for the n-th time.")] = None,
) -> None:
    """Play a file into raw.CHANNEL and wait until the broker has all of it; the exit code says whether it has.

    Where there are several regions it goes into the root of the account's. A second replay of the same file adds
    duplicates, not interactions: each message keeps its own ID, and one without an ID is known by its file, line and
    content.
    """
    if channel not in PARSERS:
        raise typer.BadParameter(f"no channel {channel}; there are {', '.join(PARSERS)}")
    settings = Settings.load()
    try:
        rate, faster = read_speed(speed)
        player = Player(channel, account, received_at_field)
        source = payloads(file, encoding=encoding, attempt=attempt)
        result = play(servers_of(settings, channel, account, attempt), player, source, rate=rate, faster=faster)
    except (PayloadFileError, NoBroker) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None
    report(file, player, result)
    if result.complete:
        replays.note(settings, player.attempts, datetime.now(UTC))
    if not result.complete or player.too_large:
        raise typer.Exit(1)


def servers_of(settings: Settings, channel: str, account: str, attempt: int | None) -> str:
    """Kafka of the account's region.

    Raises BadParameter for rejects of this root whose account belongs to another region: they stay where they are.
    """
    region, here = regions.declared().of(channel, account), roots.region_of(settings)
    if attempt is not None and region != here:
        raise typer.BadParameter(
            f"account {account} of {channel} belongs to region {region}, and these are rejects of the root of {here}: "
            "nothing moves from root to root. Let its sender send them again (docs/regions.md)."
        )
    return roots.bootstrap_of(settings, region)


def read_speed(text: str) -> tuple[float | None, float | None]:
    """Records a second, and times faster than it happened; at most one of them is set.

    >>> read_speed("max"), read_speed("500/s"), read_speed("10x")
    ((None, None), (500.0, None), (None, 10.0))
    """
    found = _SPEED.fullmatch(text.strip())
    if not found or any(number is not None and float(number) == 0 for number in found.groups()[1:]):
        raise typer.BadParameter(f"no speed {text!r}; say max, 500/s or 10x")
    return (float(found[3]) if found[3] else None, float(found[2]) if found[2] else None)


class Player:
    """Turns payloads into records for one raw topic, and counts what it could not send."""

    def __init__(self, channel: str, account: str, received_at_field: str | None) -> None:
        self._parse, self._account, self._received_at_field = PARSERS[channel], account, received_at_field
        self.topic = f"raw.{channel}"
        self._largest = contracts.topic(self.topic).max_message_bytes
        self.read = 0
        self.too_large = 0
        self.notes: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        self.attempts: list[Replayed] = []

    def records(self, source: Iterable[Payload]) -> Iterator[tuple[Record, int | None]]:
        """Each record with the time it happened (µs), None where it can't be read; that one is sent as well."""
        now_us = time.time_ns() // 1000
        for payload in source:
            self.read += 1
            if len(payload.value) > self._largest - 1024:
                self.too_large += 1
                continue
            parsed = self._parse(payload.value, self._account, now_us, payload.source_ref)
            if isinstance(parsed, Reject):
                self.unreadable[parsed.rule] += 1
            if "first_topic" in payload.headers:
                self.attempts.append(_replayed(payload.headers))
            headers = {"account": self._account, "source_ref": payload.source_ref} | payload.headers
            record = Record(
                self.topic,
                key(parsed),
                payload.value,
                [(name, value.encode()) for name, value in headers.items()],
                self._received_at_ms(payload.value),
            )
            yield record, parsed.occurred_at_us if isinstance(parsed, Interaction) else None

    def _received_at_ms(self, value: bytes) -> int:
        """Kafka's record time: the named field of the payload, 0 (now) without one."""
        if self._received_at_field is None:
            return 0
        try:
            at_us = instant_us(orjson.loads(value)[self._received_at_field], self._received_at_field)
        except (orjson.JSONDecodeError, KeyError, TypeError, Unreadable):
            at_us = None
        if at_us is None or at_us < 0:
            self.notes[f"no time in {self._received_at_field}: sent as received now"] += 1
            return 0
        return at_us // 1000


def _replayed(headers: dict[str, str]) -> Replayed:
    place = headers["first_topic"], int(headers["first_partition"]), int(headers["first_offset"])
    return Replayed(*place, int(headers["attempt"]))


def key(parsed: Interaction | Reject) -> bytes | None:
    """Conversation, else sender, hashed: order holds within a conversation, and the key gives nobody away."""
    if isinstance(parsed, Reject):
        return None
    handle = (
        parsed.session_id or parsed.ticket_id or parsed.openid or parsed.external_userid or parsed.user_handle
        or parsed.phone or parsed.email or parsed.member_number
    )  # fmt: skip
    return None if handle is None else blake2b(handle.encode(), digest_size=8).hexdigest().encode()


def play(
    bootstrap: str, player: Player, source: Iterable[Payload], *, rate: float | None, faster: float | None
) -> SendResult:
    """Send all payloads at the wished pace, with a progress line."""
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} sent"), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task(player.topic, total=None)
        timed = player.records(source)
        records = (record for record, _ in timed) if faster is None else as_it_happened(timed, faster)
        return send(bootstrap, records, rate=rate, chunk=1 if faster else 2_000, told=_teller(progress, task))


def _teller(progress: Progress, task) -> Callable[[int], None]:
    return lambda sent: progress.update(task, completed=sent)


def as_it_happened(
    timed: Iterable[tuple[Record, int | None]],
    faster: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Record]:
    """Records as far apart as their business times, ``faster`` times as fast; what lies back in time goes at once."""
    began, first_us = clock(), None
    for record, at_us in timed:
        if at_us is not None:
            first_us = at_us if first_us is None else first_us
            wait_s = (at_us - first_us) / 1e6 / faster - (clock() - began)
            if wait_s > 0:
                sleep(wait_s)
        yield record


def report(file: Path, player: Player, result: SendResult) -> None:
    """Print what was read, sent and acknowledged, and what was not and why."""
    table = Table("what", "number", "note", title=f"Replay of {file.name} into {player.topic}")
    table.add_row("read", f"{player.read:,}", "")
    table.add_row("sent", f"{result.sent:,}", f"in {result.seconds:.1f} s")
    table.add_row("acknowledged", f"{result.acknowledged:,}", "" if result.complete else "[red]not all[/red]")
    if player.too_large:
        table.add_row("not sent", f"{player.too_large:,}", f"[red]larger than {player.topic} takes[/red]")
    for why, count in player.notes.most_common():
        table.add_row("note", f"{count:,}", why)
    for rule, count in player.unreadable.most_common():
        table.add_row("will be rejected", f"{count:,}", rule)
    for why, count in result.failures.most_common():
        table.add_row("not acknowledged", f"{count:,}", why)
    console.print(table)
