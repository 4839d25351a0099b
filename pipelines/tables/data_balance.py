"""``gold.data_balance``: received = kept + rejected + in review + duplicate, proven by anti-join (design decision 3).

Equal sums can hide one loss and one double; so every raw coordinate is looked up in the outputs and every output's
coordinate in bronze. DuckDB does it, because it spills to disk: an hour of a peak holds a hundred million coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

ROLE_OF = {
    "silver.interactions": "kept",
    "silver.feedback": "kept",
    "silver.ticket_events": "kept",
    "silver.customers": "kept",
    "silver.orders": "kept",
    "quarantine.rejects": "rejected",
    "review.queue": "in_review",
    "quarantine.duplicates": "duplicate",
}
BRONZE = "bronze.raw_events"
_HOUR_US = 3_600_000_000
_COUNTS = ("received", "kept", "rejected", "in_review", "duplicate", "missing", "twice", "unknown")

# The hour is part of the key: offsets start anew when a topic is deleted and made again.
_SQL = """
WITH came AS (
  SELECT raw_topic, raw_partition, raw_offset, {hour} AS hour, count(*) AS times
  FROM bronze WHERE {hour} IN (SELECT hour FROM wanted) GROUP BY ALL
), stood AS (
  SELECT raw_topic, raw_partition, raw_offset, {hour} AS hour, count(*) AS times,
    count(*) FILTER (role = 'kept') AS kept, count(*) FILTER (role = 'rejected') AS rejected,
    count(*) FILTER (role = 'in_review') AS in_review, count(*) FILTER (role = 'duplicate') AS duplicate
  FROM outputs WHERE {hour} IN (SELECT hour FROM wanted) GROUP BY ALL
)
SELECT raw_topic, hour,
  count(came.times) AS received,
  coalesce(sum(kept), 0) AS kept, coalesce(sum(rejected), 0) AS rejected,
  coalesce(sum(in_review), 0) AS in_review, coalesce(sum(duplicate), 0) AS duplicate,
  count(*) FILTER (stood.times IS NULL) AS missing,
  count(*) FILTER (came.times > 1 OR stood.times > 1) AS twice,
  count(*) FILTER (came.times IS NULL) AS unknown
FROM came FULL OUTER JOIN stood USING (raw_topic, raw_partition, raw_offset, hour)
GROUP BY raw_topic, hour ORDER BY hour, raw_topic
""".replace("{hour}", f"epoch_us(coalesce(received_at, to_timestamp(0))) // {_HOUR_US}")

_COORDINATES = "raw_topic, raw_partition, raw_offset, received_at"


def build(
    connection: duckdb.DuckDBPyConnection,
    bronze: duckdb.DuckDBPyRelation,
    outputs: Mapping[str, duckdb.DuckDBPyRelation],
    hours: Sequence[datetime],
    *,
    passed_until: datetime | None,
    computed_at: datetime,
    grace: timedelta,
) -> pa.Table:
    """Balance of the given hours, one row a raw topic and hour, columns of ``gold.data_balance``.

    Args:
        bronze: relation with raw_topic, raw_partition, raw_offset, received_at.
        outputs: the same by table name (keys of ROLE_OF); a table that isn't there yet is left out.
        hours: starts of the hours (of received_at) to compute.
        passed_until: all that came in before this instant stands in its output by now; None while nobody knows.
        grace: an hour is closed when its end plus this lies before `passed_until`.

    `received` counts distinct coordinates. `missing`: in bronze, in no output. `twice`: more than once in bronze or
    over all outputs. `unknown`: in an output, not in bronze. A coordinate without received_at counts in 1970.
    """
    wanted = pa.table({"hour": pa.array([int(h.timestamp()) // 3600 for h in hours], pa.int64())})
    connection.register("wanted", wanted)
    bronze.project(_COORDINATES).create_view("bronze", replace=True)
    _union(connection, outputs)
    counted = connection.sql(_SQL).to_arrow_table()
    hour_at = [datetime.fromtimestamp(h * 3600, UTC) for h in counted["hour"].to_pylist()]
    columns = {"raw_topic": counted["raw_topic"].cast(pa.string()), "hour_at": pa.array(hour_at, _INSTANT)}
    columns |= {name: counted[name].cast(pa.int64()) for name in _COUNTS}
    columns["closed"] = pa.array([is_closed(h, passed_until, grace) for h in hour_at], pa.bool_())
    columns["computed_at"] = pa.array([computed_at] * len(hour_at), _INSTANT)
    return pa.table(columns)


_INSTANT = pa.timestamp("us", tz="UTC")


def _union(connection: duckdb.DuckDBPyConnection, outputs: Mapping[str, duckdb.DuckDBPyRelation]) -> None:
    empty = connection.sql(
        "SELECT NULL::VARCHAR raw_topic, 0 raw_partition, 0::BIGINT raw_offset, NULL::TIMESTAMPTZ received_at, "
        "'' AS role WHERE false"
    )
    union = empty
    for table, relation in outputs.items():
        union = union.union(relation.project(f"{_COORDINATES}, '{ROLE_OF[table]}' AS role"))
    union.create_view("outputs", replace=True)


def is_closed(hour_at: datetime, passed_until: datetime | None, grace: timedelta) -> bool:
    """True once every part has passed the hour's end and the grace is over; from then on the balance must hold.

    >>> nine = datetime(2026, 1, 5, 9, tzinfo=UTC)
    >>> is_closed(nine, datetime(2026, 1, 5, 10, 14, tzinfo=UTC), timedelta(minutes=15))
    False
    >>> is_closed(nine, datetime(2026, 1, 5, 10, 15, tzinfo=UTC), timedelta(minutes=15))
    True
    """
    return passed_until is not None and hour_at + timedelta(hours=1) + grace <= passed_until


def not_settled(balance: Sequence[Mapping[str, Any]], day: date, rows: int | None = None) -> str | None:
    """Why the rows of a day (UTC) may not be removed yet; None when its balance is final, and says ``rows`` received.

    ``balance`` holds rows of ``gold.data_balance``; ``rows`` are those of bronze (None: not asked).

    >>> nine = datetime(2026, 1, 5, 9, tzinfo=UTC)
    >>> line = {"raw_topic": "raw.app", "hour_at": nine, "received": 2, "kept": 2, "rejected": 0, "in_review": 0,
    ...         "duplicate": 0, "missing": 0, "twice": 0, "unknown": 0, "closed": True}
    >>> not_settled([line], nine.date(), 2), not_settled([line], nine.date(), 3)
    (None, 'the balance counted 2 rows received, bronze holds 3')
    >>> not_settled([line | {"closed": False}], nine.date()), not_settled([], nine.date())
    ('an hour of it is still open', 'the balance has not counted it')
    """
    lines = [line for line in balance if line["hour_at"].date() == day]
    if not lines:
        return "the balance has not counted it"
    if not all(line["closed"] for line in lines):
        return "an hour of it is still open"
    if found := breaches(pa.Table.from_pylist([dict(line) for line in lines])):
        return str(found[0])
    received = sum(line["received"] for line in lines)
    if rows is not None and rows != received:
        return f"the balance counted {received} rows received, bronze holds {rows}"
    return None


def removed_wrongly(balance: Sequence[Mapping[str, Any]], removed: Mapping[date, int]) -> list[str]:
    """Days of which retention removed another number of raw messages than the balance had counted as received.

    >>> nine = datetime(2026, 1, 5, 9, tzinfo=UTC)
    >>> removed_wrongly([{"hour_at": nine, "received": 2}], {nine.date(): 2})
    []
    >>> removed_wrongly([{"hour_at": nine, "received": 2}], {nine.date(): 3})
    ['2026-01-05: retention removed 3 raw messages, the balance had counted 2']
    """
    counted: dict[date, int] = {}
    for line in balance:
        counted[line["hour_at"].date()] = counted.get(line["hour_at"].date(), 0) + line["received"]
    return [
        f"{day}: retention removed {rows} raw messages, the balance had counted {counted.get(day, 0)}"
        for day, rows in sorted(removed.items())
        if rows != counted.get(day, 0)
    ]


@dataclass(frozen=True)
class Breach:
    """A closed hour that does not balance."""

    raw_topic: str
    hour_at: datetime
    missing: int
    twice: int
    unknown: int

    def __str__(self) -> str:
        found = ", ".join(
            f"{n} {what}"
            for what, n in (("missing", self.missing), ("twice", self.twice), ("unknown", self.unknown))
            if n
        )
        return f"{self.raw_topic}, hour {self.hour_at:%Y-%m-%d %H}:00 UTC does not balance: {found or 'sums differ'}"


def breaches(balance: pa.Table, *, closed_only: bool = True) -> list[Breach]:
    """Rows that break the balance; of open hours only doubles can be told."""
    found = []
    for row in balance.to_pylist():
        if not row["closed"]:
            if closed_only:
                continue
            # What is missing may still come, and bronze may be a commit behind the outputs; a double stays one.
            row["missing"] = row["unknown"] = 0
        outputs = row["kept"] + row["rejected"] + row["in_review"] + row["duplicate"]
        uneven = row["closed"] and outputs != row["received"]
        if row["missing"] or row["twice"] or row["unknown"] or uneven:
            found.append(Breach(*(row[name] for name in ("raw_topic", "hour_at", "missing", "twice", "unknown"))))
    return found
