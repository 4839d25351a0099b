"""Duplicate feedback: one opinion sent twice, not two opinions that look alike."""

import polars as pl
import pytest

from pipelines import contracts
from pipelines.cleaning.duplicate_feedback import feedback_key
from pipelines.cleaning.text_normalisation import folded_content

POLICY = {name: v for name, v in contracts.policy("cleaning")["duplicate_feedback"].items() if name != "window_hours"}
BASE = {
    "kind": "feedback", "sender_role": "customer", "customer_id": "c_1", "text": "送餐太慢了，饭都凉了",
    "subject": None, "score": 1.0, "order_id": "o1", "ticket_id": None, "source_revision": 0, "attempt": 0,
}  # fmt: skip


def keys(*changes):
    rows = pl.DataFrame([{**BASE, **change} for change in changes], infer_schema_length=None)
    columns = {name: rows[name] for name in rows.columns}
    for name in ("subject", "ticket_id", "order_id", "customer_id", "text"):
        columns[name] = columns[name].cast(pl.String)
    columns["score"] = columns["score"].cast(pl.Float64)
    first = [columns.pop(name) for name in ("kind", "sender_role", "customer_id", "text")]
    return feedback_key(*first, **columns, **POLICY).to_list()


@pytest.mark.parametrize(
    "copy",
    [
        {},  # the same form sent twice
        {"text": "送餐太慢了，饭都凉了！！！"},  # more emphasis
        {"text": "送餐太慢了,饭都凉了"},  # half-width comma
        {"text": "　送餐太慢了， 饭都凉了\n"},  # spaces around
        {"text": "送餐\u200b太慢了，饭都\ufeff凉了"},  # zero-width characters between
        {"score": None},  # the second channel has no score field
        {"score": 2.0},  # same words, other star: one opinion
        {"kind": "complaint"},  # the review copied into the complaint form
    ],
)
def test_the_same_content_has_one_key(copy):
    first, second = keys({}, copy)
    assert first == second is not None


@pytest.mark.parametrize(
    "other",
    [
        {"text": "送餐太慢了，菜都凉了"},  # rice or dish: not the same
        {"customer_id": "c_2"},  # somebody else who thinks the same
        {"order_id": "o2"},  # the same words about another order
        {"order_id": None},
        {"text": "送餐太慢了，饭都凉了😡"},  # an emoji is said, too
        {"subject": "投诉"},
    ],
)
def test_another_content_has_another_key(other):
    first, second = keys({}, other)
    assert first != second
    assert second is not None


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "message", "text": "嗯"},  # 嗯 twice in a chat is honest
        {"kind": "consultation"},
        {"kind": "record"},
        {"customer_id": None},  # nobody known to have said it before
        {"sender_role": "agent"},
        {"source_revision": 1},  # an edit of itself, or its revocation
        {"attempt": 1},  # a replay: its own first attempt must not hold it back
        {"text": None, "order_id": None},  # a bare score about nothing named
    ],
)
def test_what_is_never_judged_a_duplicate(row):
    assert keys(row) == [None]


def test_short_words_need_the_same_score_and_ticket():
    same, again, other_score, other_ticket = keys(
        {"text": "好评", "score": 5.0},
        {"text": "好评！", "score": 5.0},
        {"text": "好评", "score": 4.0},
        {"text": "好评", "score": 5.0, "ticket_id": "t9"},
    )
    assert same == again
    assert len({same, other_score, other_ticket}) == 3


def test_bare_scores_of_two_orders_are_two():
    first, second, again = keys({"text": None}, {"text": None, "order_id": "o2"}, {"text": ""})
    assert first != second
    assert first == again


def test_full_width_and_case_fold():
    assert folded_content(pl.Series(["ＡＰＰ　闪退", "app闪退。"])).n_unique() == 1


def test_a_key_does_not_show_the_customer_or_the_text():
    [key] = keys({})
    assert len(key) == 32
    assert "c_1" not in key
