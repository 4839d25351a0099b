"""gold.hot_questions against worked cases; the case.yaml of each behaviour says why a row is there."""

from __future__ import annotations

import pytest

from jobs.spark.sources import settled
from pipelines import contracts
from pipelines.insight.questions import Asking
from pipelines.tables import hot_questions
from pipelines.tables.current_rows import current_rows
from tests.spark.conftest import behaviours, load_case

pytestmark = pytest.mark.spark
GOLD = contracts.policy("gold")


def _build(frame, case):
    policy = GOLD["hot_questions"]
    rows = settled(
        current_rows(
            frame("silver.interactions", case["interactions"]),
            frame("silver.feedback", [r | {"raw_partition": 1} for r in case.get("feedback", [])]),
            frame("silver.identity_links", []),
            contracts.policy("identity"),
        )
    )
    questions = hot_questions.asked(
        rows,
        period_type=case["period_type"],
        time_zone=GOLD["business_time_zone"],
        starts_at=None,
        as_of_at=case["as_of_at"],
        asking=Asking.from_policy(
            contracts.policy("questions"), max_chars=policy["max_question_chars"], min_terms=policy["min_key_terms"]
        ),
    )
    return hot_questions.build(questions, policy=policy)


@pytest.mark.parametrize("behaviour", behaviours("hot_questions"))
def test_case(frame, behaviour):
    case = load_case("hot_questions", behaviour)
    view = _build(frame, case)
    assert view.columns == [f.name for f in contracts.table(hot_questions.TABLE).fields]
    found = [row.asDict() for row in view.orderBy("period_start_date", "question_rank").collect()]
    compared = [{k: row[k] for k in want} for row, want in zip(found, case["expect"], strict=True)]
    assert compared == case["expect"]


def test_row_order_and_number_of_partitions_change_nothing(frame):
    case = load_case("hot_questions", "one_question_in_many_words")
    forwards = sorted(_build(frame, case).collect())
    backwards = dict(case, interactions=list(reversed(case["interactions"])))
    assert sorted(_build(frame, backwards).collect()) == forwards
