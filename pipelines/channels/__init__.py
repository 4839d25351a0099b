"""Channel parsers: one module a channel, one function ``parse(payload, account, received_at_us, source_ref)``.

A parser never raises: what it can't read comes back as a :class:`~pipelines.channels.interaction.Reject`.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.channels import app, complaint_site, ticket_system, web_chat
from pipelines.channels.interaction import Interaction, Reject

Parser = Callable[..., Interaction | Reject]

PARSERS: dict[str, Parser] = {
    "app": app.parse,
    "web_chat": web_chat.parse,
    "complaint_site": complaint_site.parse,
    "ticket_system": ticket_system.parse,
}
