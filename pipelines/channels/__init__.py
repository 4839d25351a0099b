"""Channel parsers: one module a channel, one function ``parse(payload, account, received_at_us, source_ref)``.

A parser never raises: what it can't read comes back as a :class:`~pipelines.channels.interaction.Reject`.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.channels import (
    app,
    complaint_site,
    crm,
    email,
    live_video,
    mini_program,
    orders,
    phone,
    service_center,
    sms,
    social,
    store,
    ticket_system,
    web_chat,
    wechat,
    wecom,
)
from pipelines.channels.interaction import Interaction, Reject

Parser = Callable[..., Interaction | Reject]

PARSERS: dict[str, Parser] = {
    "phone": phone.parse,
    "app": app.parse,
    "mini_program": mini_program.parse,
    "wechat": wechat.parse,
    "wecom": wecom.parse,
    "web_chat": web_chat.parse,
    "email": email.parse,
    "social": social.parse,
    "live_video": live_video.parse,
    "sms": sms.parse,
    "store": store.parse,
    "service_center": service_center.parse,
    "complaint_site": complaint_site.parse,
    "ticket_system": ticket_system.parse,
    "crm": crm.parse,
    "orders": orders.parse,
}
