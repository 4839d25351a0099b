"""`kefulake`: the one command. Sub-commands live in their own modules and are imported only when called."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class Mounted:
    """Where a sub-command lives: a module with `app` (a Typer of its own) or a function, by default `command`."""

    module: str
    help: str
    function: str = "command"


COMMANDS: dict[str, Mounted] = {
    "up": Mounted("jobs.ops.stack", "Start the stack (what runs already stays as it is).", "up"),
    "down": Mounted("jobs.ops.stack", "Stop the stack; its data stays.", "down"),
    "status": Mounted("jobs.ops.status", "Parts, lag, freshness and balance; fails when something is down."),
    "demo": Mounted("jobs.ops.demo", "The whole way once, on simulated traffic of all channels."),
    "demo-daily": Mounted("jobs.ops.demo_daily", "A day of the daily run through Airflow, on made-up sources."),
    "deploy": Mounted("jobs.ops.deploy", "Start a Flink job, or replace it by its changed form with nothing lost."),
    "flush": Mounted("jobs.ops.flush", "Bring into the tables now what has been received by now."),
    "replay": Mounted("jobs.ops.replay", "Play a file into a channel at a chosen speed."),
    "store-import": Mounted("jobs.ops.store_import", "Import the files that stores delivered; a report a file."),
    "api-sync": Mounted("jobs.ops.api_sync", "Bring over what has changed in the systems that have to be asked."),
    "simulate": Mounted("jobs.ops.simulate", "Make traffic of all channels, with the truth in a side file."),
    "query": Mounted("jobs.ops.query", "Ask the tables in SQL (DuckDB, or Trino when it runs)."),
    "tables": Mounted("jobs.ops.query", "List the tables with grain, rows and freshness.", "tables"),
    "balance": Mounted("jobs.ops.balance", "Prove that every raw message stands in exactly one output."),
    "identity": Mounted("jobs.ops.identity", "Who is who: load, match, explain, merge, split, review."),
    "rejects": Mounted("jobs.ops.rejects", "Look at rejected messages and send them again."),
    "history": Mounted("jobs.ops.history", "One customer's contacts over all channels."),
    "lookup": Mounted("jobs.ops.lookup", "Keys of who may look customers up; publish the view they see."),
    "vault": Mounted("jobs.ops.vault", "Open a token's personal value, by role and with a reason."),
    "erase": Mounted("jobs.ops.erase", "Erase a person from every store, with a certificate."),
    "migrate": Mounted("jobs.ops.migrate", "History of another system into the lake, with a certificate."),
    "keys": Mounted("jobs.ops.keys", "Versions of the master key: rotate without a stop, status, retire."),
    "maintain": Mounted("jobs.ops.maintain", "The daily upkeep of all tables of the lake: compact, vacuum, retention."),
    "lineage": Mounted("jobs.ops.lineage", "Where a table comes from and goes to, with the job of each step."),
    "quality": Mounted("jobs.ops.quality", "Check what stands in the tables; accept what failed; Data Docs."),
    "backup": Mounted("jobs.ops.backup", "Backups: recovery key, full check, retention, drill, status."),
    "restore": Mounted("jobs.ops.restore", "Make of an empty home what the backup held at a time, and start it."),
    "audit": Mounted("jobs.ops.audit", "Who looked at what; prove that nobody changed it."),
}


def _globals(
    home: Annotated[Path | None, typer.Option(help="Folder of the stack (KEFULAKE_HOME, else ./.kefulake).")] = None,
    port_base: Annotated[int | None, typer.Option(help="First of its ports (KEFULAKE_PORT_BASE, else 19200).")] = None,
    region: Annotated[
        str | None, typer.Option(envvar="KEFULAKE_REGION", help="Work in this region's root (docs/regions.md).")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
) -> None:
    """Kefulake: the open lakehouse for customer-service data."""
    if home is not None:
        os.environ["KEFULAKE_HOME"] = str(home.expanduser().resolve())
    if port_base is not None:
        os.environ["KEFULAKE_PORT_BASE"] = str(port_base)
    if region:
        from infra.stack import roots

        roots.enter(region)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


def _listed_only() -> None:
    """Stands for a command that is not the one being called: it only shows in --help."""


def build(arguments: list[str]) -> typer.Typer:
    """The application, with only the called command imported.

    >>> app = build(["--help"])
    >>> sorted(info.name for info in app.registered_commands)[:3]
    ['api-sync', 'audit', 'backup']
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_globals)
    called = set(arguments)
    for name, mounted in COMMANDS.items():
        if name not in called:
            app.command(name, help=mounted.help)(_listed_only)
            continue
        module = importlib.import_module(mounted.module)
        sub_app = getattr(module, "app", None) if mounted.function == "command" else None
        if sub_app is not None:
            app.add_typer(sub_app, name=name, help=mounted.help)
        else:
            app.command(name, help=mounted.help)(getattr(module, mounted.function))
    return app


def main() -> None:
    """Entry point. Errors come in one plain sentence; KEFULAKE_DEBUG=1 shows the whole trace."""
    try:
        build(sys.argv[1:])()
    except (RuntimeError, ValueError, OSError) as error:
        if os.environ.get("KEFULAKE_DEBUG"):
            raise
        sys.exit(f"kefulake: {error}")


if __name__ == "__main__":
    main()
