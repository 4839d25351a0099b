"""Nobody is answered before it was written down; who comes while a batch is at work is in the next one."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy.exc import OperationalError

from pipelines.io.audit_log import AuditRefused
from pipelines.lookup.agent_keys import Agent
from pipelines.lookup.answers import Found
from pipelines.lookup.desk import Desk
from pipelines.lookup.questions import Question
from pipelines.lookup.refusals import NotAnswered

AGENT, ANALYST = Agent("li.na", "agent"), Agent("wang", "analyst")


def ids(*names: str) -> list[Question]:
    return [Question("customer_id", name) for name in names]


class House:
    """Reads everybody as known, and remembers in which order it read, wrote and answered."""

    def __init__(self, *, gate: threading.Event | None = None, fails: Exception | None = None, **limits):
        self.events: list = []
        self._gate, self._fails = gate, fails
        self.started = threading.Event()
        limits = {"max_batch": 64, "answer_within_s": 5} | limits
        self.desk = Desk(self.read, self.write_down, clock_us=lambda: 7, **limits)

    def read(self, questions):
        self.events.append(("read", [q.subject for q in questions]))
        self.started.set()
        if self._gate is not None:
            self._gate.wait(5)
        return [Found(q.subject, {"contacts": 1}) for q in questions]

    def write_down(self, acts):
        if self._fails is not None:
            raise self._fails
        self.events.append(("written", [(act.act, act.act_subject) for act in acts]))

    async def ask(self, question, agent=AGENT, *, allowed=True):
        try:
            found = await self.desk.ask(question, agent, allowed=allowed)
        except NotAnswered as refused:
            self.events.append(("refused", refused.error))
            return refused.error
        self.events.append(("answered", question.subject))
        return found.customer_id


def run(house: House, *asking) -> list:
    async def main():
        serving = asyncio.create_task(house.desk.run())
        try:
            return await asyncio.gather(*(ask() for ask in asking))
        finally:
            serving.cancel()

    return asyncio.run(main())


def test_it_is_read_then_written_down_then_answered():
    house = House()
    [question] = ids("c_1")
    assert run(house, lambda: house.ask(question)) == ["c_1"]
    assert house.events == [("read", ["c_1"]), ("written", [("consult", "c_1")]), ("answered", "c_1")]


def test_who_comes_while_a_batch_is_at_work_is_written_down_together():
    gate = threading.Event()
    house = House(gate=gate)
    first, *others = ids("c_1", "c_2", "c_3", "c_4")

    async def the_others():
        await asyncio.to_thread(house.started.wait, 5)  # the first is being read
        waiting = [asyncio.create_task(house.ask(question)) for question in others]
        await asyncio.sleep(0)  # each has said what it wants
        gate.set()
        return await asyncio.gather(*waiting)

    assert run(house, lambda: house.ask(first), the_others) == ["c_1", ["c_2", "c_3", "c_4"]]  # each gets their own
    written = [[name for _, name in acts] for what, acts in house.events if what == "written"]
    assert written == [["c_1"], ["c_2", "c_3", "c_4"]]


def test_a_batch_has_its_limit():
    house = House(max_batch=2)
    run(house, *(lambda q=q: house.ask(q) for q in ids("c_1", "c_2", "c_3", "c_4", "c_5")))
    assert max(len(names) for what, names in house.events if what == "read") == 2
    assert house.desk.written == 5


def test_who_may_not_is_written_down_and_nothing_is_looked_up():
    house = House()
    mine, theirs = ids("c_1", "c_2")
    asked = run(house, lambda: house.ask(theirs, ANALYST, allowed=False), lambda: house.ask(mine))
    assert asked == ["role.not_allowed", "c_1"]
    assert house.events[:2] == [("read", ["c_1"]), ("written", [("refused", "c_2"), ("consult", "c_1")])]


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        (AuditRefused("the audit log cannot be written"), "audit.unavailable"),
        (OperationalError("INSERT", {}, ConnectionError("gone")), "database.unavailable"),
        (ZeroDivisionError(), "database.unavailable"),  # a mistake of ours shows nothing either
    ],
)
def test_what_cannot_be_written_down_is_not_shown_to_anybody(fails, error):
    house = House(fails=fails)
    asked = run(house, *(lambda q=q: house.ask(q) for q in ids("c_1", "c_2")))
    assert asked == [error, error]
    assert house.desk.written == 0


def test_who_waited_too_long_sees_nothing_and_is_not_looked_up_later():
    gate = threading.Event()
    house = House(gate=gate, answer_within_s=0.2)
    first, second, third = ids("c_1", "c_2", "c_3")

    async def behind_it():
        await asyncio.to_thread(house.started.wait, 5)
        told = await house.ask(second)
        gate.set()
        await house.ask(third)  # the desk goes on with whoever waits now
        return told

    assert run(house, lambda: house.ask(first), behind_it) == ["too_busy", "too_busy"]
    assert not any("c_2" in names for what, names in house.events if what == "read")
