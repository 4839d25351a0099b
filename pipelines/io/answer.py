"""What a query gives back, from whichever engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any


class QueryRefused(ValueError):
    """The statement is not one that only reads, or the engine refused it; the message says why."""


@dataclass
class Answer:
    """Column names and rows; the rows come while they are read, so that a large answer needs no memory."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


def shown(value: Any) -> Any:
    """A value as JSON can hold it and as both engines show it alike: instants in UTC, decimals as numbers.

    >>> from datetime import timedelta, timezone
    >>> shown(datetime(2026, 1, 5, 10, tzinfo=timezone(timedelta(hours=8))))
    '2026-01-05 02:00:00 UTC'
    >>> shown(Decimal("0.25")), shown(b"\\x01"), shown([date(2026, 1, 5)])
    (0.25, '01', ['2026-01-05'])
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(sep=" ")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ") + " UTC"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, list | tuple):
        return [shown(v) for v in value]
    if isinstance(value, dict):
        return {str(k): shown(v) for k, v in value.items()}
    return value
