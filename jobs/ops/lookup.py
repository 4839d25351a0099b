"""`kefulake lookup`: keys of who may look customers up, and the view they see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from jobs.ops.serving import serve_customers
from pipelines import contracts
from pipelines.io import gold_lock
from pipelines.io.served_customers import GOLD
from pipelines.lookup import agent_keys
from pipelines.lookup.answers import may_look_up

app = typer.Typer(no_args_is_help=True, help="Keys of who may look customers up; publish the view they see.")


@app.command(name="add-key")
def add_key(
    name: Annotated[str, typer.Argument(help="Whose key: stands in the audit log with each look-up.")],
    role: Annotated[str, typer.Option(help="Role it asks in (policy roles).")] = "agent",
) -> None:
    """Make a key and show it once; a key the name had before counts for nothing from now on."""
    settings, roles = Settings.load(), contracts.policy("roles")
    key = agent_keys.add(settings.agent_keys_file, name, role, list(roles["roles"]), now=datetime.now(UTC))
    typer.echo(key)
    typer.echo(f'curl -H "Authorization: Bearer $KEY" {settings.lookup_url}/customers/c_…', err=True)
    if not may_look_up(role, roles):
        typer.echo(f"{role} does not see customers by name: each look-up will be refused, and audited.", err=True)


@app.command(name="remove-key")
def remove_key(name: Annotated[str, typer.Argument(help="Whose key.")]) -> None:
    """Take a key away; it counts for nothing from the next request on."""
    settings = Settings.load()
    if not agent_keys.remove(settings.agent_keys_file, name, list(contracts.policy("roles")["roles"])):
        raise typer.BadParameter(f"{name} has no key; kefulake lookup keys lists who has")
    typer.echo(f"The key of {name} is gone.")


@app.command()
def keys() -> None:
    """Who has a key, in which role, since when."""
    roles = list(contracts.policy("roles")["roles"])
    entries = agent_keys.load(Settings.load().agent_keys_file, roles)
    table = Table("name", "role", "made", box=None)
    for name, entry in entries.items():
        table.add_row(name, entry.role, entry.made_at)
    Console().print(table if entries else "Nobody has a key yet: kefulake lookup add-key NAME --role agent")


@app.command()
def publish(
    anew: Annotated[bool, typer.Option("--anew", help="Write every row again, not only what differs.")] = False,
) -> None:
    """Bring MariaDB to the published gold.customer_360; a build does it by itself when MariaDB is up."""
    settings = Settings.load()
    with gold_lock.building(settings.home):  # an erasure waits: it would have to look for its person here again
        served = serve_customers(settings, anew=anew)
    if served is None:
        raise RuntimeError(f"{GOLD} has not been built yet")
    as_of = "of nobody" if served.as_of_at is None else f"as of {served.as_of_at:%Y-%m-%d %H:%M:%S} UTC"
    counts = f"{served.written:,} rows written, {served.removed:,} removed, {served.unchanged:,} as they were"
    typer.echo(f"{counts}; {as_of}")
