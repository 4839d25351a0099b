"""A chunk: rows of the old system as text, with the places they take in the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
import polars as pl

#: raw_partition of the rows of the full copy, in key order, and of the increments, in the order they were taken.
FULL, INCREMENTS = 0, 1


@dataclass(frozen=True)
class Chunk:
    """Rows that are committed together.

    ``rows``: one String column a source column; ``keys`` as the source writes them; row n stands at
    ``first_offset + n``. ``revisions``: 0 where the row is new, higher for a changed or deleted one; ``deleted``: the
    source has the row no more, its content is what it was; ``repeats``: a file holds the key a second time.
    """

    rows: pl.DataFrame
    keys: Sequence[str]
    topic: str
    partition: int
    first_offset: int
    received_us: int
    revisions: Sequence[int] = field(default=())
    deleted: Sequence[bool] = field(default=())
    repeats: Sequence[bool] = field(default=())

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

    def repeats_each(self) -> list[bool]:
        """True for each row whose key stood in an earlier one."""
        return list(self.repeats) or [False] * len(self)

    def payloads(self) -> list[bytes]:
        """The row as it came: a JSON object of its columns as the source writes them, in the source's order."""
        if not self.rows.columns:
            return [b"{}"] * len(self)
        return [text.encode() for text in self.rows.select(pl.struct(pl.all()).struct.json_encode()).to_series()]

    def headers(self) -> list[str | None]:
        """What a later reading of the raw bytes needs besides them; None for a plain new row."""
        told = zip(self.revision_of_each(), self.deleted_each(), self.repeats_each(), strict=True)
        return [header(*one) if any(one) else None for one in told]


class Told(NamedTuple):
    """What bronze's headers say of a row."""

    revision: int = 0
    deleted: bool = False
    repeats: bool = False


def header(revision: int, deleted: bool, repeats: bool = False) -> str:
    """Revision, deletion and repetition as bronze keeps them.

    >>> header(2, True)
    '{"revision":2,"deleted":true,"repeats":false}'
    >>> of_header(header(2, True)) == Told(2, True), of_header(None) == Told()
    (True, True)
    """
    return orjson.dumps(Told(revision, deleted, repeats)._asdict()).decode()


def of_header(stated: str | None) -> Told:
    """The same out of bronze's headers."""
    return Told() if stated is None else Told(**orjson.loads(stated))


def rows_of(payloads: Sequence[bytes], columns: Sequence[str]) -> pl.DataFrame:
    """The rows again out of their kept bytes.

    >>> rows_of([b'{"id":"1","said":null}'], ["id", "said"]).rows()
    [('1', None)]
    """
    texts = pl.Series("row", [payload.decode() for payload in payloads], dtype=pl.String)
    return texts.str.json_decode(pl.Struct(dict.fromkeys(columns, pl.String))).struct.unnest()
