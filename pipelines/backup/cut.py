"""Where a restored stream begins again: the first raw message of each partition that is not settled.

A message is settled when it stands in bronze and in exactly one output. Tables are written at different moments, so
what is settled is no prefix of anybody's table: everything from the first unsettled message on comes out of every table
and is judged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb


def cuts(
    connection: duckdb.DuckDBPyConnection,
    bronze: duckdb.DuckDBPyRelation,
    outputs: duckdb.DuckDBPyRelation,
    ends: Mapping[str, int],
) -> dict[str, int]:
    """Where each raw partition (``raw.app/0``) begins again; both relations: raw_topic, raw_partition, raw_offset.

    `outputs` has a row each for every row of an output. `ends`: next offset up to which the backup goes; nothing beyond
    counts. A partition that no table knows begins at 0: whether the tail holds its messages is not for here to say.

    >>> with duckdb.connect() as c:
    ...     rows = lambda offsets: c.sql(f"SELECT 'raw.app' raw_topic, 0 raw_partition, unnest({offsets}) raw_offset")
    ...     cuts(c, rows([5, 6, 7, 9]), rows([5, 7, 9, 9]), {"raw.app/0": 10})  # 6 is nowhere, 9 stands twice
    {'raw.app/0': 6}
    """
    place = "raw_topic || '/' || raw_partition AS place, raw_offset"
    bronze.filter("raw_topic LIKE 'raw.%'").project(place).create_view("came_in", replace=True)
    outputs.filter("raw_topic LIKE 'raw.%'").project(place).create_view("stood_in", replace=True)
    found = connection.sql(_FOUND).fetchall()
    known = {place: next_offset if unsettled is None else unsettled for place, unsettled, next_offset in found}
    # A partition of which no table has a row may still have messages in the tail.
    return {place: min(known.get(place, 0), end) for place, end in ends.items()}


_FOUND = """
WITH came AS (SELECT place, raw_offset, count(*) AS times_in FROM came_in GROUP BY ALL),
stood AS (SELECT place, raw_offset, count(*) AS times FROM stood_in GROUP BY ALL)
SELECT place, min(raw_offset) FILTER (times_in IS DISTINCT FROM 1 OR times IS DISTINCT FROM 1), max(raw_offset) + 1
FROM came FULL OUTER JOIN stood USING (place, raw_offset) GROUP BY place
"""


def beyond(cut: Mapping[str, int]) -> str:
    """SQL condition of the rows that come out, over raw_topic, raw_partition and raw_offset.

    >>> beyond({"raw.app/0": 6})
    "(raw_topic = 'raw.app' AND raw_partition = 0 AND raw_offset >= 6)"
    """
    return " OR ".join(
        f"(raw_topic = '{topic}' AND raw_partition = {int(partition)} AND raw_offset >= {int(offset)})"
        for place, offset in sorted(cut.items())
        for topic, _, partition in [place.rpartition("/")]
    )


def steps(offsets: Iterable[int], start: int, end: int) -> list[tuple[str, int, int]]:
    """How to write a log from `start` to `end` so that each message lands at its offset; ``(what, first, beyond)``.

    ``write``: messages at first … beyond-1. ``abort``: an aborted transaction of beyond-first-1 records and its marker,
    which no reader of committed records sees, over offsets whose messages are gone. ``commit``: one message and the
    marker of its transaction, where a single offset is empty after it. `offsets` ascend. Raises ValueError where a
    single empty offset has no message before it.

    >>> steps([5, 6, 9, 11], 5, 12)
    [('write', 5, 7), ('abort', 7, 9), ('commit', 9, 11), ('write', 11, 12)]
    """
    plan: list[tuple[str, int, int]] = []
    at = start
    for offset in [*offsets, None]:
        until = end if offset is None else offset
        if (gap := until - at) == 1:
            if not plan or plan[-1][0] != "write":
                raise ValueError(f"offset {at} is empty and no message stands right before it")
            what, first, beyond_it = plan.pop()
            plan += [(what, first, beyond_it - 1)] if beyond_it - 1 > first else []
            plan.append(("commit", beyond_it - 1, until))
        elif gap > 1:
            plan.append(("abort", at, until))
        if offset is not None:
            if plan and plan[-1][0] == "write":
                plan[-1] = ("write", plan[-1][1], offset + 1)
            else:
                plan.append(("write", offset, offset + 1))
            at = offset + 1
    return plan
