"""`kefulake simulate`: traffic of all channels into the raw topics, with the truth in a side file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.stack import roots
from infra.stack.settings import Settings
from jobs.ops import simulate_records, simulate_store_files
from pipelines.collectors import regions
from pipelines.io.paced_producer import NoBroker, Record, SendResult, send
from pipelines.simulation import crm as crm_file
from pipelines.simulation import truth
from pipelines.simulation.traffic import CHANNELS, SimulatedMessage, generate

# Messages encoded before the first is sent; more are made of these by other IDs. 100,000 are about 60 MB.
POOL = 100_000
MIXES = {"all": "all", "flat-json": "flat_json"}
console = Console()
app = typer.Typer(help="Make traffic of all channels, with the truth in a side file.", invoke_without_command=True)
app.command("crm-records")(simulate_records.crm_records)
app.command("orders")(simulate_records.orders)
app.command("store-files")(simulate_store_files.store_files)

Seed = Annotated[int, typer.Option(help="The same seed gives the same people and the same traffic.")]
Customers = Annotated[int, typer.Option(min=1, help="How many people there are.")]


@app.callback()
def simulate(
    context: typer.Context,
    rate: Annotated[float | None, typer.Option(min=1, help="Events a second; without it as fast as possible.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="For so long (needs --rate).")] = None,
    events: Annotated[int | None, typer.Option(min=1, help="So many events.")] = None,
    seed: Seed = 7,
    customers: Customers = 5_000,
    peak_factor: Annotated[float, typer.Option(min=0.01, help="Multiplies the rate: 15 is a peak day.")] = 1.0,
    channels: Annotated[str, typer.Option(help="all, or names with commas between them.")] = "all",
    mix: Annotated[str, typer.Option(help="all, or flat-json: website chat of 350 bytes, for benchmarks.")] = "all",
    dirty_share: Annotated[float, typer.Option(min=0, max=1, help="How dirty; 0 is spotless.")] = 0.08,
    days: Annotated[int, typer.Option(min=1, help="Contacts happened within the last so many days.")] = 1,
    pool: Annotated[int, typer.Option(min=1, help="Encode so many before sending; the rest repeats them.")] = POOL,
    truth_file: Annotated[Path | None, typer.Option("--truth", help="Write the truth (.parquet or .jsonl).")] = None,
    source_clock: Annotated[bool, typer.Option(help="Received when it happened, instead of now.")] = False,
) -> None:
    """Send simulated contacts of up to 14 channels into their raw topics.

    Give --events, or --rate and --seconds. All is encoded before the first is sent, so the generator is not what you
    measure; past --pool events the same ones go out again under other IDs. In a further region (--region) they are of
    the channels and accounts that are declared as its own.
    """
    if context.invoked_subcommand is not None:
        return
    total = _how_many(events, rate, seconds, peak_factor)
    settings = Settings.load()
    accounts = own_accounts(settings)
    messages = encode(
        total=min(total, pool), seed=seed, customers=customers, channels=_of_region(_channels(channels), accounts),
        mix=_mix(mix), dirty_share=dirty_share, days=days,
    )  # fmt: skip
    messages = [under(message, accounts) for message in messages] if accounts else messages
    pace = None if rate is None else rate * peak_factor
    try:
        result = _send(
            roots.own_bootstrap(settings), in_passes(messages, total, source_clock=source_clock), total, pace
        )
    except NoBroker as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None
    if truth_file is not None:
        passes, over = divmod(total - 1, len(messages))
        rows = (message.truth for message in messages)
        truth.write(truth_file, rows, passes=passes + 1, last_pass_events=over + 1)
    report(messages, result, pace, truth_file)
    if not result.complete:
        raise typer.Exit(1)


@app.command()
def crm(
    out: Annotated[Path, typer.Option(help="Where to write the CSV.")],
    seed: Seed = 7,
    customers: Customers = 5_000,
) -> None:
    """Write the CRM file of the same people, for `kefulake identity load`."""
    console.print(f"{crm_file.write(out, seed, customers):,} customers in {out}")


def _how_many(events: int | None, rate: float | None, seconds: float | None, peak_factor: float) -> int:
    if events is not None and seconds is None:
        return events
    if events is None and rate is not None and seconds is not None:
        return max(1, round(rate * peak_factor * seconds))
    raise typer.BadParameter("give either --events N (with or without --rate), or --rate R and --seconds S")


def _channels(names: str) -> list[str] | None:
    if names == "all":
        return None
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := sorted(set(chosen) - set(CHANNELS)):
        raise typer.BadParameter(f"no channel {', '.join(unknown)}; there are {', '.join(CHANNELS)}")
    return chosen


def own_accounts(settings: Settings) -> dict[str, str]:
    """Channel to account where this is a further region's root; empty in the home region's: `default`, as always."""
    accounts = regions.declared().accounts_in(roots.region_of(settings))
    if settings.region is not None and not set(accounts) & set(CHANNELS):
        raise typer.BadParameter(f"schemas/policies/regions.yaml names no account of region {settings.region}")
    return accounts


def _of_region(chosen: list[str] | None, accounts: dict[str, str]) -> list[str] | None:
    """The channels asked for; in a further region those of them that it has an account of, or an error."""
    if not accounts:
        return chosen
    if chosen is not None and (without := sorted(set(chosen) - set(accounts))):
        raise typer.BadParameter(f"this region has no account of {', '.join(without)}; it has {', '.join(accounts)}")
    return chosen or [channel for channel in CHANNELS if channel in accounts]


def under(message: SimulatedMessage, accounts: dict[str, str]) -> SimulatedMessage:
    """The message as if the region's own account of its channel had taken it in."""
    kept = [header for header in message.headers if header[0] != "account"]
    return message._replace(headers=[*kept, ("account", accounts[message.topic.removeprefix("raw.")].encode())])


def _mix(name: str) -> str:
    if name not in MIXES:
        raise typer.BadParameter(f"no mix {name}; there are {', '.join(MIXES)}")
    return MIXES[name]


def _send(bootstrap: str, records: Iterator[Record], total: int, pace: float | None) -> SendResult:
    with _bar() as progress:
        task = progress.add_task("send", total=total)
        return send(bootstrap, records, rate=pace, told=lambda sent: progress.update(task, completed=sent))


def _bar() -> Progress:
    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, refresh_per_second=4)


def encode(
    *, total: int, seed: int, customers: int, channels: list[str] | None, mix: str, dirty_share: float, days: int
) -> list[SimulatedMessage]:
    """The pool: ready bytes, keys and truth of each message, in the order to send them."""
    # Mails are answered three hours later and repeats come up to four: nothing may have happened in the future.
    start_at = datetime.now(UTC) - timedelta(days=days, hours=5)
    made = generate(
        seed, total, customers, start_at, mix, dirty_share, span_s=days * 86_400, channels=channels
    )  # fmt: skip
    messages = []
    with _bar() as progress:
        task = progress.add_task("encode", total=total)
        for message in made:
            messages.append(message)
            if len(messages) % 1_000 == 0:
                progress.update(task, completed=len(messages))
        progress.update(task, completed=total)
    return messages


def in_passes(messages: list[SimulatedMessage], total: int, *, source_clock: bool = False) -> Iterator[Record]:
    """``total`` records out of the pool: pass after pass, each with its own IDs."""
    plain = [
        Record(m.topic, m.key, m.value, m.headers, m.timestamp_ms if source_clock else 0)  # as cheap as it gets below
        for m in messages
    ]
    first = min(total, len(plain))
    yield from plain[:first]
    total -= first
    number = 0
    in_pass: Callable[[bytes, int], bytes] = truth.in_pass
    while total > 0:
        number += 1
        for topic, key, value, headers, timestamp_ms in plain[: min(total, len(plain))]:
            yield Record(topic, key, in_pass(value, number), headers, timestamp_ms)
        total -= len(plain)


def report(messages: list[SimulatedMessage], result: SendResult, pace: float | None, truth_file: Path | None) -> None:
    """Print what was sent, how fast, and what is in it."""
    table = Table("what", "number", title="Simulated traffic")
    table.add_row("sent", f"{result.sent:,}")
    table.add_row("acknowledged", f"{result.acknowledged:,}")
    asked = "" if pace is None else f" (asked: {pace:,.0f})"
    table.add_row("events a second", f"{result.sent / max(result.seconds, 1e-9):,.0f}{asked}")
    for verdict, count in Counter(message.truth.expect for message in messages).most_common():
        table.add_row(f"truth: {verdict}", f"{count / len(messages):.2%} of the pool")
    if truth_file is not None:
        table.add_row("truth in", str(truth_file))
    console.print(table)
    for reason, count in result.failures.most_common():
        console.print(f"[red]{count:,} not acknowledged: {reason}[/red]")
