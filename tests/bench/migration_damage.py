"""Damage on purpose to what was migrated: five kinds, each with the keys and columns it must be found by."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
from deltalake import DeltaTable, write_deltalake

KINDS = ("changed_character", "lost_row", "row_twice", "shifted_time_zone", "swapped_columns")
_EIGHT_HOURS = timedelta(hours=8)


class Planted(NamedTuple):
    """What was done, and what a certificate has to say about it: difference by key."""

    kind: str
    expected: dict[str, tuple[str, tuple[str, ...]]]


def plant(path: Path, topic: str, kind: str, chance: random.Random) -> Planted:
    """Rewrite one file of a Delta table with the damage in it, as an overwrite of that file's rows."""
    table = DeltaTable(str(path))
    offsets = _some_offsets(table, topic, chance)
    chosen = f"raw_topic = '{topic}' AND raw_partition = 0 AND raw_offset IN ({', '.join(map(str, offsets))})"
    rows = pl.DataFrame(table.to_pyarrow_table(filters=[*_of(topic), ("raw_offset", "in", offsets)]))
    damaged, expected = _DAMAGES[kind](rows, chance)
    if kind == "row_twice":
        write_deltalake(table, damaged.to_arrow(), mode="append")
    else:
        table.delete(chosen)
        rest = rows.filter(~pl.col("raw_offset").is_in(damaged["raw_offset"].to_list())) if kind != "lost_row" else None
        back = damaged if rest is None or not len(rest) else pl.concat([damaged, rest])
        if len(back):
            write_deltalake(DeltaTable(str(path)), back.to_arrow(), mode="append")
    return Planted(kind, expected)


def _some_offsets(table: DeltaTable, topic: str, chance: random.Random) -> list[int]:
    files = pl.DataFrame(table.get_add_actions(flatten=True)).filter(pl.col("min.raw_topic") == topic)
    first, last = files["min.raw_offset"].min(), files["max.raw_offset"].max()
    while True:
        at = chance.randrange(first, last + 1)
        near = table.to_pyarrow_table(
            columns=["raw_offset"], filters=[*_of(topic), ("raw_offset", ">=", at), ("raw_offset", "<", at + 60)]
        )["raw_offset"].to_pylist()
        if near:
            return sorted(near)


def _of(topic: str) -> list[tuple]:
    return [("raw_topic", "=", topic), ("raw_partition", "=", 0)]


def _changed_character(rows: pl.DataFrame, chance: random.Random) -> tuple[pl.DataFrame, dict]:
    row = chance.choice(rows.filter(pl.col("text").str.len_chars() > 2).to_dicts())
    at = chance.randrange(len(row["text"]))
    other = chance.choice([c for c in "的了一在有" if c != row["text"][at]])
    row["text"] = row["text"][:at] + other + row["text"][at + 1 :]
    return pl.DataFrame([row], schema=rows.schema), {row["source_message_id"]: ("differs", ("text",))}


def _lost_row(rows: pl.DataFrame, chance: random.Random) -> tuple[pl.DataFrame, dict]:
    lost = chance.randrange(len(rows))
    key = rows["source_message_id"][lost]
    return rows.filter(pl.col("source_message_id") != key), {key: ("missing", ())}


def _row_twice(rows: pl.DataFrame, chance: random.Random) -> tuple[pl.DataFrame, dict]:
    row = rows.sample(1, seed=chance.randrange(2**31))
    return row, {row["source_message_id"][0]: ("twice", ())}


def _shifted_time_zone(rows: pl.DataFrame, chance: random.Random) -> tuple[pl.DataFrame, dict]:
    """A stretch of rows whose local times were taken for UTC."""
    shifted = rows.slice(chance.randrange(len(rows)), chance.randrange(1, 40))
    moved = shifted.with_columns(pl.col("occurred_at") + _EIGHT_HOURS)
    return moved, {key: ("differs", ("occurred_at",)) for key in shifted["source_message_id"]}


def _swapped_columns(rows: pl.DataFrame, chance: random.Random) -> tuple[pl.DataFrame, dict]:
    """Waiting time and handling time of one row the wrong way round."""
    unequal = rows.filter(pl.col("response_time_s") != pl.col("handle_time_s"))
    row = unequal.sample(1, seed=chance.randrange(2**31))
    swapped = row.with_columns(
        pl.col("handle_time_s").alias("response_time_s"), pl.col("response_time_s").alias("handle_time_s")
    )
    return swapped, {row["source_message_id"][0]: ("differs", ("response_time_s", "handle_time_s"))}


_DAMAGES = {
    "changed_character": _changed_character,
    "lost_row": _lost_row,
    "row_twice": _row_twice,
    "shifted_time_zone": _shifted_time_zone,
    "swapped_columns": _swapped_columns,
}


def as_expected(found: list, planted: list[Planted]) -> bool:
    """True where exactly what was planted was found, by key and column."""
    wanted = {key: told for one in planted for key, told in one.expected.items()}
    return {d.key: (d.what, tuple(d.columns)) for d in found} == {
        key: (what, tuple(columns)) for key, (what, columns) in wanted.items()
    }
