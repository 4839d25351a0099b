"""Strict reading of the flat XML that WeChat and WeCom push: one root, fields below it, no document type.

Expat is told the encoding (the platforms send UTF-8), so no declaration can make it look up a codec; a document type
is refused at its first byte, so no entity is ever defined, let alone expanded.
"""

from __future__ import annotations

from xml.parsers import expat

from pipelines.channels.interaction import SUSPICIOUS_BYTES, Interaction, Reject, Unreadable, fitting
from pipelines.channels.json_payload import Reader


def first_byte(payload: bytes) -> bytes:
    """The first byte that says something: ``<`` for XML, ``{`` for JSON, for accounts that may send either.

    >>> first_byte(b"\\n <xml/>")
    b'<'
    """
    return payload[:64].lstrip(b" \t\r\n\xef\xbb\xbf")[:1]


def parse_xml(
    payload: bytes, read: Reader, account: str, received_at_us: int, source_ref: str | None
) -> Interaction | Reject:
    """Read one XML message by ``read(fields, account, received_at_us, source_ref)``; what can't be read is a Reject."""
    try:
        found = read(fields_below_root(payload), account, received_at_us, source_ref)
    except Unreadable as unreadable:
        return unreadable.reject
    return found if len(payload) < SUSPICIOUS_BYTES else fitting(found)


def fields_below_root(payload: bytes) -> dict[str, str]:
    """Name and text of each element directly below the root; the last of equal names counts.

    Raises Unreadable ``payload.not_xml`` or ``payload.bad_encoding``.

    >>> fields_below_root(b"<xml><MsgType><![CDATA[text]]></MsgType><MsgId>1</MsgId></xml>")
    {'MsgType': 'text', 'MsgId': '1'}
    """
    fields: dict[str, str] = {}
    depth = 0
    pieces: list[str] = []

    def start(name: str, _: dict) -> None:
        nonlocal depth
        depth += 1
        if depth == 2:
            pieces.clear()

    def end(name: str) -> None:
        nonlocal depth
        if depth == 2:
            fields[name] = "".join(pieces)
        depth -= 1

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = pieces.append
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(payload, True)
    except expat.ExpatError as error:
        raise _not_xml(payload, error) from None
    return fields


def _refuse_doctype(*_: object) -> None:
    raise Unreadable("payload.not_xml", "the payload carries a document type; the platforms send none")


def _not_xml(payload: bytes, error: expat.ExpatError) -> Unreadable:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        return Unreadable("payload.bad_encoding", f"the payload is not UTF-8 from byte {undecodable.start} on")
    return Unreadable("payload.not_xml", f"the payload is not XML: {error}")
