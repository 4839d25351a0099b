"""`kefulake vault open`: the personal value behind a token, for who may see it, with a reason, written down."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.stack.settings import Settings
from jobs.ops.auditing import write_down
from pipelines import contracts
from pipelines.io import vault_table
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.roles import NotAllowed, check_unmask

VAULT = "identity.vault"
app = typer.Typer(no_args_is_help=True, help="Open a token's personal value, by role and with a reason.")


@app.callback()
def _vault() -> None:
    """Open a token's personal value, by role and with a reason."""


@app.command(name="open")
def open_token(
    token: Annotated[str, typer.Argument(help="Token, e.g. ph1_….")],
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in (policy roles).")],
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit log.")],
) -> None:
    """The personal value of a token. Asking is audited, a refusal as well.

    On one machine who may read the master key's file could open everything: the role says what you are here to do,
    the audit log says under which login you did it.
    """
    settings, policy = Settings.load(), contracts.policy("roles")
    try:
        check_unmask(role, token, reason, policy=policy)
    except NotAllowed as refused:
        write_down(settings, "refused", token, role=role, reason=reason, detail={"wanted": "unmask"})
        typer.echo(f"Not allowed: {refused}.", err=True)
        raise typer.Exit(1) from refused
    found = vault_table.values(settings.table_path(VAULT), [token], MasterKey.load(settings))
    write_down(settings, "unmask", token, role=role, reason=reason, detail={"found": token in found})
    if token not in found:
        typer.echo(f"{token} has no value in the vault: it was erased, or it is younger than a minute.", err=True)
        raise typer.Exit(1)
    typer.echo(found[token])
