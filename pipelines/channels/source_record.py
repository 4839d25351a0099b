"""What records of source systems (CRM, order system) carry beyond an interaction: columns of a table of their own.

They travel in ``attributes`` as ``{"columns": {...}, "personal": {column: [kind of token, value]}}`` from the parser to
``pipelines.cleaning.source_records``, which makes the tokens and writes the columns; no record shows them as they are.
"""

from __future__ import annotations

from typing import Any

from pipelines.channels.instants import instant_us
from pipelines.channels.interaction import Unreadable
from pipelines.channels.json_payload import attributes, ident, wrong_type

_YES = frozenset(["1", "true", "yes", "y", "t", "是", "已验证", "同意"])
_NO = frozenset(["0", "false", "no", "n", "f", "否", "未验证", "不同意"])
_MOST_MINOR = 10**15  # ten trillion yuan in fen: a sum beyond it is a slip of the unit or of a finger


def carried(columns: dict[str, Any], personal: dict[str, tuple[str, str | None]]) -> str:
    """The envelope for ``attributes``; what is NULL is left out.

    >>> carried({"region": "上海", "gender": None}, {"name_token": ("person_name", "王一")})
    '{"columns":{"region":"上海"},"personal":{"name_token":["person_name","王一"]}}'
    """
    stated = {name: value for name, value in columns.items() if value is not None}
    known = {name: [kind, value] for name, (kind, value) in personal.items() if value is not None}
    return attributes({"columns": stated, "personal": known})


def yes_no(fields: dict, name: str) -> bool | None:
    """True, false or unknown, as JSON or spreadsheets write it.

    >>> [yes_no({"v": value}, "v") for value in (True, "否", 1, None, "")]
    [True, False, True, None, None]
    """
    value = fields.get(name)
    if value is None or type(value) is bool:
        return value
    word = str(value).strip().lower() if type(value) in (str, int) else None
    if word is None:
        raise wrong_type(name, "true or false", value)
    if word in _YES or word in _NO or not word:
        return word in _YES if word else None
    raise Unreadable("field.unknown_value", f"field {name} says neither yes nor no")


def minor_units(fields: dict, name: str, default: int | None = None) -> int:
    """Money as a whole number of minor units (fen, cents), 0 and up: 12.90 would be rounded by somebody else's rule.

    >>> minor_units({"amount_minor": 1290}, "amount_minor")
    1290
    """
    value = fields.get(name)
    if value is None:
        if default is None:
            raise Unreadable("field.missing", f"field {name} is missing: it is the money")
        return default
    if type(value) is not int or not 0 <= value <= _MOST_MINOR:
        raise wrong_type(name, f"a whole number of minor units from 0 to {_MOST_MINOR}", value)
    return value


def optional_instant(fields: dict, name: str) -> int | None:
    """An instant in microseconds, None where there is none."""
    return instant_us(fields.get(name), name)


def mapped(fields: dict, name: str, meanings: dict[str, str], unmapped: str) -> str | None:
    """Our word for a value; ``unmapped`` where the source says something we have no word for, None where it is silent.

    >>> [mapped({"g": value}, "g", {"男": "male"}, "unclassified") for value in ("男", "X", None, "")]
    ['male', 'unclassified', None, None]
    """
    value = ident(fields, name)
    return None if value is None else meanings.get(value.lower(), unmapped)
