"""Which rejects go into their next attempt: the last attempt of each message, unless it was sent again already."""

from __future__ import annotations

import polars as pl

FIRST = ["first_topic", "first_partition", "first_offset"]
_RAW = ["raw_topic", "raw_partition", "raw_offset"]


def last_attempts(rejects: pl.DataFrame) -> pl.DataFrame:
    """One row a message: its last rejected attempt, under the coordinates of its first one.

    Args:
        rejects: raw and first coordinates, attempt and anything else. What was never replayed has no first
            coordinates: it is its own first attempt.

    >>> rows = {"raw_topic": ["raw.app"] * 3, "raw_partition": [0] * 3, "raw_offset": [7, 9, 8], "attempt": [0, 1, 0],
    ...         "first_topic": [None, "raw.app", None], "first_partition": [None, 0, None],
    ...         "first_offset": [None, 7, None]}
    >>> last_attempts(pl.DataFrame(rows)).select("first_offset", "raw_offset", "attempt").rows()
    [(7, 9, 1), (8, 8, 0)]
    """
    whole = rejects.with_columns(
        # An attempt that could not be read is noted as -1: nothing is known, so it counts as the first.
        pl.col("attempt").fill_null(0).clip(lower_bound=0),
        *(pl.coalesce(first, raw).alias(first) for first, raw in zip(FIRST, _RAW, strict=True)),
    )
    return whole.sort("attempt", *_RAW).unique(FIRST, keep="last").sort(FIRST)


def next_attempts(rejects: pl.DataFrame, sent: pl.DataFrame, *, again: bool = False) -> tuple[pl.DataFrame, int]:
    """The last attempts that may go out, with `attempt` raised to the next one; and how many were sent again before.

    A reject that was sent again and came back as a reject goes on; one that was sent again and did not come back was
    kept, or is on its way: it goes out only when asked for by ``again``, as an attempt after all that were sent.

    Args:
        rejects: as `last_attempts` gives them.
        sent: first coordinates and attempt of all that was ever sent again.
    """
    highest = sent.group_by(FIRST).agg(pl.col("attempt").max().alias("_sent"))
    known = rejects.join(highest, on=FIRST, how="left").with_columns(pl.col("_sent").fill_null(0))
    waiting = known if again else known.filter(pl.col("_sent") <= pl.col("attempt"))
    raised = waiting.with_columns((pl.max_horizontal("attempt", "_sent") + 1).cast(pl.Int32).alias("attempt"))
    return raised.drop("_sent"), len(known) - len(waiting)
