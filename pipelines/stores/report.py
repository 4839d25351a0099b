"""What became of one delivery of one file: the row of ``bronze.store_files``."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import orjson

from pipelines.stores.arrivals import Arrival

_NAME_CHARS = 200


@dataclass(frozen=True)
class FileReport:
    """Columns of ``bronze.store_files`` (schemas/fields.yaml says what each means); ``rows_beside`` is JSON."""

    delivery_id: str
    file_name: str
    file_sha256: str
    file_bytes: int
    file_verdict: str
    imported_at: datetime
    file_form: str | None = None
    file_encoding: str | None = None
    store_id: str | None = None
    store_day: date | None = None
    refusal: str | None = None
    reason: str | None = None
    rows_read: int = 0
    rows_beside: str | None = None
    rows_sent: int = 0
    rows_new: int = 0
    rows_corrected: int = 0
    rows_repeated: int = 0
    rows_withdrawn: int = 0
    rows_unchanged: int = 0
    rows_unreadable: int = 0

    def row(self) -> dict[str, Any]:
        """As the table takes it."""
        return asdict(self)

    def told(self) -> dict[str, Any]:
        """As JSON takes it; `of` reads it back."""
        return orjson.loads(orjson.dumps(asdict(self)))

    @classmethod
    def of(cls, told: dict[str, Any]) -> FileReport:
        """The report that `told` gave."""
        day = told["store_day"]
        at = datetime.fromisoformat(told["imported_at"])
        return cls(**told | {"imported_at": at, "store_day": None if day is None else date.fromisoformat(day)})


def delivery_id(arrival: Arrival, sha256: str) -> str:
    """Name of a delivery: the same for a run that was killed and its repetition, another when the file comes again.

    >>> one = Arrival("S01.csv", 10, 1, 2)
    >>> again = one._replace(changed_ns=3)
    >>> delivery_id(one, "ab") == delivery_id(one, "ab"), delivery_id(again, "ab") == delivery_id(one, "ab")
    (True, False)
    """
    parts = (shown_name(arrival.path), arrival.size, arrival.modified_ns, arrival.changed_ns, sha256)
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def shown_name(path: str) -> str:
    """A file's name as it may stand in a table, a header and a terminal: printable, at most 200 characters.

    >>> shown_name("S01\\n.csv")
    'S01\\\\n.csv'
    """
    safe = path.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)[-_NAME_CHARS:]


def source_ref(name: str, line: int | str, sha256: str) -> str:
    """File, line and hash of the file: where a record stands, for its reject and for who asks.

    >>> source_ref("S01_2026-01-09.csv", 17, "ab12cd34ef56" + "0" * 52)
    'S01_2026-01-09.csv:17#ab12cd34ef56'
    """
    return f"{name}:{line}#{sha256[:12]}"


def instant(us: int) -> datetime:
    """Microseconds since the epoch as an aware instant."""
    return datetime.fromtimestamp(us / 1e6, UTC)
