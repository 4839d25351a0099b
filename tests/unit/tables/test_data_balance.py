"""The balance finds every planted loss and double, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.tables import data_balance
from pipelines.tables.data_balance import ROLE_OF, breaches, build

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
SCHEMA = pa.schema(
    [("raw_topic", pa.string()), ("raw_partition", pa.int32()), ("raw_offset", pa.int64()),
     ("received_at", pa.timestamp("us", tz="UTC"))]
)  # fmt: skip


def frame(rows) -> pa.Table:
    """Rows of (topic, partition, offset, minute after nine)."""
    full = [(t, p, o, None if m is None else NINE + timedelta(minutes=m)) for t, p, o, m in rows]
    return pa.table([list(c) for c in zip(*full, strict=True)] or [[]] * 4, schema=SCHEMA)


def balanced(bronze, outputs, hours=(NINE,), passed_until=None) -> list[dict]:
    connection = duckdb.connect()
    return build(
        connection,
        connection.from_arrow(frame(bronze)),
        {table: connection.from_arrow(frame(rows)) for table, rows in outputs.items()},
        hours,
        passed_until=passed_until,
        computed_at=NINE + timedelta(hours=3),
        grace=timedelta(minutes=15),
    ).to_pylist()


def counts(row: dict) -> tuple:
    return tuple(row[name] for name in data_balance._COUNTS)


def test_each_output_is_counted_in_its_role():
    bronze = [("raw.app", 0, n, 1) for n in range(8)]
    outputs = {table: [("raw.app", 0, n, 1)] for n, table in enumerate(ROLE_OF)}
    (row,) = balanced(bronze, outputs)
    #                 received kept rejected review duplicate missing twice unknown
    assert counts(row) == (8, 5, 1, 1, 1, 0, 0, 0)
    assert (row["raw_topic"], row["hour_at"], row["closed"]) == ("raw.app", NINE, False)


def test_columns_are_those_of_the_contract():
    (row,) = balanced([("raw.app", 0, 0, 1)], {})
    assert list(row) == contracts.arrow_schema(contracts.table("gold.data_balance")).names


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        # one lost, one double: the sums agree (2 = 2), the anti-join does not
        ({"silver.interactions": [("raw.app", 0, 0, 1)] * 2}, (2, 2, 0, 0, 0, 1, 1, 0)),
        # kept and rejected at once
        (
            {
                "silver.interactions": [("raw.app", 0, 0, 1), ("raw.app", 0, 1, 1)],
                "quarantine.rejects": [("raw.app", 0, 1, 1)],
            },
            (2, 2, 1, 0, 0, 0, 1, 0),
        ),
        # an output nobody received: same offset, other partition
        (
            {"silver.interactions": [("raw.app", 0, 0, 1), ("raw.app", 0, 1, 1), ("raw.app", 1, 1, 1)]},
            (2, 3, 0, 0, 0, 0, 0, 1),
        ),
        # nothing came out at all
        ({}, (2, 0, 0, 0, 0, 2, 0, 0)),
    ],
)  # fmt: skip
def test_loss_double_and_stranger(outputs, expected):
    (row,) = balanced([("raw.app", 0, 0, 1), ("raw.app", 0, 1, 1)], outputs)
    assert counts(row) == expected


def test_a_double_in_bronze_is_found():
    (row,) = balanced([("raw.app", 0, 0, 1)] * 2, {"silver.interactions": [("raw.app", 0, 0, 1)]})
    assert counts(row) == (1, 1, 0, 0, 0, 0, 1, 0)


def test_topics_and_hours_are_apart_and_other_hours_are_left_out():
    bronze = [("raw.app", 0, 0, 59), ("raw.app", 0, 1, 60), ("raw.sms", 0, 0, 61), ("raw.sms", 0, 1, 121)]
    kept = {"silver.interactions": bronze}
    rows = balanced(bronze, kept, hours=[NINE, NINE + timedelta(hours=1)])
    assert [(r["raw_topic"], r["hour_at"].hour, r["received"], r["kept"]) for r in rows] == [
        ("raw.app", 9, 1, 1),
        ("raw.app", 10, 1, 1),
        ("raw.sms", 10, 1, 1),
    ]


def test_offsets_of_a_topic_made_again_are_no_doubles():
    bronze = [("raw.app", 0, 0, 1), ("raw.app", 0, 0, 61)]
    rows = balanced(bronze, {"silver.interactions": bronze}, hours=[NINE, NINE + timedelta(hours=1)])
    assert [counts(r) for r in rows] == [(1, 1, 0, 0, 0, 0, 0, 0)] * 2


def test_an_output_without_its_instant_is_seen_in_1970():
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    (row,) = balanced([], {"review.queue": [("raw.app", 0, 0, None)]}, hours=[epoch])
    assert (row["hour_at"], row["unknown"]) == (epoch, 1)


def test_only_closed_hours_alarm_for_what_is_missing():
    late = NINE + timedelta(hours=1, minutes=15)
    connection_rows = balanced([("raw.app", 0, 0, 1)], {}, passed_until=late - timedelta(seconds=1))
    assert breaches(pa.Table.from_pylist(connection_rows), closed_only=False) == []
    (breach,) = breaches(pa.Table.from_pylist(balanced([("raw.app", 0, 0, 1)], {}, passed_until=late)))
    assert str(breach) == "raw.app, hour 2026-01-05 09:00 UTC does not balance: 1 missing"


coordinates = st.tuples(st.sampled_from(["raw.app", "raw.sms"]), st.integers(0, 1), st.integers(0, 12), st.just(5))
placements = st.lists(st.sampled_from(sorted(ROLE_OF)), max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(coordinates, st.tuples(st.integers(0, 2), placements), max_size=25))
def test_planted_losses_and_doubles_are_found_exactly(world):
    """Each coordinate stands `times` in bronze and in the drawn outputs; the answer is known by counting them here."""
    bronze = [c for c, (times, _) in world.items() for _ in range(times)]
    outputs = {table: [c for c, (_, placed) in world.items() for t in placed if t == table] for table in ROLE_OF}
    expected = {}
    for (topic, *_), (times, placed) in world.items():
        if times or placed:
            row = expected.setdefault(topic, [0, 0, 0, 0])
            row[0] += times > 0
            row[1] += times > 0 and not placed
            row[2] += times > 1 or len(placed) > 1
            row[3] += not times
    found = {r["raw_topic"]: [r["received"], r["missing"], r["twice"], r["unknown"]] for r in balanced(bronze, outputs)}
    assert found == expected
