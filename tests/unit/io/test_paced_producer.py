"""The pace of sending; sending itself is tested against a broker (tests/e2e)."""

from collections import Counter

from pipelines.io import paced_producer
from pipelines.io.paced_producer import SendResult, _paced


def test_without_a_rate_in_chunks():
    assert [len(chunk) for chunk in _paced(iter(range(7)), None, 3, lambda: 0.0, 0.0)] == [3, 3, 1]


def test_at_a_rate_each_record_when_it_is_due(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(paced_producer.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    given_at = []
    for chunk in _paced(iter(range(500)), 100.0, 3, lambda: now[0], 0.0):
        given_at += [now[0]] * len(chunk)
    assert len(given_at) == 500
    for number, at in enumerate(given_at):
        assert number / 100 - 0.02 <= at <= number / 100 + 0.02  # two ticks


def test_behind_schedule_it_catches_up_without_a_flood(monkeypatch):
    now = [10.0]  # ten seconds late at the first look
    monkeypatch.setattr(paced_producer.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    chunks = [len(chunk) for chunk in _paced(iter(range(1_000)), 100.0, 3, lambda: now[0], 0.0)]
    assert max(chunks) == 10  # a tenth of a second's worth
    assert sum(chunks) == 1_000


def test_a_failure_makes_the_result_incomplete():
    assert SendResult(3, 3, 1.0, Counter()).complete
    assert not SendResult(3, 2, 1.0, Counter({"too large": 1})).complete
