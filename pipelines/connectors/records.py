"""One record of a source: which it is, when it changed, whether it is gone, how it differs from what is declared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from pipelines import contracts
from pipelines.channels.instants import instant_us
from pipelines.channels.interaction import Unreadable
from pipelines.connectors.resources import DeletedList, Resource, Tombstones

_MOST_FINDINGS, _HEADERS_BYTES = 20, 16_384
# A name that is none may be a value, a phone number say; findings stand in the clear.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_NO = (None, False, 0, "", "0", "false")


class SourceRecord(NamedTuple):
    """A record as it is sent: ``value`` are the source's bytes, but for deletions, whose fields are set by policy.

    ``record``: 16 hex digits of the key and 16 of the content, keyed, so that they give nobody away; the same content
    in another order of fields is the same. ``at_us``: when it last changed, None where it does not say so readably.
    ``findings``: how it differs from the declaration, e.g. ``new:shoe_size``, ``missing:updated_at``, ``type:phone``.
    """

    value: bytes
    record: str
    #: Records with the same one keep their order: of one ticket, one conversation, else one record.
    order_key: str
    at_us: int | None
    findings: tuple[str, ...]
    deleted: bool

    @property
    def key(self) -> str:
        """Which record it is, whatever its revision."""
        return self.record[:16]


def read(value: bytes, resource: Resource, secret: bytes) -> SourceRecord:
    """Read a record as far as it can be read; refusing is the channel parser's, which keeps bytes and reason.

    >>> from pipelines.connectors import resources
    >>> orders = resources.declared().resources["orders"]
    >>> odd = read(b'{"order_id":7,"status":5,"updated_at":1767916800000,"colour":"red"}', orders, bytes(32))
    >>> odd.at_us, odd.findings[:3]
    (1767916800000000, ('missing:ordered_at', 'missing:amount_minor', 'missing:currency'))
    """
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        digest = _digest(value, secret)
        return SourceRecord(value, digest * 2, digest, None, ("not_object",), False)
    content = _digest(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), secret)
    key = _key(fields, resource.key, secret) or content
    order_key = _key(fields, resource.together, secret) or key
    deleted = _deleted(fields, resource)
    if deleted:
        value = orjson.dumps(fields | resource.deletions.becomes)
    at_us, findings = _changed_at_us(fields, resource), _findings(fields, resource)
    if len(value) > (most := contracts.topic(resource.topic).max_message_bytes - _HEADERS_BYTES):
        # Cut off, it is no JSON: the parser rejects it, and keeps what the topic can hold of it.
        value, findings = value[:most], ("too_large", *findings)
    return SourceRecord(value, key + content, order_key, at_us, findings, deleted)


def key_digest(key: Any, secret: bytes) -> str:
    """The digest of a key of one field, as it stands in front of ``record``."""
    return _digest(orjson.dumps([str(key).strip()]), secret)


def _key(fields: Mapping[str, Any], names: Sequence[str], secret: bytes) -> str | None:
    parts = [fields.get(name) for name in names]
    if not parts or any(type(part) not in (str, int) or part == "" for part in parts):
        return None
    return _digest(orjson.dumps([str(part).strip() for part in parts]), secret)


def _digest(content: bytes, secret: bytes) -> str:
    return blake2b(content, digest_size=8, key=secret).hexdigest()


def _deleted(fields: Mapping[str, Any], resource: Resource) -> bool:
    match resource.deletions:
        case DeletedList():
            return True
        case Tombstones(field=field):
            return fields.get(field) not in _NO
    return False


def _changed_at_us(fields: Mapping[str, Any], resource: Resource) -> int | None:
    try:
        return instant_us(fields.get(resource.cursor.field), resource.cursor.field)
    except Unreadable:
        return None


def _findings(fields: Mapping[str, Any], resource: Resource) -> tuple[str, ...]:
    declared = resource.required | resource.optional
    found = [f"missing:{name}" for name in resource.required if fields.get(name) in (None, "")]
    found += [
        f"type:{name}"
        for name, kind in declared.items()
        if (value := fields.get(name)) not in (None, "") and not _fits(value, kind)
    ]
    found += [f"new:{name if _NAME.fullmatch(name) else '?'}" for name in fields if name not in declared]
    return tuple(found[:_MOST_FINDINGS])


def _fits(value: Any, kind: str) -> bool:
    match kind:
        case "any":
            return True
        case "time":
            try:
                return instant_us(value, "") is not None
            except Unreadable:
                return False
        case "yes_no":
            return type(value) in (bool, int, str)
    types = {"text": (str,), "ident": (str, int), "whole": (int,), "number": (int, float)}
    types |= {"object": (dict,), "list": (list,)}
    return type(value) in types[kind]
