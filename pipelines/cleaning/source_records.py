"""Records of source systems (CRM, orders): from the parser's envelope to the columns of their own table.

A batch without any of them pays one look at its topics.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl

from pipelines.cleaning.context import CleaningContext
from pipelines.privacy.free_text import redact, redact_json

CLEAN_TOPICS = {"crm": "customers.clean", "orders": "orders.clean"}
_CHANNELS = frozenset(CLEAN_TOPICS)
_RAW_TOPICS = frozenset(f"raw.{channel}" for channel in CLEAN_TOPICS)
RECORD_KEY = "crm"
# Written by people: a phone number in a shop's name is one all the same.
_TEXTS = {"region": redact, "member_level": redact, "shop_id": redact, "order_lines": redact_json}


def some_in(topics: Sequence[str]) -> bool:
    """True where a batch of these raw topics holds a record of a source system."""
    return not _RAW_TOPICS.isdisjoint(topics)


def take_out(frame: pl.DataFrame, context: CleaningContext) -> tuple[pl.DataFrame, dict[int, dict[str, Any]]]:
    """The frame without the envelopes, and the columns by row, personal values as tokens.

    A row that becomes a reject or goes to review loses its envelope too: nothing clear is left anywhere but in the
    encrypted bytes.
    """
    rows = [row for row, channel in enumerate(frame["channel"].to_list()) if channel in _CHANNELS]
    envelopes = [orjson.loads(envelope) for envelope in frame["attributes"][rows].to_list()]
    columns = [envelope.get("columns", {}) for envelope in envelopes]
    kinds = frozenset(context.policies["privacy"]["free_text"]["kinds"])
    for name, hide in _TEXTS.items():
        texts = pl.Series(name, [stated.get(name) for stated in columns], dtype=pl.String)
        for stated, text in zip(columns, hide(texts, context.tokeniser, kinds=kinds), strict=True):
            if text is not None:
                stated[name] = text
    for stated, envelope in zip(columns, envelopes, strict=True):
        stated |= {name: _coded(kind, value, context) for name, (kind, value) in envelope.get("personal", {}).items()}
    emptied = frame["attributes"].scatter(rows, None)
    return frame.replace_column(frame.get_column_index("attributes"), emptied), dict(zip(rows, columns, strict=True))


def merged(record: str, columns: dict[str, Any]) -> str:
    """A record with the columns added; NULL members are left out.

    >>> merged('{"event_id":"e"}', {"region": "上海", "name_token": None})
    '{"event_id":"e","region":"上海"}'
    """
    stated = {name: value for name, value in columns.items() if value is not None}
    return orjson.dumps(orjson.loads(record) | stated).decode()


def crm_record_key(customer_no: str, derived_key: bytes) -> str:
    """The coded source record of a CRM customer: 96 bits of HMAC, so that the CRM's number cannot be had back.

    >>> len(crm_record_key("C1", bytes(32)))
    28
    """
    return "crm/" + hmac.digest(derived_key, customer_no.encode(), "sha256")[:12].hex()


def _coded(kind: str, value: str, context: CleaningContext) -> str | None:
    if kind == RECORD_KEY:
        return crm_record_key(value, context.record_key)
    return context.tokeniser.token(value, kind)
