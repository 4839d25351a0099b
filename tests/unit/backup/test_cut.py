"""Where a restored stream begins again, and how its log is written so that every message lands where it was."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.backup import cut

COORDINATES = pa.schema([("raw_topic", pa.string()), ("raw_partition", pa.int32()), ("raw_offset", pa.int64())])


def relation(connection, offsets, topic="raw.app"):
    rows = [{"raw_topic": topic, "raw_partition": 0, "raw_offset": offset} for offset in offsets]
    return connection.from_arrow(pa.Table.from_pylist(rows, COORDINATES))


def cut_of(bronze, outputs, end):
    with duckdb.connect() as connection:
        found = cut.cuts(connection, relation(connection, bronze), relation(connection, outputs), {"raw.app/0": end})
    return found["raw.app/0"]


@pytest.mark.parametrize(
    ("bronze", "outputs", "end", "expected"),
    [
        ([0, 1, 2], [0, 1, 2], 3, 3),  # all settled: it goes on where it ended
        ([0, 1, 2], [0, 2], 3, 1),  # 1 is not judged; 2 is, and comes out with it
        ([0, 1, 2], [0, 1, 1, 2], 3, 1),  # 1 stands twice
        ([0, 1], [0, 1, 2], 3, 2),  # 2 was judged before bronze had it: its bytes are in the tail
        ([0, 0, 1], [0, 1], 2, 0),  # bronze itself holds one twice
        ([5, 6, 9], [5, 6, 9], 10, 10),  # 7 and 8 are markers of an erasure, nobody's message
        ([0, 1, 2], [0, 1, 2], 2, 2),  # the backup at that time went to 2; what the tables have more goes
        ([], [], 0, 0),  # nobody ever wrote to it
        ([], [], 7, 0),  # in no table yet: its messages may lie in the tail
    ],
)
def test_the_first_that_is_not_settled(bronze, outputs, end, expected):
    assert cut_of(bronze, outputs, end) == expected


def test_what_is_no_raw_message_cuts_nothing():
    with duckdb.connect() as connection:
        kept = relation(connection, [3], topic="interactions.clean")  # a record that no table could take
        found = cut.cuts(connection, relation(connection, [0]), relation(connection, [0]).union(kept), {"raw.app/0": 1})
    assert found == {"raw.app/0": 1}


@given(
    bronze=st.lists(st.integers(0, 12), max_size=16),
    outputs=st.lists(st.integers(0, 12), max_size=16),
    end=st.integers(0, 13),
)
def test_below_the_cut_the_balance_closes_and_the_cut_is_the_furthest(bronze, outputs, end):
    """The balance equation: below the cut each message of bronze stands in one output, and nothing else does."""
    found = cut_of(bronze, outputs, end)

    def closes(below):
        came, stood = ([o for o in side if o < below] for side in (bronze, outputs))
        return sorted(came) == sorted(set(came)) == sorted(stood)

    assert closes(found)
    assert found == end or not closes(found + 1) or found > max([*bronze, *outputs], default=-1)


def landed(plan, start, have):
    """What a log looks like after the plan, one word an offset: 'message', or a marker nobody reads."""
    log, at = {}, start
    for what, first, beyond in plan:
        assert first == at, "the log is written without a jump"
        for offset in range(first, beyond):
            is_marker = (what == "abort") or (what == "commit" and offset == beyond - 1)
            log[offset] = "marker" if is_marker else "message"
        if what == "abort":
            assert beyond - first >= 2, "an aborted transaction has at least a record and its marker"
        if what == "commit":
            assert beyond - first == 2
        at = beyond
    return log, at


@given(data=st.data(), start=st.integers(0, 5))
def test_every_message_lands_at_its_offset(data, start):
    rest = data.draw(st.sets(st.integers(start + 1, start + 20)))
    offsets = sorted({start, *rest})  # a log begins at its first message
    end = data.draw(st.integers(offsets[-1] + 1, offsets[-1] + 5))
    log, at = landed(cut.steps(offsets, start, end), start, offsets)
    assert at == end
    assert [offset for offset, what in sorted(log.items()) if what == "message"] == offsets


def test_no_step_where_there_is_nothing():
    assert cut.steps([], 7, 7) == []


def test_a_single_gap_before_any_message_cannot_be_filled():
    with pytest.raises(ValueError, match="offset 5 is empty"):
        cut.steps([6], 5, 7)
