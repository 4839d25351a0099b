"""`kefulake simulate store-files`: what stores deliver for one day, some of it faulty, with the truth beside."""

from __future__ import annotations

import os
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.simulation.store_file_faults import world
from pipelines.simulation.store_files import Stores, by_step
from pipelines.stores.dates import local_text

_SETTLED_S = 3600  # as if uploaded an hour ago: what was written to just now waits


def store_files(
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the files; yesterday.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and day give the same files.")] = 7,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of files with a fault of the whole file.")] = 0.35,
    to: Annotated[Path | None, typer.Option(help="Folder (default: <home>/inbox/stores).")] = None,
    truth: Annotated[Path | None, typer.Option(help="Write what must become of each file and row (JSON).")] = None,
) -> None:
    """Write the files of every declared store for one day, as they lie in the inbox the night after."""
    today = date.fromisoformat(local_text(time.time_ns() // 1000)[:10])
    of = today - timedelta(days=1) if day is None else day.date()
    folder = to or Settings.load().home / "inbox" / "stores"
    stores = contracts.policy("store_import")["stores"]
    made = world(Stores(seed + of.toordinal(), stores, of, 1), share)
    table = Table("file", "store", "rows", "becomes", "fault", title=f"Files of stores for {of}")
    _, files = next(by_step(made))
    for one in files:
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
        at_s = time.time() - _SETTLED_S
        os.utime(path, (at_s, at_s))
        rows = sum(row.path == one.path for row in made.rows) if one.verdict == "imported" else 0
        table.add_row(one.path, one.store, f"{rows:,}", one.verdict, one.fault)
    if truth is not None:
        truth.write_bytes(orjson.dumps(made.told(), option=orjson.OPT_INDENT_2))
    Console().print(table)
