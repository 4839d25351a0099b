"""E-mail: RFC 822 messages with encoded words, GBK and UTF-8 bodies, parts and attachments."""

from __future__ import annotations

import email.parser
import re
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from hashlib import sha256

from pipelines.channels import instants
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.channels.json_payload import attributes, media_list, missing
from pipelines.channels.mail_text import address_header, body_text, header_text

_PARSER = email.parser.BytesParser()
_MAX_PARTS = 200
# The standard parser tries each line against each open boundary and cuts parameters off one by one: a few megabytes of
# either would hold a worker for hours. No honest mail comes near these.
_MAX_MULTIPARTS = 30
_MAX_CONTENT_HEADER = 8_192
_CONTENT_HEADER = re.compile(rb"^content-[a-z-]{1,40}:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE)


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A mail to or from the mailbox ``account``: From and Date are required.

    A mail that answers none is a consultation, one that does is a message of its thread (the first of References, else
    In-Reply-To). Mail from the mailbox or its domain is the agent's, automatic answers are records of the system.

    >>> mail = parse(b"From: a@example.org\\nTo: help@example.com\\nDate: Fri, 09 Jan 2026 08:00:00 +0800\\n"
    ...              b"Message-ID: <m1@example.org>\\nSubject: =?gbk?B?zsrM4g==?=\\n\\nhi\\n", "help@example.com",
    ...              1767930000000000)
    >>> mail.kind, mail.subject, mail.email, mail.text
    ('consultation', '问题', 'a@example.org', 'hi')
    """
    try:
        # A mail without a header is what the parser makes of any bytes: From and Date are what tells a mail.
        return _read(_parsed(payload), account, received_at_us, source_ref)
    except Unreadable as unreadable:
        return unreadable.reject


def _parsed(payload: bytes) -> Message:
    head = payload[: 1 << 16]
    if b":" not in head or b"\0" in head[:1024]:
        raise Unreadable("payload.not_mail", "the payload has no mail header")
    lines = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in payload else payload
    if lines.lower().count(b"multipart/") > _MAX_MULTIPARTS:
        raise Unreadable("payload.not_mail", f"the mail has more than {_MAX_MULTIPARTS} multipart sections")
    if any(len(header[0]) > _MAX_CONTENT_HEADER for header in _CONTENT_HEADER.finditer(lines)):
        raise Unreadable("payload.not_mail", f"the mail has a content header of more than {_MAX_CONTENT_HEADER} bytes")
    try:
        return _PARSER.parsebytes(payload)
    except (ValueError, LookupError, RecursionError, TypeError, AttributeError) as error:
        # The standard parser reports some broken MIME structures by these; the bytes stay with the reject.
        raise Unreadable("payload.not_mail", f"the mail can't be taken apart: {type(error).__name__}") from None


def _read(mail: Message, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    sender = address_header(mail, "From")
    if sender is None:
        if not mail.keys():
            raise Unreadable("payload.not_mail", "the payload has no mail header")
        raise missing("From")
    at_us = instants.occurred_at_us(_date(mail), "Date", received_at_us)
    message_id = _id(mail, "Message-ID")
    answers = _first_id(mail, "References") or _id(mail, "In-Reply-To")
    automatic = (header_text(mail, "Auto-Submitted") or "no").lower() != "no"
    ours = _is_ours(sender, account)
    said, parts = body_text(mail, max_parts=_MAX_PARTS)
    return Interaction(
        source_message_id=message_id or source_ref,
        kind="record" if automatic else "message" if ours or answers else "consultation",
        sender_role="system" if automatic else "agent" if ours else "customer",
        session_id=answers or message_id,
        occurred_at_us=at_us,
        text=said,
        subject=header_text(mail, "Subject"),
        email=_customer(mail, sender, ours),
        media=_attachments(parts, message_id or source_ref),
        attributes=attributes({"in_reply_to": _id(mail, "In-Reply-To"), "mailer": header_text(mail, "X-Mailer")}),
    )


def _date(mail: Message) -> str | None:
    written = header_text(mail, "Date")
    if written is None:
        return None
    try:
        at = parsedate_to_datetime(written[:100])
    except (ValueError, TypeError, IndexError, OverflowError):
        raise Unreadable("time.unreadable", "field Date is no date as RFC 5322 writes it") from None
    # RFC 5322: -0000 is UTC of a clock that does not tell its zone; no zone at all is left to the policy.
    return at.isoformat() + ("Z" if at.tzinfo is None and "-0000" in written else "")


def _id(mail: Message, name: str) -> str | None:
    """An ID header, without its angle brackets and folding."""
    value = header_text(mail, name)
    return None if value is None else "".join(value.split()).strip("<>") or None


def _first_id(mail: Message, name: str) -> str | None:
    ids = (header_text(mail, name) or "").replace("<", " ").replace(">", " ").split(maxsplit=1)
    return ids[0] if ids else None


def _is_ours(sender: str, account: str) -> bool:
    """From our mailbox, or from any other of its domain.

    >>> _is_ours("anna@example.com", "help@example.com"), _is_ours("a@example.org", "help@example.com")
    (True, False)
    """
    _, at, domain = account.lower().rpartition("@")
    return bool(at) and sender.lower().rpartition("@")[2] == domain


def _customer(mail: Message, sender: str, ours: bool) -> str | None:
    if not ours:
        return sender
    return next((address for _, address in getaddresses([header_text(mail, "To") or ""]) if "@" in address), None)


def _attachments(parts: list[tuple[str, str | None, bytes]], message_id: str | None) -> str | None:
    """Attachments by address (RFC 2392: mid:message/part), media type, size and SHA-256; file names may be personal."""
    return media_list(
        [
            {
                "uri": f"mid:{message_id}/{number}",
                "type": media_type,
                "size": len(content),
                "sha256": sha256(content).hexdigest(),
            }
            for number, (media_type, _, content) in enumerate(parts, 1)
        ],
        "attachments",
    )
