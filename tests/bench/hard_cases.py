"""Hard cases for the cleaning rules, written from the definitions and not from the rules' code.

Each case is a message in its wire form with the verdict a careful person would give. Characters are drawn from the
Unicode database by category, phrases from two pools: `dev` may be looked at while writing rules, `held_out` may not.
"""

from __future__ import annotations

import random

from tests.bench import hard_phrases
from tests.bench.case_truth import START_US, Case
from tests.bench.hard_records import duplicates, invalid_records, response_times, scores
from tests.bench.hard_texts import ambiguous_complaints, blanks, personal_numbers
from tests.bench.wire_forms import Wire


def all_cases(seed: int, per_rule: int = 250, *, pool: str = "held_out") -> list[Case]:
    """Cases of every rule, shuffled but for the order inside a duplicate's story, all reproducible from the seed."""
    rnd = random.Random(f"{seed}/{pool}")
    makers = (blanks, duplicates, invalid_records, response_times, scores, ambiguous_complaints, personal_numbers)
    cases: list[Case] = []
    for number, maker in enumerate(makers):
        wire = Wire(random.Random(rnd.random()), prefix=f"{pool}{seed}-{number}", start_us=START_US)
        stories = list(maker(random.Random(rnd.random()), wire, per_rule, hard_phrases.POOLS[pool]))
        cases += [case for story in stories for case in story]
    return sorted(cases, key=lambda case: case.received_us)
