"""Strict reading of JSON messages: an object with fields of the right type, or a reject that names the field.

orjson is strict where Python's json is not: NaN, Infinity, lone surrogates, trailing commas and nesting beyond 1,024
levels are errors. Duplicate keys are legal JSON; the last one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import orjson

from pipelines.channels.instants import instant_us
from pipelines.channels.interaction import SUSPICIOUS_BYTES, Interaction, Reject, Unreadable, fitting

Reader = Callable[[dict, str, int, str | None], Interaction]
_MEASURED = frozenset({"response_time_s", "asked_at", "replied_at", "handle_time_s", "score", "score_scale_max"})
_NOT_MEASURED = (None,) * 6
_CONTACT = frozenset({"phone", "national_id", "email", "unionid"})
_NO_CONTACT = (None,) * 4
_BOM = b"\xef\xbb\xbf"


def parse_json(
    payload: bytes, read: Reader, account: str, received_at_us: int, source_ref: str | None
) -> Interaction | Reject:
    """Read one JSON object by ``read(fields, account, received_at_us, source_ref)``; what can't be read is a Reject."""
    try:
        # Editors on Windows put a byte order mark in front; RFC 8259 lets a reader skip one.
        fields = orjson.loads(payload[3:] if payload[:3] == _BOM else payload)
    except orjson.JSONDecodeError as error:
        return _not_json(payload, error)
    if type(fields) is not dict:
        return Reject("payload.not_object", f"the payload is a JSON {type(fields).__name__}, an object is needed")
    try:
        found = read(fields, account, received_at_us, source_ref)
    except Unreadable as unreadable:
        return unreadable.reject
    return found if len(payload) < SUSPICIOUS_BYTES else fitting(found)


def _not_json(payload: bytes, error: orjson.JSONDecodeError) -> Reject:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        return Reject("payload.bad_encoding", f"the payload is not UTF-8 from byte {undecodable.start} on")
    return Reject("payload.not_json", f"the payload is not JSON: {error.msg} at character {error.pos}")


def wrong_type(name: str, wanted: str, value: object) -> Unreadable:
    """The error for a field of another type than the form defines."""
    return Unreadable("field.wrong_type", f"field {name} must be {wanted}, not {type(value).__name__}")


def missing(name: str) -> Unreadable:
    """The error for a field without which the message can't be placed."""
    return Unreadable("field.missing", f"field {name} is missing or empty")


def text(fields: dict, name: str) -> str | None:
    """Free text, kept as written: whether it says anything is a matter of the cleaning rules."""
    value = fields.get(name)
    if value is None or type(value) is str:
        return value
    raise wrong_type(name, "text", value)


def ident(fields: dict, name: str) -> str | None:
    """An identifier: text or a whole number (WeChat's MsgId); empty means absent."""
    value = fields.get(name)
    if value is None:
        return None
    kind = type(value)
    if kind is str:
        return value.strip() or None
    if kind is int:
        return str(value)
    raise wrong_type(name, "text or a whole number", value)


def required_ident(fields: dict, name: str) -> str:
    """An identifier without which a retry could not be told from a new message."""
    value = fields.get(name)
    if type(value) is str and value:
        value = value.strip()
    elif type(value) is int:
        return str(value)
    elif value is not None and type(value) is not str:
        raise wrong_type(name, "text or a whole number", value)
    if not value:
        raise missing(name)
    return value


def number(fields: dict, name: str) -> float | None:
    """A measured value; orjson lets no NaN or infinity through."""
    value = fields.get(name)
    if value is None:
        return None
    kind = type(value)
    if kind is float:
        return value
    if kind is int:
        return float(value)
    raise wrong_type(name, "a number", value)


def measured(fields: dict) -> tuple[float | None, int | None, int | None, float | None, float | None, float | None]:
    """The six measured columns from response_time_s to score_scale_max, by their own names.

    Most turns carry none: one look at the keys is cheaper than six.
    """
    if _MEASURED.isdisjoint(fields):
        return _NOT_MEASURED
    return (
        number(fields, "response_time_s"),
        instant_us(fields.get("asked_at"), "asked_at"),
        instant_us(fields.get("replied_at"), "replied_at"),
        number(fields, "handle_time_s"),
        number(fields, "score"),
        number(fields, "score_scale_max"),
    )


def contact(fields: dict) -> tuple[str | None, str | None, str | None, str | None]:
    """The four columns phone, national_id, email and unionid, by their own names."""
    if _CONTACT.isdisjoint(fields):
        return _NO_CONTACT
    return ident(fields, "phone"), ident(fields, "national_id"), ident(fields, "email"), ident(fields, "unionid")


def whole(fields: dict, name: str, default: int = 0) -> int:
    """A small count such as a revision: 0 to 2,147,483,647."""
    value = fields.get(name)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value <= 2_147_483_647:
        raise wrong_type(name, "a whole number from 0 to 2147483647", value)
    return value


def nested(fields: dict, name: str) -> dict:
    """A nested object; an absent one is empty."""
    value = fields.get(name)
    if value is None:
        return {}
    if type(value) is dict:
        return value
    raise wrong_type(name, "an object", value)


def objects(fields: dict, name: str) -> list[dict]:
    """A list of objects; an absent one is empty."""
    value = fields.get(name)
    if value is None:
        return []
    if type(value) is not list or not all(type(item) is dict for item in value):
        raise wrong_type(name, "a list of objects", value)
    return value


def one_of(fields: dict, name: str, meanings: dict[str, str], default: str | None = None) -> str:
    """Our word for a value of a closed set; absent means ``default``, or missing where there is none."""
    value = fields.get(name)
    if value is None:
        if default is None:
            raise missing(name)
        return default
    if type(value) is not str:
        raise wrong_type(name, "text", value)
    found = meanings.get(value)
    if found is None:
        raise Unreadable("field.unknown_value", f"field {name} is none of {', '.join(meanings)}")
    return found


def media_list(items: Iterable[dict], name: str) -> str | None:
    """Attached media as a JSON list of {uri, type, size, sha256}; an entry without an address is an error."""
    media = []
    for item in items:
        uri = text(item, "uri") or text(item, "url")
        if not uri:
            raise missing(f"{name}.uri")
        size = item.get("size")
        if size is not None and type(size) is not int:
            raise wrong_type(f"{name}.size", "a whole number", size)
        media.append({"uri": uri, "type": text(item, "type"), "size": size, "sha256": text(item, "sha256")})
    return orjson.dumps(media).decode() if media else None


def extras(fields: dict, names: Iterable[str]) -> str | None:
    """The named fields that are there, as a JSON object for ``attributes``; None when there are none."""
    return _object({name: value for name in names if (value := fields.get(name)) is not None})


def attributes(known: dict) -> str | None:
    """A JSON object for ``attributes``; entries that are None are left out."""
    return _object({name: value for name, value in known.items() if value is not None})


def _object(present: dict) -> str | None:
    if not present:
        return None
    try:
        return orjson.dumps(present).decode()
    except TypeError:  # orjson writes 254 levels at most, it reads 1,024
        raise Unreadable("field.wrong_type", f"one of {', '.join(present)} is nested too deeply") from None
