"""A run between reader and log: where it begins, what is sent, and what a failure leaves."""

import pytest

from pipelines.connectors import position as positions
from pipelines.connectors import resources, sync
from pipelines.connectors.failures import GivenUp
from pipelines.connectors.position import Position
from pipelines.connectors.reader import Batch
from pipelines.connectors.records import SourceRecord
from pipelines.connectors.sync import Figures, Sync
from pipelines.io.connector_log import NotDelivered
from tests.bench.connector_world import MemoryLog, SkippingClock

DECLARED = resources.declared()


class Reads:
    """A reader that gives these batches, and then perhaps fails."""

    pages, unproven = 1, 0

    def __init__(self, *batches, fails=None):
        self.given, self.fails = batches, fails

    def batches(self, cursor_us, resume):
        self.asked = cursor_us, resume
        yield from self.given
        if self.fails:
            raise self.fails


class Refuses(MemoryLog):
    """A broker that takes the first record and acknowledges none."""

    def send(self, records):
        super().send(records[:1])
        raise NotDelivered("raw.orders: 2 of 2 not acknowledged")


def record(name, at_us=5):
    return SourceRecord(b'{"order_id":"%s"}' % name.encode(), name * 32, name, at_us, (), False)


@pytest.fixture
def surroundings(tmp_path):
    log = MemoryLog()
    resource = DECLARED.resources["orders"]
    return Sync(resource, DECLARED.client, "shop", log, tmp_path / "c" / "orders.json", SkippingClock(), bytes(32))


@pytest.mark.parametrize(
    ("cursor_us", "since_us", "full", "begins"),
    [
        (None, None, False, None),
        (700, None, False, 700),
        (700, 300, False, 300),
        (700, 900, False, 700),  # a later one would leave out what lies between
        (None, 900, False, 900),  # nothing was read yet: whoever wants no history says so
        (700, None, True, None),
        (700, 300, True, None),
    ],
)
def test_where_a_run_begins(surroundings, cursor_us, since_us, full, begins):
    reader = Reads()
    sync.run(surroundings, Position("memory", cursor_us), reader, Figures(), since_us=since_us, full=full)
    assert reader.asked == (begins, None)


def test_a_look_back_does_not_take_the_cursor_back(surroundings):
    position = Position("memory", 700)
    sync.run(surroundings, position, Reads(Batch([record("a")], 300, None, 300)), Figures(), since_us=200)
    assert position.cursor_us == 700


def test_what_goes_into_the_topic_and_what_its_headers_say(surroundings):
    position = Position("memory", 700)
    odd = record("b", None)._replace(findings=("new:colour", "type:shop"), deleted=True)
    figures = Figures()
    sync.run(surroundings, position, Reads(Batch([record("a"), record("a"), odd], 800, None, 800)), figures)
    first, second = surroundings.log.records
    assert (first.topic, first.key, first.value) == ("raw.orders", b"a", b'{"order_id":"a"}')
    assert dict(first.headers) == {
        "account": b"shop", "source_ref": b"orders/" + b"a" * 32, "connector": b"orders", "record": b"a" * 32,
        "changed_at_us": b"5", "cursor_us": b"700",
    }  # fmt: skip
    assert dict(second.headers)["findings"] == b"new:colour,type:shop"
    assert "changed_at_us" not in dict(second.headers)
    assert (figures.records, figures.sent, figures.unchanged, figures.deleted, figures.drifted) == (3, 2, 1, 1, 1)


def test_a_source_that_gives_up_leaves_what_was_acknowledged_and_the_cursor_there(surroundings):
    position = sync.open_position(surroundings, everything=False)
    with pytest.raises(GivenUp):
        sync.run(surroundings, position, Reads(Batch([record("a")], 300, None, 300), fails=GivenUp("no")), Figures())
    sync.close(surroundings, position, Figures(failed="no"), in_doubt=False)
    kept = positions.load(surroundings.file, "memory")
    assert (kept.cursor_us, list(kept.seen), kept.open) == (300, ["a" * 32], False)


def test_what_a_broker_did_not_acknowledge_is_looked_for_by_the_next_run(surroundings):
    refuses = Refuses()
    doubtful = Sync(*(refuses if value is surroundings.log else value for value in vars(surroundings).values()))
    position, batch = sync.open_position(doubtful, everything=False), Batch([record("a"), record("b")], 300, None, 300)
    with pytest.raises(NotDelivered):
        sync.run(doubtful, position, Reads(batch), Figures())
    assert (position.cursor_us, position.seen) == (None, {})
    sync.close(doubtful, position, Figures(failed="no"), in_doubt=True)
    again = sync.open_position(doubtful, everything=False)
    assert list(again.seen) == ["a" * 32]  # it is in the log after all; "b" is not


def test_a_process_that_died_left_its_note_open_and_the_next_one_reads_back(surroundings):
    position = sync.open_position(surroundings, everything=False)
    sync.run(surroundings, position, Reads(Batch([record("a")], 300, None, 300)), Figures())  # and then it dies
    again = sync.open_position(surroundings, everything=False)
    assert "a" * 32 in again.seen
    assert again.cursor_us is None  # as it was last written down
