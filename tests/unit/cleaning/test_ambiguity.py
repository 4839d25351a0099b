"""Ambiguous complaints: a person is asked when the text cannot be placed, and only then."""

import polars as pl
import pytest

from pipelines import contracts
from pipelines.cleaning.ambiguity import REASONS, ambiguous_complaint

POLICY = contracts.policy("cleaning")["ambiguity"]


def doubt(text, kind="complaint", subject=None, score=None, scale=5.0, role="customer"):
    return ambiguous_complaint(
        pl.Series([kind]),
        pl.Series([role]),
        pl.Series([text], dtype=pl.String),
        subject=pl.Series([subject], dtype=pl.String),
        score=pl.Series([score], dtype=pl.Float64),
        score_scale_max=pl.Series([scale], dtype=pl.Float64),
        **POLICY,
    )[0]


@pytest.mark.parametrize(
    "text",
    [
        "太慢了",  # three characters, one clear problem
        "退款！！",
        "客服态度恶劣",
        "refund please",
        "Slow",
        "快递丢了也不赔",
        "服务很好，就是送餐太慢",  # praise and a named problem: it can be placed
        "不满意这个质量",
    ],
)
def test_a_named_problem_is_placed(text):
    assert doubt(text) is None


@pytest.mark.parametrize("text", ["你们看着办", "呵呵", "差评", "无语", "。。好吧", "垃圾", "😡", "哎", "不满意"])
def test_anger_without_a_problem_is_vague(text):
    assert doubt(text) == "complaint.vague"


@pytest.mark.parametrize("text", ["非常满意，五星好评", "真是太好了呵呵", "很棒", "Excellent!"])
def test_praise_in_a_complaint_contradicts(text):
    assert doubt(text) == "complaint.contradictory"


def test_a_negated_praise_is_none():
    assert doubt("我对你们公司的一切都不满意真的不满意") is None  # long enough to be read as it stands
    assert doubt("刹车不灵了") is None  # an unknown word is taken for a problem
    assert doubt("不推荐") == "complaint.vague"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"kind": "feedback", "score": 1.0}, "complaint.contradictory"),  # one star and praise
        ({"kind": "feedback", "score": 2.0}, "complaint.contradictory"),
        ({"kind": "feedback", "score": 3.0}, None),  # the middle is no complaint
        ({"kind": "feedback", "score": 5.0}, None),
        ({"kind": "feedback", "score": None}, None),  # nobody complained
        ({"kind": "feedback", "score": 4.0, "scale": 10.0}, "complaint.contradictory"),
        ({"kind": "feedback", "score": 1.0, "scale": None}, None),  # low on which scale?
        ({"kind": "message"}, None),
        ({"kind": "consultation"}, None),
        ({"role": "agent"}, None),
    ],
)
def test_only_complaints_and_low_scores_are_looked_at(columns, expected):
    assert doubt("非常满意", **columns) == expected


def test_the_subject_can_name_the_problem():
    assert doubt("如题", subject="退货不处理") is None
    assert doubt("如题", subject="你好") == "complaint.vague"


def test_an_empty_text_is_not_for_a_person():
    assert doubt("") is None  # text.blank rejects it
    assert doubt(None) is None


def test_a_long_text_says_what_it_is_about():
    assert doubt("很好" + "，我想说的是这件事情的来龙去脉" * 4) is None


def test_every_reason_is_explained():
    assert set(REASONS) == {"complaint.vague", "complaint.contradictory"}


def test_the_lists_hold_words():
    """YAML reads a bare no as false; a list that holds one would fail every batch."""
    lists = [value for value in POLICY.values() if isinstance(value, list)]
    assert all(type(word) is str and word for words in lists for word in words)
