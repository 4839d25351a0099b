"""What every channel parser returns: an interaction in our terms, or a reject that says why it can't be one."""

from __future__ import annotations

from typing import NamedTuple

from pipelines import contracts


class Interaction(NamedTuple):
    """One contact, read from one message. Columns are made by ``zip(*interactions)``, so the order is a contract.

    Identifiers are as the source wrote them (normalised and tokenised later, by ``pipelines.privacy``); instants are
    integer microseconds UTC; ``None`` means the source does not say.
    """

    #: The platform's own ID of the message (MsgId, Message-ID, call ID, file and line); None where the form has none.
    source_message_id: str | None = None
    #: 0 as first sent, higher after an edit or a revocation by the source.
    source_revision: int = 0
    #: message (a turn of a conversation) | consultation (opens a question: call, mail, form, post, visit)
    #: | feedback (score, review) | complaint | record (receipts, reports, platform events) | ticket_event
    kind: str = "message"
    #: customer | agent | bot | system
    sender_role: str = "customer"
    session_id: str | None = None
    occurred_at_us: int = 0
    text: str | None = None
    subject: str | None = None
    #: Response or waiting time in seconds as the source reports it, unchecked: it may be in the wrong unit.
    response_time_s: float | None = None
    #: The source's own instants behind ``response_time_s``, where the form has them; unchecked as well.
    asked_at_us: int | None = None
    replied_at_us: int | None = None
    handle_time_s: float | None = None
    score: float | None = None
    score_scale_max: float | None = None
    outcome: str | None = None
    agent_id: str | None = None
    ticket_id: str | None = None
    order_id: str | None = None
    phone: str | None = None
    national_id: str | None = None
    email: str | None = None
    unionid: str | None = None
    openid: str | None = None
    external_userid: str | None = None
    member_number: str | None = None
    #: Any other account or visitor ID of the customer on that platform.
    user_handle: str | None = None
    #: JSON list of {uri, type, size, sha256}; the bytes themselves stay where they are.
    media: str | None = None
    #: JSON object of what only this channel knows.
    attributes: str | None = None


class Reject(NamedTuple):
    """A message that can't be read as an interaction: the rule it broke, and why in words free of personal values.

    Rules of parsers: ``payload.not_json``, ``payload.not_object``, ``payload.not_xml``, ``payload.not_mail``,
    ``payload.not_receipt``, ``payload.bad_encoding``, ``field.missing``, ``field.wrong_type``,
    ``field.unknown_value``, ``field.too_long``, ``time.unreadable``, ``time.out_of_range``,
    ``order.refund_above_amount``, ``row.misaligned``.
    """

    rule: str
    reason: str


class Unreadable(Exception):
    """Raised inside a parser, and turned into a :class:`Reject` before it leaves the parser."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(rule, reason)
        self.reject = Reject(rule, reason)


# A payload below this says too little to be looked at: the longest honest message is a transcript of some 100 kB.
SUSPICIOUS_BYTES = 250_000


def fitting(read: Interaction) -> Interaction | Reject:
    """The message, or a reject ``field.too_long`` where its texts together pass policy ``channels.max_said_bytes``.

    A record grows on its way: quotes are escaped, a number of 7 letters becomes a token of 45. Six times as long, what
    passes here still fits into a Kafka record of 8 MB; anything larger would fail the job's sink for ever.

    >>> fitting(Interaction("m1", text="x" * 2_000_000)).rule
    'field.too_long'
    """
    limit = contracts.policy("channels")["max_said_bytes"]
    said = sum(len(value.encode("utf-8", "replace")) for value in read if type(value) is str)
    if said <= limit:
        return read
    return Reject("field.too_long", f"the texts of the message have {said} bytes together, at most {limit} can be kept")


ROLES = {
    "customer": "customer",
    "visitor": "customer",
    "user": "customer",
    "client": "customer",
    "客户": "customer",
    "访客": "customer",
    "agent": "agent",
    "staff": "agent",
    "seat": "agent",
    "merchant": "agent",
    "客服": "agent",
    "坐席": "agent",
    "商家": "agent",
    "bot": "bot",
    "robot": "bot",
    "机器人": "bot",
    "system": "system",
    "系统": "system",
}


def role(value: object, name: str) -> str:
    """Our word for who spoke; a word we don't know is refused, because a guess would move the agents' figures.

    >>> role("visitor", "sender"), role("客服", "sender")
    ('customer', 'agent')
    """
    if value is None:
        raise Unreadable("field.missing", f"field {name} is missing: it says who spoke")
    if type(value) is not str:
        raise Unreadable("field.wrong_type", f"field {name} must be text, not {type(value).__name__}")
    found = ROLES.get(value) or ROLES.get(value.strip().lower())
    if found is None:
        raise Unreadable("field.unknown_value", f"field {name} is none of {', '.join(ROLES)}")
    return found
