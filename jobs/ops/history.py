"""`kefulake history`: one customer's contacts over all channels: the recent ones served, older ones out of the lake."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from infra.stack.settings import Settings
from jobs.ops.auditing import write_down
from pipelines import contracts
from pipelines.io.mariadb import connect
from pipelines.privacy.roles import sees
from pipelines.service.history import Contact, history, history_by_phone

SHOWN_CHARS = 60


def command(
    customer: Annotated[str | None, typer.Option(help="Coded customer ID, e.g. c_… or p_….")] = None,
    phone: Annotated[str | None, typer.Option(help="Phone number; it is turned into its token, never sent on.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Latest contacts to show.")] = 20,
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in (policy roles).")] = "agent",
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit log.")] = "",
) -> None:
    """One customer's contacts, newest first. Times are UTC; personal values show as tokens. Looking is audited."""
    if (customer is None) == (phone is None):
        raise typer.BadParameter("name the customer by --customer or by --phone, one of them")
    settings = Settings.load()
    hidden = hidden_from(role)
    tokens: list[str] = []
    try:
        with connect(settings.database_reader_url).connect() as connection:
            if customer is not None:
                subject, contacts = customer, history(connection, customer, limit)
            else:
                (subject,) = tokens = _phone_tokens(settings, phone)
                contacts = history_by_phone(connection, tokens, limit)
        contacts = with_older(contacts, settings, customer, tokens, limit)
    except (DBAPIError, FileNotFoundError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        typer.echo(f"The serving database cannot be asked: {reason}. Is it up? kefulake status", err=True)
        raise typer.Exit(1) from error
    customers = sorted({contact.customer_id for contact in contacts if contact.customer_id})
    write_down(settings, "consult", subject, role=role, reason=reason,
               detail={"rows": len(contacts), "customers": customers})  # fmt: skip
    print_contacts([contact._replace(**dict.fromkeys(hidden)) for contact in contacts], Console())


def hidden_from(role: str) -> list[str]:
    """Columns of a contact that this role does not see. Raises UnknownRole.

    >>> "text" in hidden_from("analyst"), hidden_from("agent")
    (True, [])
    """
    seen = sees(role, Contact._fields, policy=contracts.policy("roles"), declared=contracts.fields())
    return [name for name, how in seen.items() if how == "hidden"]


def with_older(
    served: list[Contact], settings: Settings, customer: str | None, tokens: list[str], limit: int
) -> list[Contact]:
    """The served contacts, and where they are fewer than asked for those that only the lake still holds."""
    if len(served) >= limit:
        return served
    from pipelines.io.lake_history import history_of_customers, history_of_phone

    if customer is not None:
        older = history_of_customers(settings.lake, [customer], limit)
    else:
        older = history_of_phone(settings.lake, tokens[0], limit)
    known = {contact.event_id for contact in served}
    every = [*served, *(contact for contact in older if contact.event_id not in known)]
    return sorted(every, key=lambda contact: contact.occurred_at, reverse=True)[:limit]


def _phone_tokens(settings: Settings, phone: str) -> list[str]:
    """The number's token; nothing of the number leaves this process."""
    from pipelines.privacy.keys import MasterKey
    from pipelines.privacy.tokens import Tokeniser

    token = Tokeniser(MasterKey.load(settings)).token(phone, "phone")
    if token is None:
        raise typer.BadParameter("that is no phone number", param_hint="--phone")
    return [token]


def print_contacts(contacts: list[Contact], console: Console) -> None:
    """A table of the contacts, or a line that there are none."""
    if not contacts:
        console.print(
            "No contact of this customer is in the serving database, nor in the lake. Ask further: kefulake query."
        )
        return
    whose = [_whose(contact) for contact in contacts]
    several = len(set(whose)) > 1  # one phone, several customers: then each line says whose it is
    table = Table(box=None, header_style="bold", title=None if several else whose[0] or None, title_justify="left")
    for name in ("time (UTC)", "channel", "kind", "who", "text", "outcome", "reply s", "score"):
        table.add_column(
            name,
            justify="right" if name in ("reply s", "score") else "left",
            overflow="fold",
            no_wrap=name in ("time (UTC)", "channel"),
        )
    if several:
        table.add_column("customer", overflow="fold")
    for contact, customer in zip(contacts, whose, strict=True):
        table.add_row(
            contact.occurred_at.strftime("%Y-%m-%d %H:%M:%S"),
            contact.channel,
            contact.kind,
            contact.sender_role or "",
            Text(_short(contact.text)),  # as Text, so that brackets a customer wrote are no markup
            contact.outcome or "",
            "" if contact.response_time_s is None else f"{contact.response_time_s:g}",
            "" if contact.score is None else f"{contact.score:g}",
            *([customer] if several else []),
        )
    console.print(table)


def _whose(contact: Contact) -> str:
    return f"{contact.customer_id or ''} ({contact.identity_status})" if contact.identity_status else ""


def _short(text: str | None) -> str:
    """One line of at most 60 characters.

    >>> _short("a\\nb"), len(_short("c" * 100))
    ('a b', 60)
    >>> _short(None)
    ''
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text or "").split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"
