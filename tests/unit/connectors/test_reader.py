"""The reader over a source in memory that changes between two pages, worked by hand."""

import msgspec
import pytest

from pipelines.connectors import records, resources
from pipelines.connectors.failures import Passing, WalkExpired
from pipelines.connectors.pages import Page, Step
from pipelines.connectors.reader import Reader
from pipelines.connectors.resources import OffsetPages, TokenPages

SECRET = bytes(32)
S = 1_000_000
NOW_US = 1_767_916_800 * S
POLICY = resources.declared()


class Source:
    """Rows (key, second), pages of two; ``between`` says what happens before the n-th answer."""

    def __init__(self, rows, between=None, answers=None):
        self.rows, self.between, self.answers = dict(rows), between or {}, answers or {}
        self.asked = []

    def __call__(self, step, check):
        number = len(self.asked)
        self.asked.append(step)
        for key, second in self.between.get(number, {}).items():
            if second is None:
                del self.rows[key]
            else:
                self.rows[key] = second
        page = self.answers.get(number, self.page)(step)
        check(page)
        return page

    def page(self, step):
        first = 0 if step.since_us is None else step.since_us // S
        rows = sorted((second, key) for key, second in self.rows.items() if second >= first)
        start = int(step.token or step.start)
        here = rows[start : start + 2]
        values = [b'{"event_id":"%s","changed_at":%d}' % (key.encode(), second) for second, key in here]
        more = start + 2 < len(rows)
        following = step._replace(start=start + 2, token=str(start + 2) if self.tokens else None) if more else None
        return Page(values, following, NOW_US, repr(here).encode())

    tokens = False


def run(source, cursor_us=None, resume=None, tokens=False, known=()):
    page = TokenPages("cursor", "limit", 2, "next") if tokens else OffsetPages("offset", "limit", 2, "total")
    source.tokens = tokens
    resource = msgspec.structs.replace(POLICY.resources["app_events"], page=page)
    seen, got, cursors = set(known), [], []
    reader = Reader(
        resource, POLICY.client, source, lambda v: records.read(v, resource, SECRET), lambda r: r.record in seen
    )
    for batch in reader.batches(cursor_us, resume):
        for record in batch.records:
            fields = msgspec.json.decode(record.value)
            if record.record not in seen:
                got.append((fields["event_id"], fields["changed_at"]))
            seen.add(record.record)
        cursors.append(batch.cursor_us and batch.cursor_us // S)
    return got, cursors, reader


def test_everything_once_and_the_cursor_at_the_last_change():
    source = Source({"a": 100, "b": 101, "c": 102, "d": 103, "e": 104})
    got, cursors, reader = run(source)
    # the first page twice, for there is nothing it could join; then one each, which begins with the last record again
    assert [step.since_us and step.since_us // S for step in source.asked] == [None, None, 101, 102, 103]
    assert got == [("a", 100), ("b", 101), ("c", 102), ("d", 103), ("e", 104)]
    assert cursors[-1] == 104
    assert reader.unproven == 0


def test_a_record_that_changes_while_pages_are_read_pulls_none_out_of_sight():
    # "a" goes to the end after the first page: by offset, "c" would slip onto the page that was read
    source = Source({"a": 100, "b": 101, "c": 102, "d": 103}, between={2: {"a": 200}})
    got, cursors, _ = run(source)
    assert sorted(got) == [("a", 100), ("a", 200), ("b", 101), ("c", 102), ("d", 103)]
    assert cursors[-1] == 200


def test_a_record_that_is_deleted_meanwhile_pulls_none_out_of_sight():
    source = Source({"a": 100, "b": 101, "c": 102, "d": 103}, between={2: {"b": None}})  # the very one it joins at
    assert sorted(run(source)[0]) == [("a", 100), ("b", 101), ("c", 102), ("d", 103)]


def test_more_records_of_one_instant_than_a_page_holds():
    rows = {key: 100 for key in "abcdefg"} | {"x": 101}
    got, cursors, _ = run(Source(rows))
    assert sorted(key for key, _ in got) == [*"abcdefg", "x"]
    assert cursors[-1] == 101


def test_one_of_an_instant_that_moves_away_shifts_the_others_and_none_is_missed():
    rows = {key: 100 for key in "abcdef"}
    source = Source(rows, between={3: {"a": 300}})  # between the second and the third page of the instant
    assert {key for key, _ in run(source)[0]} == set("abcdef")


def test_positions_that_shift_twice_hide_nothing_behind_an_instant():
    rows = {key: 100 for key in "abcdef"} | {"x": 101, "y": 102, "z": 103, "w": 104}
    # before the page behind the instant: in the first round "x" slips onto a page that was read, in the second again
    source = Source(rows, between={5: {"a": 300}, 8: {"b": 300, "c": 300}})
    assert {key for key, _ in run(source)[0]} == set(rows)


def test_a_page_from_further_on_is_not_taken_for_the_next():
    rows = {"a": 100, "b": 101, "c": 102, "d": 103, "e": 104, "f": 105}
    source = Source(rows)
    source.answers = {2: lambda step: source.page(step._replace(start=2))}  # instead of the one after the first
    assert sorted(run(source)[0]) == sorted(rows.items())


def test_the_page_before_once_more_is_not_taken_for_the_next():
    rows = {"a": 100, "b": 101, "c": 102, "d": 103, "e": 104}
    source = Source(rows)
    source.answers = {2: lambda step: source.page(Step(None))._replace(following=step._replace(start=2))}
    assert sorted(run(source)[0]) == sorted(rows.items())
    assert len(source.asked) == 6  # asked for once more, and no further


def test_what_is_dated_ahead_of_the_server_moves_nothing():
    ahead = NOW_US // S + 301  # policy: 300 s are no time ahead
    got, cursors, _ = run(Source({"a": 100, "b": ahead - 1, "c": ahead}))
    assert [key for key, _ in got] == ["a", "b", "c"]
    assert cursors[-1] == ahead - 1


def test_the_next_run_begins_before_the_cursor_by_the_overlap():
    source = Source({"a": 1000})
    run(source, cursor_us=1000 * S)
    assert source.asked[0] == Step((1000 - 600) * S)


def test_a_walk_by_token_moves_the_cursor_at_its_end():
    got, cursors, _ = run(Source({"a": 100, "b": 101, "c": 102, "d": 103, "e": 104}), cursor_us=50 * S, tokens=True)
    assert [key for key, _ in got] == [*"abcde"]
    assert cursors == [50, 50, 104]


def test_a_page_that_came_before_is_asked_for_again():
    source = Source({"a": 100, "b": 101, "c": 102})
    source.answers = {2: lambda step: source.page(step._replace(token=None, start=0))}
    with pytest.raises(Passing, match="came before"):  # which the client asks for again
        run(source, tokens=True)


def test_pages_that_come_in_another_order_are_walked_again():
    source = Source({"a": 100, "b": 101, "c": 102, "d": 103, "e": 104, "f": 105})
    swapped = {2: "4", 3: "2"}  # the third page, then the second
    source.answers = {
        number: lambda step, token=token: source.page(step._replace(token=token))._replace(
            following=step._replace(token="4") if token == "4" else None
        )
        for number, token in swapped.items()
    }
    got, cursors, _ = run(source, tokens=True)
    assert sorted(key for key, _ in got) == [*"abcdef"]
    assert cursors[-1] == 105
    assert cursors[-2] != 105  # not before the second walk


def test_a_walk_whose_token_is_forgotten_begins_again_where_it_began():
    def forgotten(step):
        raise WalkExpired("gone")

    source = Source({"a": 1000, "b": 1001, "c": 1002}, answers={0: forgotten})
    got, _, _ = run(source, cursor_us=1100 * S, resume=Step(500 * S, token="2"), tokens=True)
    assert [key for key, _ in got] == [*"abc"]
    assert source.asked[1] == Step(500 * S)
