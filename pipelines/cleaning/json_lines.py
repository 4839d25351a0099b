"""Encodes the rows of a frame as JSON objects; NULL members are left out.

Leaving out NULLs makes an interaction 500 bytes instead of 870, which every hop after this one pays for. orjson a row
costs as much as polars' own encoder where a batch is large (4.6 µs a row) and half of it where a batch holds some
hundred rows, as it does at 9,300 messages a second (4.5 instead of 8.2 µs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import polars as pl


def json_lines(columns: Sequence[pl.Series]) -> list[str]:
    """One JSON object a row, keys in the order of the columns, NULL and non-finite values left out.

    >>> json_lines(pl.DataFrame({"id": [1, 2], "text": ["嗯", None], "ok": [True, False]}).get_columns())
    ['{"id":1,"text":"嗯","ok":true}', '{"id":2,"ok":false}']
    """
    present = [column for column in columns if column.null_count() < len(column)]
    names = [column.name for column in present]
    if not present:
        return ["{}"] * len(columns[0])
    dumps, rows = orjson.dumps, zip(*(column.to_list() for column in present), strict=True)
    lines = [dumps({n: v for n, v in zip(names, row) if v is not None}).decode() for row in rows]  # noqa: B905
    return [_without_nulls(line) if ":null" in line else line for line in lines]


def json_line(record: Mapping[str, object]) -> str:
    """One record as JSON, NULL and non-finite values left out.

    >>> json_line({"score": float("nan"), "text": "a:null"})
    '{"text":"a:null"}'
    """
    return _without_nulls(orjson.dumps(record).decode())


def _without_nulls(line: str) -> str:
    """NaN and infinity, which JSON has no number for, come out of orjson as null."""
    return orjson.dumps({n: v for n, v in orjson.loads(line).items() if v is not None}).decode()
