"""The misbehaving source over real sockets: each fault alone in each form of pages, and random schedules with kills.

`make connectors-report` plays a hundred against a real broker; here the raw topic is in memory.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.simulation.api_faults import FAULTS, Schedule, random_schedule
from tests.bench.connector_world import RESOURCES, MemoryLog, World, declared

FORMS = ("number", "offset", "token", "link")
# The faults in turn over the forms, and what only one form or one kind of authentication knows where it is known.
ALONE = [(fault, form) for fault, form in zip(FAULTS, itertools.cycle(FORMS), strict=False)]
ALONE += [("half", form) for form in FORMS] + [("reordered", form) for form in FORMS]
ALONE += [("repeated", form) for form in FORMS] + [("walk_expired", "token")]


def play(schedule, name, form, folder, **more):
    verdict = World(schedule, declared(schedule.seed, name, form), MemoryLog(), folder, **more).play(rounds=3)
    assert (verdict.lost, verdict.twice, verdict.strange) == ([], [], [])
    return verdict


@pytest.mark.parametrize(("fault", "form"), sorted(set(ALONE)))
def test_a_fault_alone_loses_and_doubles_nothing(fault, form, tmp_path):
    share = 0.15 if fault in ("stall", "slow_body") else 0.4
    name = "crm_customers" if fault == "token_expired" else "app_events"  # who renews tokens
    verdict = play(Schedule(len(fault), (fault,), share), name, form, tmp_path, rows=80)
    assert verdict.faults.get(fault, 0) > 0
    assert verdict.revisions > 80


def test_without_faults_nothing_is_sent_twice_and_nothing_repeated(tmp_path):
    verdict = play(Schedule(5, (), 0.0, churn=0.0), "orders", "link", tmp_path)
    assert verdict.records == verdict.revisions
    assert (verdict.failed_runs, verdict.unproven, verdict.faults) == (0, 0, {})


@pytest.mark.parametrize("seed", range(4))  # one a resource
def test_a_random_schedule_with_kills(seed, tmp_path):
    name = RESOURCES[seed]
    form = "link" if name == "orders" else None  # its answer is a list: no room for totals
    play(random_schedule(seed), name, form, tmp_path, kills=0.1)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    kinds=st.sets(st.sampled_from([one for one in FAULTS if one not in ("stall", "slow_body")])),
    share=st.floats(0, 0.4),
    churn=st.floats(0, 0.9),
    form=st.sampled_from(FORMS),
    kills=st.floats(0, 0.2),
)
def test_any_schedule(tmp_path_factory, seed, kinds, share, churn, form, kills):
    schedule = Schedule(seed, tuple(sorted(kinds)), share, churn, seed % 500 - 250)
    play(schedule, "ticket_events", form, tmp_path_factory.mktemp("positions"), rows=30, kills=kills)
