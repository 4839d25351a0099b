"""Ambiguous complaints: a person is asked when the text cannot be placed, and only then."""

import polars as pl
import pytest

from pipelines import contracts
from pipelines.cleaning.ambiguity import REASONS, ambiguous_complaint

POLICY = contracts.policy("cleaning")["ambiguity"]


def doubt(text, kind="complaint", subject=None, score=None, scale=5.0, role="customer", **changed):
    return ambiguous_complaint(
        pl.Series([kind]),
        pl.Series([role]),
        pl.Series([text], dtype=pl.String),
        subject=pl.Series([subject], dtype=pl.String),
        score=pl.Series([score], dtype=pl.Float64),
        score_scale_max=pl.Series([scale], dtype=pl.Float64),
        **{**POLICY, **changed},
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


@pytest.mark.parametrize("text", ["不推荐", "我对你们公司的一切都不满意真的不满意"])
def test_denied_praise_that_does_not_say_of_what_is_vague(text):
    assert doubt(text) == "complaint.vague"


@pytest.mark.parametrize("text", ["不新鲜", "一点都不专业", "不太合身"])
def test_a_denied_merit_says_what_is_wrong(text):
    assert doubt(text) is None


@pytest.mark.parametrize("text", ["好吃不贵", "声音小，一点都不吵", "没有异味，喜欢"])
def test_a_denied_problem_is_praise(text):
    assert doubt(text) == "complaint.contradictory"


@pytest.mark.parametrize("text", ["榫卯", "纱窗榫卯", "东西不错，榫卯"])
def test_an_unknown_word_is_taken_for_a_problem(text):
    assert doubt(text) is None


@pytest.mark.parametrize("text", ["不灵", "你们没退", "又被删了", "未办", "太紧了", "看不清"])
def test_a_word_made_by_a_known_form_is_placed(text):
    assert doubt(text) is None
    assert doubt(text, problem_patterns=["没有任何形式"]) == "complaint.vague"  # no list holds these words


@pytest.mark.parametrize("text", ["没意思", "不想说了", "不喜欢", "没谁了", "被你们气死"])
def test_a_form_leaves_out_what_only_feels_or_speaks(text):
    assert doubt(text) == "complaint.vague"


@pytest.mark.parametrize("text", ["心都凉了", "想骂人", "贵公司牛"])
def test_an_idiom_only_sounds_like_a_problem(text):
    """凉, 骂 and 贵 alone name one."""
    assert doubt(text) == "complaint.vague"


def test_praise_beside_denied_praise_is_not_pure():
    assert doubt("很棒，不推荐") == "complaint.vague"


@pytest.mark.parametrize("text", ["咨询收费是否合理", "希望您能认真处理"])
def test_a_wish_or_a_question_is_no_praise(text):
    assert doubt(text) != "complaint.contradictory"


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
