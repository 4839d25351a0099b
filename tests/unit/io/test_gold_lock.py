"""Builds run beside each other and never beside an erasure, whoever came first."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from pipelines.io import gold_lock

WAIT_S = 10


@contextmanager
def running(work):
    """`work(entered, leave)` in a thread: it says when it is inside, and leaves when told to."""
    entered, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=work, args=(entered, leave), daemon=True)
    thread.start()
    try:
        yield entered, leave
    finally:
        leave.set()
        thread.join(WAIT_S)


def build_in(home):
    def work(entered, leave):
        with gold_lock.building(home):
            entered.set()
            leave.wait(WAIT_S)

    return work


def test_two_builds_are_at_work_together(tmp_path):
    with running(build_in(tmp_path)) as (one, _), running(build_in(tmp_path)) as (other, _):
        assert one.wait(WAIT_S)
        assert other.wait(WAIT_S)


def test_a_second_build_of_a_table_waits_and_one_of_another_table_does_not(tmp_path):
    def build_of(table):
        def work(entered, leave):
            with gold_lock.one_build_of(table, tmp_path):
                entered.set()
                leave.wait(WAIT_S)

        return work

    with running(build_of("gold.a")) as (first, first_may_end):
        assert first.wait(WAIT_S)
        with running(build_of("gold.b")) as (other, _), running(build_of("gold.a")) as (second, _):
            assert other.wait(WAIT_S)
            assert not second.wait(0.2)
            first_may_end.set()
            assert second.wait(WAIT_S)


def test_an_erasure_waits_for_the_build_that_began_and_says_so(tmp_path):
    told, entered = [], threading.Event()

    def erase(_, leave):
        with gold_lock.no_build(tmp_path, lambda line: told.append(line) or entered.set()):
            told.append("erased")

    with running(build_in(tmp_path)) as (building, build_may_end):
        assert building.wait(WAIT_S)
        with running(erase) as _:
            assert entered.wait(WAIT_S)
            assert told == ["a gold build is at work; the erasure waits for its end"]
            build_may_end.set()
    assert told[-1] == "erased"


def test_a_build_that_begins_during_an_erasure_waits_for_its_end(tmp_path):
    with gold_lock.no_build(tmp_path, print), running(build_in(tmp_path)) as (building, _):
        assert not building.wait(0.2)


def test_without_a_build_nothing_is_waited_for(tmp_path):
    told = []
    with gold_lock.no_build(tmp_path, told.append):
        assert told == []
