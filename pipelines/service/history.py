"""One customer's contacts over all channels, newest first, out of the serving database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, column, select, table


class Contact(NamedTuple):
    """One line of a history. ``response_time_s`` is the corrected one; personal values stand as tokens."""

    occurred_at: datetime
    channel: str
    kind: str
    sender_role: str | None
    text: str | None
    outcome: str | None
    response_time_s: float | None
    score: float | None
    agent_id: str | None
    ticket_id: str | None
    order_id: str | None
    customer_id: str | None
    identity_status: str | None
    event_id: str


_CORRECTED = {"response_time_s": "response_time_corrected_s", "score": "score_corrected"}
COLUMNS = [_CORRECTED.get(name, name) for name in Contact._fields]
_INTERACTIONS = table("interactions", *map(column, [*COLUMNS, "received_at", "phone_token"]))


def history(connection: Connection, customer_id: str, limit: int) -> list[Contact]:
    """The customer's latest ``limit`` contacts; of equal times the one received later first.

    Reads the index (customer_id, occurred_at): its cost does not grow with the table.
    """
    return _contacts(connection, _INTERACTIONS.c.customer_id == customer_id, limit)


def history_by_phone(connection: Connection, phone_tokens: list[str], limit: int) -> list[Contact]:
    """The latest contacts of whoever ever gave one of these phone tokens, on any channel, under any customer ID.

    A contact that came before the phone was linked stands under a provisional ID; it is found through the token.
    """
    given = _INTERACTIONS.c.phone_token.in_(phone_tokens)
    ids = list(connection.execute(select(_INTERACTIONS.c.customer_id).where(given).distinct()).scalars())
    known = [customer_id for customer_id in ids if customer_id is not None]
    return _contacts(connection, given | _INTERACTIONS.c.customer_id.in_(known), limit)


def _contacts(connection: Connection, condition, limit: int) -> list[Contact]:
    rows = _INTERACTIONS.c
    query = (
        select(*(rows[name] for name in COLUMNS))
        .where(condition)
        .order_by(rows.occurred_at.desc(), rows.received_at.desc())
        .limit(limit)
    )
    return [Contact(row[0].replace(tzinfo=UTC), *row[1:]) for row in connection.execute(query)]
