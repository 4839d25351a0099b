"""Encodes the rows of a frame as JSON objects, vectorised; NULL columns are left out.

Leaving out NULLs makes an interaction 500 bytes instead of 870, which every hop after this one pays for; polars' own
``struct.json_encode`` writes them (7.3 µs a row against 5.7 µs here, 39 columns, one thread).
"""

from __future__ import annotations

import polars as pl

_ESCAPED = r'["\\\x00-\x1f]'


def json_lines(frame: pl.DataFrame) -> pl.Series:
    """One JSON object a row, keys in column order, NULL and non-finite values left out.

    >>> json_lines(pl.DataFrame({"id": [1, 2], "text": ['say "hi"', None], "ok": [True, False]})).to_list()
    ['{"id":1,"text":"say \\\\"hi\\\\"","ok":true}', '{"id":2,"ok":false}']
    """
    parts = [_member(frame[name]) for name in frame.columns if frame[name].null_count() < len(frame)]
    if not parts:
        return pl.Series("record", ["{}"] * len(frame), dtype=pl.String)
    joined = pl.concat_str(parts, separator=",", ignore_nulls=True)
    return frame.select((pl.lit("{") + joined + pl.lit("}")).alias("record")).to_series()


def _member(column: pl.Series) -> pl.Expr:
    name = pl.col(column.name)
    if column.dtype != pl.String:
        value = (
            name.cast(pl.Float64).replace([float("nan"), float("inf"), float("-inf")], None)
            if (column.dtype.is_float())
            else name
        )
        return pl.lit(f'"{column.name}":') + value.cast(pl.String)
    if column.str.contains(_ESCAPED).any():
        escaped = pl.struct(name).struct.json_encode().str.slice(1).str.head(-1)
        return pl.when(name.is_not_null()).then(escaped)
    return pl.lit(f'"{column.name}":"') + name + pl.lit('"')
