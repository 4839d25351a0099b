"""A store's record on its way: what it is known by, whether its content is another, and the message it becomes."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

import orjson

from pipelines.stores.layout import column_of
from pipelines.stores.store_file import Record

_SEPARATOR = "\x1f"
# What a withdrawal still says of the record: when and whose it was, so that it replaces it for the same customer.
_STAYS = (
    "visited_at", "store_id", "store_name", "phone", "national_id", "email", "member_number", "order_id", "staff_id",
)  # fmt: skip
REVOKED = "revoked"


class KeyedRecord(NamedTuple):
    """A record with what it is known by within its store and day, and a keyed hash of what it says.

    ``repeated`` is True for one that stands in the file a second time, word for word.
    """

    key: str
    content: str
    record: Record
    repeated: bool = False


def keyed(records: Iterable[Record], row_key: Sequence[str], secret: bytes) -> list[KeyedRecord]:
    """Each record under its number, else under a keyed hash of the columns ``row_key``.

    Numbers are typed by people: two records of one number that say different things are two records, the second under
    ``number~2``. One that says the same again is the same record, repeated. Hashes are keyed, because a plain one of a
    phone number and a minute can be tried out.

    >>> rows = [Record(2, {"记录编号": "7", "咨询内容": "换货"}), Record(3, {"记录编号": "7", "咨询内容": "退款"}),
    ...         Record(4, {"记录编号": "7", "咨询内容": "换货"})]
    >>> [(row.key, row.repeated) for row in keyed(rows, ["visited_at"], b"secret")]
    [('7', False), ('7~2', False), ('7', True)]
    """
    seen: dict[str, list[str]] = {}
    found = []
    for record in records:
        content = _digest(secret, _canonical(record))
        base = _number(record) or _hashed(record, content, row_key, secret)
        contents = seen.setdefault(base, [])
        if repeated := content in contents:
            nth = contents.index(content) + 1
        else:
            contents.append(content)
            nth = len(contents)
        found.append(KeyedRecord(base if nth == 1 else f"{base}~{nth}", content, record, repeated))
    return found


def _number(record: Record) -> str | None:
    return next((text for name, text in (record.fields or {}).items() if column_of(name) == "record_no"), None)


def _hashed(record: Record, content: str, row_key: Sequence[str], secret: bytes) -> str:
    fields = {column_of(name): text for name, text in (record.fields or {}).items()}
    parts = [fields.get(name, "") for name in row_key]
    return f"h{_digest(secret, _SEPARATOR.join(parts).encode())}" if any(parts) else f"c{content}"


def _canonical(record: Record) -> bytes:
    if record.damaged is not None:
        return b"bytes\x1f" + record.damaged
    return orjson.dumps(record.fields if record.fields is not None else record.misaligned, option=orjson.OPT_SORT_KEYS)


def _digest(secret: bytes, value: bytes) -> str:
    return hmac.digest(secret, value, "sha256")[:12].hex()


def message_id(store: str, day: date, key: str) -> str:
    """Source message ID: numbers are a store's own and often begin anew each day.

    >>> message_id("S01", date(2026, 1, 9), "7")
    'S01/2026-01-09/7'
    """
    return f"{store}/{day}/{key}"


def payload(row: KeyedRecord, store: str, day: date, revision: int, columns: int) -> bytes:
    """The message for raw.store: the store's own headings and our ID; the bytes of a damaged row as they are.

    >>> row = KeyedRecord("7", "", Record(2, {"记录编号": "7", "到店时间": "2026-01-09 08:05:00"}))
    >>> sent = payload(row, "S01", date(2026, 1, 9), 1, 2)
    >>> sorted(orjson.loads(sent).items())[:3]
    [('record_no', 'S01/2026-01-09/7'), ('revision', 1), ('store_id', 'S01')]
    """
    record = row.record
    if record.damaged is not None:
        return record.damaged
    if record.misaligned is not None:
        return orjson.dumps({"misaligned_row": record.misaligned, "header_columns": columns, "store_id": store})
    kept = {name: text for name, text in record.fields.items() if column_of(name) not in ("record_no", "store_id")}
    number = _number(record)
    own = {"store_record_no": number} if number else {}
    return _encoded(kept, store, message_id(store, day, row.key), own, revision)


def withdrawal(fields: dict[str, str], store: str, day: date, key: str, revision: int) -> bytes:
    """The message that takes a record back: a record of no contact with the outcome ``revoked``, as on other channels.

    ``fields`` are the record's as last sent; {} where its file was erased, then the time is the day's first minute.
    """
    kept = {name: text for name, text in fields.items() if column_of(name) in _STAYS and column_of(name) != "store_id"}
    if not any(column_of(name) == "visited_at" for name in kept):
        kept["visited_at"] = f"{day} 00:00:00"
    said = {"record_type": "record", "result": REVOKED}
    return _encoded(kept, store, message_id(store, day, key), said, revision)


def _encoded(fields: dict[str, str], store: str, number: str, more: dict[str, str], revision: int) -> bytes:
    own = {"store_id": store, "record_no": number, **more}
    return orjson.dumps(fields | own | ({"revision": revision} if revision else {}))
