"""What counts as a question, which sentence it is, and which of its words say what it is about."""

from __future__ import annotations

import pytest

from pipelines import contracts
from pipelines.insight.questions import Asking, key_terms, question_of

TOKEN = "ph1_3ef2d64739048e73c7dbaf08a6438093"


@pytest.fixture(scope="module")
def asking():
    return Asking.from_policy(contracts.policy("questions"), max_chars=60, min_terms=1)


@pytest.mark.parametrize(
    ("text", "subject", "kind", "question"),
    [
        (
            "你好。怎么退货？谢谢",
            None,
            "message",
            "怎么退货？",
        ),  # the greeting before and the thanks after are left out
        ("退货", None, "message", None),  # a turn that neither asks nor demands
        ("退货", None, "consultation", "退货"),  # a form opens a question by itself
        ("我要退货", None, "message", "我要退货"),  # a demand asks
        ("How do I return this?", None, "message", "How do I return this?"),  # English asks too
        ("showroom opened", None, "message", None),  # "how" inside a word is no question word
        ("在吗？", None, "message", None),  # asks, but about nothing: no key term
        ("？？？", None, "consultation", None),  # marks alone say nothing
        (None, "发票抬头怎么改", "consultation", "发票抬头怎么改"),  # a mail may ask in its subject only
        ("怎么退货？", "订单问题", "consultation", "怎么退货？"),  # a subject that does not ask leaves it to the text
        ("包装破了。怎么退货？", None, "complaint", "怎么退货？"),  # the asking sentence goes before the first one
        ("包装破了。里面湿了", None, "complaint", "包装破了"),  # no sentence asks: the first stands for it
        (f"我的电话{TOKEN}，怎么退货？", None, "message", "我的电话，怎么退货？"),  # a token beside Chinese characters
        ("[订单x]什么时候发货", None, "message", "什么时候发货"),  # a stand-in of a source
        ("第一行\n怎么退货", None, "consultation", "怎么退货"),  # a line break ends a sentence
        ("客户：怎么退货？\n坐席：七天内可以退。", None, "consultation", "怎么退货？"),  # a transcript names who speaks
        ("坐席：您想办什么？\n客户：我要退货", None, "consultation", "我要退货"),  # what the agent asks is no question
        ("Agent 12: How are you?\nCaller: How do I return this?", None, "message", "How do I return this?"),
        ("坐席：稍等。\n马上帮您查\n客户：好的", None, "message", None),  # the agent's second line; then thanks
        ("客户：你好\n怎么退货", None, "message", "怎么退货"),  # a second line of the customer's
        ("客户：你好\n客服小王：请问您要办什么？", None, "message", None),  # an agent with a name
        ("客户服务：怎么了？\n客户张女士：我要退货", None, "message", "我要退货"),  # begins with 客户 and is the agent
        ("欢迎致电，请问要办什么？\n客户：退货", None, "message", None),  # before the first name: a greeting
        ("[00:12] 坐席：请问要办什么？\n[00:15] 客户：怎么退货", None, "message", "怎么退货"),  # with time stamps
        ("客服：不理人，怎么投诉", None, "complaint", "客服：不理人，怎么投诉"),  # no transcript: no customer is named
        (None, None, "consultation", None),  # nothing said
        ("", "", "message", None),
        (
            "怎么" + "退货" * 200 + "？",
            None,
            "message",
            ("怎么" + "退货" * 200)[:60],
        ),  # cut: a transcript is no question
    ],
)
def test_the_asking_sentence(asking, text, subject, kind, question):
    found = question_of(text, subject, kind, asking)
    assert (found.question if found else None) == question


@pytest.mark.parametrize(
    ("sentence", "terms"),
    [
        ("请问怎么退货？", ["退货"]),  # politeness and question words say nothing
        ("ＡＢＣ发票", ["abc", "发票"]),  # full width is folded
        ("订单123456发货", ["发货", "订单"]),  # numbers are nobody's topic
        ("价格贵吗", ["价格", "贵"]),  # one of the listed one-character words
        ("电子发票", ["电子发票"]),  # a word of the trade stays whole
    ],
)
def test_key_terms(asking, sentence, terms):
    assert list(key_terms(sentence, asking)) == sorted(terms)


def test_hostile_text_ends(asking):
    for text in ("怎么" * 100_000, "[" * 50_000, "<" * 50_000, "?" * 100_000, "\u200b" * 100_000, "a1_" * 50_000):
        question_of(text, None, "message", asking)
