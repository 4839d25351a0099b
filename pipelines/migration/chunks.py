"""A chunk: rows of the old system as text, with the places they take in the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import polars as pl

#: raw_partition of the rows of the full copy, in key order, and of the increments, in the order they were taken.
FULL, INCREMENTS = 0, 1


@dataclass(frozen=True)
class Chunk:
    """Rows that are committed together.

    ``rows``: one String column a source column; ``keys`` as the source writes them; row n stands at
    ``first_offset + n``. ``revisions``: 0 where the row is new, higher for a changed or deleted one; ``deleted``: the
    source has the row no more, its content is what it was.
    """

    rows: pl.DataFrame
    keys: Sequence[str]
    topic: str
    partition: int
    first_offset: int
    received_us: int
    revisions: Sequence[int] = field(default=())
    deleted: Sequence[bool] = field(default=())

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def end(self) -> int:
        """The offset after its last row."""
        return self.first_offset + len(self.keys)

    @property
    def offsets(self) -> range:
        """Offset of each row."""
        return range(self.first_offset, self.end)

    def revision_of_each(self) -> list[int]:
        """Revision of each row."""
        return list(self.revisions) or [0] * len(self)

    def deleted_each(self) -> list[bool]:
        """True for each row that is no more."""
        return list(self.deleted) or [False] * len(self)

    def payloads(self) -> list[bytes]:
        """The row as it came: a JSON object of its columns as the source writes them, in the source's order."""
        if not self.rows.columns:
            return [b"{}"] * len(self)
        return [text.encode() for text in self.rows.select(pl.struct(pl.all()).struct.json_encode()).to_series()]

    def headers(self) -> list[str | None]:
        """What a later reading of the raw bytes needs besides them; None for a plain new row."""
        return [
            None if not revision and not gone else header(revision, gone)
            for revision, gone in zip(self.revision_of_each(), self.deleted_each(), strict=True)
        ]


def header(revision: int, deleted: bool) -> str:
    """Revision and deletion as bronze keeps them.

    >>> header(2, True), of_header(header(2, True)), of_header(None)
    ('{"revision":2,"deleted":true}', (2, True), (0, False))
    """
    return orjson.dumps({"revision": revision, "deleted": deleted}).decode()


def of_header(stated: str | None) -> tuple[int, bool]:
    """Revision and deletion out of bronze's headers."""
    if stated is None:
        return 0, False
    told: Mapping = orjson.loads(stated)
    return told["revision"], told["deleted"]


def rows_of(payloads: Sequence[bytes], columns: Sequence[str]) -> pl.DataFrame:
    """The rows again out of their kept bytes.

    >>> rows_of([b'{"id":"1","said":null}'], ["id", "said"]).rows()
    [('1', None)]
    """
    texts = pl.Series("row", [payload.decode() for payload in payloads], dtype=pl.String)
    return texts.str.json_decode(pl.Struct(dict.fromkeys(columns, pl.String))).struct.unnest()
