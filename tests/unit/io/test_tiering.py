"""When a stream commits, and what it forgets: driven turn by turn with a log and a clock in the test's hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.io.committed_log import Collected, Source, TopicChanged
from pipelines.io.delta import LostRace, open_store
from pipelines.io.records import Rows
from pipelines.io.tiering import Limits, TableStream

SCHEMA = pa.schema([("raw_offset", pa.int64())])
LIMITS = Limits(rows=100, bytes=10_000, commit_interval_s=4.0, settled_after_s=0.5, idle_position_s=60.0)
ONE, TWO = Source("c", "raw.app", "t", 0), Source("c", "raw.app", "t", 1)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """Hands out what the test lays in: numbers instead of messages."""

    def __init__(self):
        self.started: dict[Source, int] = {}
        self.inbox: list[tuple[int, int]] = []  # (offset, bytes) of ONE
        self.end_seen, self.changed = False, False

    def sources(self):
        return [ONE, TWO]

    def start_at(self, positions):
        self.started = dict(positions)

    def collect(self, into: Collected, **_):
        for offset, size in self.inbox:
            into.messages.append(offset)
            into.payload_bytes += size
            into.next_offset[ONE] = offset + 1
        self.inbox = []
        return into

    def check_unchanged(self):
        if self.changed:
            raise TopicChanged("topics raw.app were changed")

    def at_end(self):
        return self.end_seen

    def lag(self):
        return {ONE: 0, TWO: 0}

    def close(self):
        pass


class AsRows:
    def sources_are(self, sources):
        pass

    def rows(self, messages):
        return Rows(pa.table([list(messages)], schema=SCHEMA), [])


class NothingUnreadable:
    def keep(self, unreadable, sources):
        return 0


@pytest.fixture
def world(tmp_path):
    log, clock = Log(), Clock()

    def opened():
        return open_store(tmp_path, SCHEMA, [], name="silver.test", description="")

    def stream(**options):
        made = TableStream("silver.test", log, opened, AsRows(), NothingUnreadable(), LIMITS, clock=clock, **options)
        made.rewind()
        return made

    return log, clock, stream


@pytest.mark.parametrize(
    ("inbox", "waited_s", "due"),
    [
        ([], 100, False),  # nothing to write
        ([(0, 10)], 3.9, False),  # young and small
        ([(0, 10)], 4.0, True),  # the oldest row has waited long enough
        ([(n, 10) for n in range(100)], 0, True),  # enough rows
        ([(0, 10_000)], 0, True),  # enough bytes
    ],
)
def test_a_commit_is_due_at_the_first_limit(world, inbox, waited_s, due):
    log, clock, stream = world
    one = stream()
    log.inbox = inbox
    one.collect(0)
    clock.now += waited_s
    assert one.collect(0) is due


def test_a_burst_read_to_its_end_is_committed_at_once_on_transactional_topics_only(world):
    log, clock, stream = world
    for transactional in (True, False):
        one = stream(transactional=transactional)
        log.inbox, log.end_seen = [(0, 10)], True
        assert one.collect(0) is False, "half a second of quiet first: a second partition's burst may follow"
        clock.now += 0.5
        assert one.collect(0) is transactional


def test_the_first_commit_gives_every_source_a_position(world):
    log, _, stream = world
    one = stream()
    log.inbox = [(6, 1)]
    one.collect(0)
    one.write()
    assert one.next_offsets == {ONE: 7, TWO: 0}
    again = stream()
    assert log.started == {ONE: 7, TWO: 0}
    assert again._committed == {ONE: 7, TWO: 0}, "TWO is known now: its life of the topic has begun"


def test_positions_over_markers_alone_are_written_once_a_minute(world):
    log, clock, stream = world
    one = stream()
    log.inbox = [(0, 1)]
    one.collect(0)
    one.write()
    one._held.next_offset[ONE] = 3  # two markers behind the row
    assert one.collect(0) is False
    clock.now += 60
    assert one.collect(0) is True
    assert one.write() == 0
    stream()
    assert log.started[ONE] == 3


def test_what_is_held_is_forgotten_when_another_service_was_faster(world):
    log, _, stream = world
    one, other = stream(), stream()
    log.inbox = [(0, 1), (1, 1)]
    one.collect(0)
    log.inbox = [(0, 1)]
    other.collect(0)
    other.write()
    with pytest.raises(LostRace):
        one.write()
    one.rewind()
    assert one.rows_waiting == 0
    assert log.started[ONE] == 1, "it reads on from what the other committed"


def test_a_topic_changed_while_reading_is_not_committed(world):
    log, _, stream = world
    one = stream()
    log.inbox = [(0, 1)]
    one.collect(0)
    log.changed = True
    with pytest.raises(TopicChanged):
        one.write()
    with pytest.raises(TopicChanged):
        one.check_topics()
    log.changed = False
    one.check_topics()
    one.rewind()
    assert log.started[ONE] == 0
