"""The note of how far a resource has been read: never half, never believed where it cannot be, and made anew."""

import pytest

from pipelines.connectors import position as positions
from pipelines.connectors.pages import Step
from pipelines.connectors.position import Position
from pipelines.connectors.sync import rebuilt
from pipelines.io.connector_log import Sent

WALK = Step(5, 0, "t", 9)


def test_it_comes_back_as_it_was_and_only_its_owner_reads_it(tmp_path):
    file, written = tmp_path / "orders.json", Position("c1", 7, WALK, {"a": 5}, {0: 12}, True)
    positions.save(file, written)
    assert positions.load(file, "c1") == written
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "cluster": "c1"}'])
def test_what_cannot_be_read_counts_as_lost(tmp_path, text):
    (tmp_path / "orders.json").write_text(text, encoding="utf-8")
    assert positions.load(tmp_path / "orders.json", "c1") is None


def test_one_of_another_cluster_counts_as_lost(tmp_path):
    positions.save(tmp_path / "orders.json", Position("c1", 7))
    assert positions.load(tmp_path / "orders.json", "c2") is None
    assert positions.load(tmp_path / "none.json", "c1") is None


def test_more_than_the_limit_forgets_the_oldest_marks():
    position = Position("c1")
    for number, record in enumerate("abcd"):
        position.remember(record, number, None)
    position.bound(2)
    assert list(position.seen) == ["c", "d"]


def test_a_lost_one_is_made_from_the_records_themselves():
    def sent(record, at_us, cursor_us):
        return Sent(record, at_us, cursor_us, 0, 0, b"", False)

    found = rebuilt("c1", iter([sent("a", 5, None), sent("undated", None, 5), sent("b", 8, 7), sent("ahead", 99, 7)]))
    assert found.cursor_us == 7
    assert found.seen == {"a": 5, "undated": 5, "b": 8, "ahead": 99}
    assert rebuilt("c1", iter([sent("a", 5, None), sent("z", 1, 7)._replace(partition=1)])).cursor_us is None
    found.cursor_us = 10_000 * 1_000_000
    found.forget(600)
    assert list(found.seen) == ["undated"]  # it may come again, whatever the others say


def test_an_undated_record_is_kept_from_one_run_to_the_next_as_long_as_it_is_met():
    position = Position("c1", 1_000_000_000)
    position.remember("undated", None, 100_000_000)  # on a page of much earlier changes, at whose end it stood
    position.cursor_us = 2_000_000_000
    position.forget(600)
    assert position.seen == {"undated": 2_000_000_000}
    later = Position("c1", 3_000_000_000, seen=dict(position.seen))  # the next run does not meet it
    later.forget(600)
    assert later.seen == {}
