"""`kefulake rejects`: what was refused, why, its kept bytes, and sending it again after a repair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from pipelines.io.publisher import publish
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.masking import mask_text
from pipelines.privacy.payloads import PayloadError, coordinates, open_payload

REJECTS = "quarantine.rejects"
COLUMNS = [
    "raw_topic", "raw_partition", "raw_offset", "attempt", "account", "received_at", "rule", "reason",
    "payload_bytes", "payload_encrypted",
]  # fmt: skip
_SHOWN_CHARS = 600
app = typer.Typer(no_args_is_help=True, help="Look at rejected messages and send them again.")


@app.callback()
def _rejects() -> None:
    """Look at rejected messages and send them again."""


@app.command()
def summary() -> None:
    """How many messages each rule has rejected."""
    counts = (
        read(Settings.load()).group_by("rule").aggregate([([], "count_all")]).sort_by([("count_all", "descending")])
    )
    table = Table("rule", "rejected", title="Rejected messages")
    for row in counts.to_pylist():
        table.add_row(row["rule"], f"{row['count_all']:,}")
    Console().print(table)


@app.command()
def show(
    rule: Annotated[str | None, typer.Option(help="Only this rule, e.g. text.blank.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 10,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="Personal numbers in the clear.")] = False,
) -> None:
    """The newest rejects with their kept bytes, personal numbers masked.

    Needs the master key: who may read its file may read the bytes.
    """
    settings = Settings.load()
    key = MasterKey.load(settings)
    rows = newest(read(settings), rule=rule, limit=limit)
    console = Console(highlight=False, markup=False)
    for row in rows:
        where = coordinates(row["raw_topic"], row["raw_partition"], row["raw_offset"])
        console.print(f"{where}  {row['received_at']:%Y-%m-%d %H:%M:%S} UTC  attempt {row['attempt'] or 0}")
        console.print(f"  {row['rule']}: {row['reason']}")
        console.print(f"  {row['payload_bytes'] or 0} bytes: {readable(row, key, unmasked=unmasked)}\n")
    console.print(f"{len(rows)} shown." if rows else "Nothing was rejected" + (f" by {rule}." if rule else "."))


@app.command()
def replay(
    rule: Annotated[str, typer.Option(help="Rule whose rejects go back into their channels.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many, oldest first.")] = 1000,
) -> None:
    """Send the kept bytes again, as the next attempt, after the cause was repaired."""
    settings = Settings.load()
    key = MasterKey.load(settings)
    rows = newest(read(settings), rule=rule, limit=limit, oldest_first=True)
    for topic in sorted({row["raw_topic"] for row in rows}):
        mine = [row for row in rows if row["raw_topic"] == topic]
        payloads = [(None, kept_bytes(row, key)) for row in mine]
        publish(settings.bootstrap, topic, payloads, headers=[replay_headers(row) for row in mine])
        Console().print(f"{topic}: {len(mine):,} messages sent again")
    if not rows:
        Console().print(f"Nothing was rejected by {rule}.")


def read(settings: Settings) -> pa.Table:
    """The table of rejects. Raises FileNotFoundError before the first one was written."""
    path: Path = settings.table_path(REJECTS)
    if not (path / "_delta_log").exists():
        raise FileNotFoundError(
            f"There is no table {REJECTS} in {settings.lake} yet: nothing has been rejected so far."
        )
    return DeltaTable(str(path)).to_pyarrow_table(columns=COLUMNS)


def newest(table: pa.Table, *, rule: str | None, limit: int, oldest_first: bool = False) -> list[dict]:
    """Rows of one rule, or of all, by the time they came in; one row a message: the last attempt."""
    if rule is not None:
        table = table.filter(pc.equal(table["rule"], rule))
    order = "ascending" if oldest_first else "descending"
    return table.sort_by([("received_at", order), ("raw_offset", order)]).slice(0, limit).to_pylist()


def kept_bytes(row: dict, key: MasterKey) -> bytes:
    """The bytes as they came in. Raises PayloadError if they were altered or the key does not fit."""
    where = coordinates(row["raw_topic"], row["raw_partition"], row["raw_offset"])
    return open_payload(row["payload_encrypted"], key, where)


def readable(row: dict, key: MasterKey, *, unmasked: bool) -> str:
    """The kept bytes as text, cut to what a person reads; bytes that are no UTF-8 show as escapes."""
    if not row["payload_encrypted"]:
        return "(none kept)"
    try:
        text = kept_bytes(row, key).decode("utf-8", "backslashreplace")
    except PayloadError as error:
        return f"({error})"
    shown = text if unmasked else mask_text(text)
    # Hostile bytes must not steer the terminal of who looks at them.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown[: 2 * _SHOWN_CHARS])
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"


def replay_headers(row: dict) -> list[tuple[str, bytes]]:
    """Headers of the next attempt: which it is, and where the first one stands."""
    place = {
        "first_topic": row["raw_topic"],
        "first_partition": row["raw_partition"],
        "first_offset": row["raw_offset"],
    }
    values = {"account": row["account"] or "default", "attempt": (row["attempt"] or 0) + 1, **place}
    return [(name, str(value).encode()) for name, value in values.items()]
