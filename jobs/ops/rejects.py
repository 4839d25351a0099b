"""`kefulake rejects`: what was refused, why, its kept bytes, and sending it again after a repair."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import typer
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack import roots
from infra.stack.settings import Settings
from jobs.ops.auditing import write_down
from pipelines import contracts
from pipelines.collectors import regions
from pipelines.io import replays
from pipelines.io.lake_tables import arrow_files
from pipelines.io.publisher import publish
from pipelines.io.replays import Replayed
from pipelines.lineage.hooks import told_as_run
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.masking import mask_text
from pipelines.privacy.payloads import PayloadError, coordinates, open_payload
from pipelines.privacy.roles import NotAllowed, check_open_bytes
from pipelines.service.attempts import last_attempts, next_attempts

REJECTS = "quarantine.rejects"
PLACES = [
    "raw_topic", "raw_partition", "raw_offset", "attempt", "first_topic", "first_partition", "first_offset", "rule",
    "received_at", "account",
]  # fmt: skip
BYTES = [*PLACES, "reason", "payload_bytes", "payload_encrypted", "source_ref"]
_SHOWN_CHARS = 600
app = typer.Typer(no_args_is_help=True, help="Look at rejected messages and send them again.")


@app.callback()
def _rejects() -> None:
    """Look at rejected messages and send them again."""


@app.command()
def summary() -> None:
    """How many messages each rule has rejected, and how many of these were sent again."""
    settings = Settings.load()
    rejects, sent = read(settings, PLACES), replays.read(settings)
    counts = dict(rejects.group_by("rule").len().rows())
    again = dict(sent.group_by("rule").len().rows())
    table = Table("rule", "rejected", "sent again", title="Rejected messages")
    for rule in sorted(counts, key=lambda name: (-counts[name], name)):
        table.add_row(rule, f"{counts[rule]:,}", f"{again.get(rule, 0):,}")
    Console().print(table)


@app.command()
def show(
    rule: Annotated[str | None, typer.Option(help="Only this rule, e.g. text.blank.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 10,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="Personal numbers in the clear; audited.")] = False,
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in, for --unmasked.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for --unmasked; it is written into the audit log.")] = "",
) -> None:
    """The newest rejects with their kept bytes, personal numbers masked; of a message its last attempt.

    Needs the master key: who may read its file may read the bytes.
    """
    settings = Settings.load()
    if unmasked:
        allow_unmasked(settings, rule, limit, role=role, reason=reason)
    key = MasterKey.load(settings)
    found = last_attempts(read(settings, PLACES))
    rows = with_bytes(settings, _of_rule(found, rule).sort("received_at", "raw_offset", descending=True).head(limit))
    console = Console(highlight=False, markup=False)
    for row in rows:
        where = coordinates(row["raw_topic"], row["raw_partition"], row["raw_offset"])
        console.print(f"{where}  {row['received_at']:%Y-%m-%d %H:%M:%S} UTC  attempt {row['attempt']}")
        if row["source_ref"]:
            console.print(f"  from {printable(row['source_ref'])}")
        console.print(f"  {row['rule']}: {row['reason']}")
        console.print(f"  {row['payload_bytes'] or 0} bytes: {readable(row, key, unmasked=unmasked)}\n")
    console.print(f"{len(rows)} shown." if rows else "Nothing was rejected" + (f" by {rule}." if rule else "."))


def allow_unmasked(settings: Settings, rule: str | None, limit: int, *, role: str, reason: str) -> None:
    """Nothing when this role may see bytes in the clear, and it is written down; else exit code 1."""
    asked = {"role": role, "reason": reason}
    try:
        check_open_bytes(role, reason, policy=contracts.policy("roles"))
    except NotAllowed as refused:
        write_down(settings, "refused", rule or REJECTS, **asked, detail={"wanted": "open_bytes"})
        typer.echo(f"Not allowed: {refused}.", err=True)
        raise typer.Exit(1) from refused
    write_down(settings, "open_bytes", rule or REJECTS, **asked, detail={"limit": limit})


@app.command()
@told_as_run("rejects")
def replay(
    rule: Annotated[str, typer.Option(help="Rule whose rejects go back into their channels.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many, oldest first.")] = 1000,
    again: Annotated[bool, typer.Option("--again", help="Also what was sent again before.")] = False,
) -> None:
    """Send the kept bytes again, as the next attempt, after the cause was repaired.

    What was sent again before and has not been rejected since stays where it is, unless --again asks for it.
    Exit code 1 when some cannot be sent, because their bytes cannot be opened or their account is another region's.
    """
    settings, console = Settings.load(), Console(highlight=False)
    servers = roots.own_bootstrap(settings)
    key = MasterKey.load(settings)
    rejects = _of_rule(last_attempts(read(settings, PLACES)), rule).filter(_is_raw())
    waiting, before = next_attempts(rejects, replays.read(settings), again=again)
    waiting, strangers = here_and_elsewhere(waiting, regions.declared(), roots.region_of(settings))
    chosen = with_bytes(settings, waiting.sort("received_at", "raw_topic", "raw_offset").head(limit))
    unopened = 0
    for topic in sorted({row["raw_topic"] for row in chosen}):
        opened, refused = open_all([row for row in chosen if row["raw_topic"] == topic], key)
        unopened += len(refused)
        publish(
            servers,
            topic,
            [(None, payload) for _, payload in opened],
            headers=[replay_headers(row) for row, _ in opened],
        )
        sent = (Replayed(*(row[name] for name in Replayed._fields)) for row, _ in opened)
        console.print(f"{topic}: {replays.note(settings, sent, datetime.now(UTC)):,} messages sent again")
        for reason in refused[:3]:
            console.print(f"  not sent: {reason}", markup=False)
    if len(waiting) > limit:
        console.print(f"{len(waiting) - limit:,} more wait; --limit takes more at once.")
    if before:
        console.print(f"{before:,} were sent again before and stay; --again sends these as well.")
    if rejects.is_empty():
        console.print(f"Nothing was rejected by {rule}.")
    for told in elsewhere(strangers, roots.region_of(settings)):
        console.print(told, markup=False)
    if unopened or not strangers.is_empty():
        raise typer.Exit(1)


def here_and_elsewhere(rejects: pl.DataFrame, known: regions.Regions, here: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rejects whose accounts belong to the region ``here``, and the others, with their ``region``."""
    if not known.several:
        return rejects, rejects.clear()
    places = zip(rejects["raw_topic"], rejects["account"], strict=True)
    owners = [known.of(topic.removeprefix("raw."), account) for topic, account in places]
    owned = rejects.with_columns(pl.Series("region", owners, dtype=pl.String))
    mine = pl.col("region") == here
    return owned.filter(mine).drop("region"), owned.filter(~mine)


def elsewhere(strangers: pl.DataFrame, here: str) -> list[str]:
    """Why they stay and what a person can do, in plain words."""
    if strangers.is_empty():
        return []
    groups = strangers.group_by("region", "raw_topic", "account").len().sort("region", "raw_topic", "account")
    listed = [f"  {n:,} of account {account} in {topic}: region {owner}" for owner, topic, account, n in groups.rows()]
    return [
        f"{len(strangers):,} stay in the root of {here}: their accounts belong to another region, and nothing moves",
        "from root to root by itself.",
        *listed,
        "If that is right, let their senders send them again, to their own region. If an account is declared for the",
        "wrong region, correct schemas/policies/regions.yaml, kefulake deploy clean_interactions, and replay again.",
    ]


def read(settings: Settings, columns: list[str]) -> pl.DataFrame:
    """Columns of the table of rejects. Raises FileNotFoundError before the first one was written."""
    path = settings.table_path(REJECTS)
    if not (path / "_delta_log").exists():
        raise FileNotFoundError(
            f"There is no table {REJECTS} in {settings.lake} yet: nothing has been rejected so far."
        )
    return pl.from_arrow(DeltaTable(str(path)).to_pyarrow_table(columns=columns, filesystem=arrow_files(path)))


def with_bytes(settings: Settings, chosen: pl.DataFrame) -> list[dict]:
    """Whole rows of the chosen rejects, in their order: bytes are read for these alone, not for the whole table."""
    if chosen.is_empty():
        return []
    first, last = chosen["received_at"].min(), chosen["received_at"].max()
    rules = chosen["rule"].unique().to_list()
    within = [("received_at", ">=", first), ("received_at", "<=", last), ("rule", "in", rules)]
    path = settings.table_path(REJECTS)
    table = DeltaTable(str(path))
    there = {field.name for field in table.schema().fields}  # a table from before a column is read without it
    content = [name for name in BYTES if name not in PLACES and name in there]
    place = ["raw_topic", "raw_partition", "raw_offset", "received_at"]
    columns = [*place, *content]
    whole = pl.from_arrow(table.to_pyarrow_table(columns=columns, filters=within, filesystem=arrow_files(path)))
    rows = chosen.join(whole.unique(place), on=place, how="left", maintain_order="left").to_dicts()
    return [dict.fromkeys(BYTES) | row for row in rows]


def _of_rule(rejects: pl.DataFrame, rule: str | None) -> pl.DataFrame:
    return rejects if rule is None else rejects.filter(pl.col("rule") == rule)


def _is_raw() -> pl.Expr:
    """What the tiering service could not read stands in a topic of ours, which nobody else may write to."""
    return pl.col("raw_topic").is_in([name for name, topic in contracts.topics().items() if topic.format == "raw"])


def open_all(rows: list[dict], key: MasterKey) -> tuple[list[tuple[dict, bytes]], list[str]]:
    """Rows with their bytes, and why the others cannot be opened."""
    opened, refused = [], []
    for row in rows:
        try:
            opened.append((row, kept_bytes(row, key)))
        except PayloadError as error:
            refused.append(str(error))
    return opened, refused


def kept_bytes(row: dict, key: MasterKey) -> bytes:
    """The bytes as they came in. Raises PayloadError if they were altered or the key does not fit."""
    where = coordinates(row["raw_topic"], row["raw_partition"], row["raw_offset"])
    return open_payload(row["payload_encrypted"] or "", key, where)


def readable(row: dict, key: MasterKey, *, unmasked: bool) -> str:
    """The kept bytes as text, cut to what a person reads; bytes that are no UTF-8 show as escapes."""
    if not row["payload_encrypted"]:
        return "(none kept)"
    try:
        text = kept_bytes(row, key).decode("utf-8", "backslashreplace")
    except PayloadError as error:
        return f"({error})"
    shown = text if unmasked else mask_text(text)
    shown = printable(shown[: 2 * _SHOWN_CHARS])
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"


def printable(text: str) -> str:
    """Text of a stranger for a terminal: hostile bytes must not steer that of who looks at them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def replay_headers(row: dict) -> list[tuple[str, bytes]]:
    """Headers of the attempt a row is about to be: which it is, and where the first one stands."""
    values = {"account": row["account"] or "default"}
    values |= {name: row[name] for name in ("attempt", "first_topic", "first_partition", "first_offset")}
    if row.get("source_ref"):
        values["source_ref"] = row["source_ref"]
    return [(name, str(value).encode()) for name, value in values.items()]
