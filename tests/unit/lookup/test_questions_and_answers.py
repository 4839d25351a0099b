"""What can be asked, and what of it leaves the process: an ID or a token, never the value as it was typed."""

from __future__ import annotations

from datetime import datetime

import pytest

from pipelines import contracts
from pipelines.identity.provisional import provisional_id_of
from pipelines.lookup.agent_keys import Agent
from pipelines.lookup.answers import Found, Views, act_of
from pipelines.lookup.questions import Question, of_body, of_path
from pipelines.lookup.refusals import NotAnswered
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser

KINDS = contracts.policy("lookup")["search_by"]
TOKENISER = Tokeniser(MasterKey({1: bytes(32)}), placeholders=contracts.policy("identity")["placeholders"])
PHONE = "ph1_3ef2d64739048e73c7dbaf08a6438093"  # of 13812345670
AT = datetime(2026, 1, 9)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: of_path("phone:13812345670", TOKENISER, KINDS),
        lambda: of_path("phone:+86 138-1234-5670", TOKENISER, KINDS),  # as the stream reads it
        lambda: of_body('{"phone": "０１３８１２３４５６７０"}'.encode(), TOKENISER, KINDS),  # full-width, trunk prefix
    ],
)
def test_all_spellings_of_a_number_are_one_question_that_does_not_hold_it(ask):
    question = ask()
    assert (question.by, question.subject) == ("phone", PHONE)
    assert "5670" not in repr(question)
    assert question.echo("masked") == "138****5670"
    assert question.echo("token") == PHONE
    assert question.echo("hidden") is None


def test_an_openid_keeps_its_case_and_needs_no_account():
    """An openid is of one app and one person already; its token is made without the account, as in the stream."""
    lower, upper = (of_body(f'{{"openid": "{o}"}}'.encode(), TOKENISER, KINDS) for o in ("oAbC123", "oABC123"))
    assert lower.subject.startswith("op1_")
    assert lower.subject != upper.subject
    assert lower.subject == TOKENISER.token("oAbC123", "openid")


@pytest.mark.parametrize("told", ["c_0a1b2c", "p_" + "a" * 24])
def test_a_customer_id_is_asked_as_it_is(told):
    by_path, by_body = of_path(told, TOKENISER, KINDS), of_body(f'{{"customer_id": "{told}"}}'.encode(), TOKENISER, [])
    assert by_path == by_body == Question("customer_id", told)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("13812345670", "question.malformed"),  # a bare number may be a member number as well: say which
        ("c_李娜", "question.malformed"),
        ("c_" + "a" * 65, "question.malformed"),
        ("c_1' OR 1=1", "question.malformed"),
        ("national_id:11010519491231002X", "question.malformed"),  # not by that
        ("phone:", "question.malformed"),
        ("phone:" + "1" * 300, "question.malformed"),
        ("phone:13800000000", "identifier.says_nothing"),  # typed to get past a form
    ],
)
def test_what_is_no_question_is_said_without_repeating_it(told, error):
    with pytest.raises(NotAnswered) as refused:
        of_path(told, TOKENISER, KINDS)
    assert (refused.value.status, refused.value.error) == (400, error)
    assert told not in str(refused.value.body())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"phone=138", b"{}", b'{"phone": 13812345670}', b'{"phone": "1", "openid": "2"}', b'{"phone": null}',
     b'{"customer_id": "phone:13812345670"}', b'{"shoe_size": "44"}'],
)  # fmt: skip
def test_a_body_that_is_no_question(body):
    with pytest.raises(NotAnswered) as refused:
        of_body(body, TOKENISER, KINDS)
    assert refused.value.error == "question.malformed"


COLUMNS = ("customer_id", "contacts", "last_outcome", "tags")
ROW = {"customer_id": "c_1", "contacts": 2, "last_outcome": "answered", "tags": '{"value_tier":"high"}'}
VIEWS = Views(COLUMNS, contracts.policy("roles"), contracts.fields())


def test_an_agent_sees_the_view_and_who_was_asked_for_masked():
    question = of_path("phone:13812345670", TOKENISER, KINDS)
    assert VIEWS.answer(question, Found("c_1", ROW, AT), "agent") == {
        "asked_for": {"phone": "138****5670"},
        "customer_id": "c_1",
        "as_of_at": AT,
        "view": ROW | {"tags": {"value_tier": "high"}},
    }


def test_the_privacy_officer_reads_the_token_instead():
    question = of_path("phone:13812345670", TOKENISER, KINDS)
    assert VIEWS.answer(question, Found("c_1", ROW, AT), "privacy_officer")["asked_for"] == {"phone": PHONE}


def test_a_column_that_nobody_has_thought_of_is_not_shown():
    views = Views(("contacts", "shoe_size", "content_hash"), contracts.policy("roles"), contracts.fields())
    row = {"contacts": 2, "shoe_size": 44, "content_hash": "x"}
    assert views.answer(Question("customer_id", "c_1"), Found("c_1", row, AT), "agent")["view"] == {"contacts": 2}


def test_every_column_of_the_view_has_been_thought_of():
    """What gold.customer_360 gets must be given a kind in policy roles, or agents silently lack it."""
    from pipelines.io.customer_reads import view_columns
    from pipelines.privacy.roles import kind_of_column

    policy, fields = contracts.policy("roles"), contracts.fields()
    assert [name for name in view_columns() if kind_of_column(name, fields[name], policy) is None] == []


def test_a_merged_id_is_answered_with_the_present_customer():
    told = VIEWS.answer(Question("customer_id", "c_2"), Found("c_1", ROW, AT), "agent")
    assert (told["asked_for"], told["customer_id"], told["view"]["customer_id"]) == (
        {"customer_id": "c_2"},
        "c_1",
        "c_1",
    )


@pytest.mark.parametrize(
    ("found", "error", "status"),
    [
        (Found(None), "customer.unknown", 404),  # never known, or erased: the same words
        (Found(None, shared=True), "identifier.shared", 409),
    ],
)
def test_nobody_is_said_in_plain_words(found, error, status):
    with pytest.raises(NotAnswered) as refused:
        VIEWS.answer(Question("phone", PHONE), found, "agent")
    assert (refused.value.error, refused.value.status) == (error, status)


def test_what_is_written_down_names_who_and_whom_by_token():
    who = Agent("li.na", "agent")
    act = act_of(Question("phone", PHONE, "138****5670"), who, Found("c_1", ROW, AT), 7)
    assert (act.acted_at, act.actor, act.actor_role, act.act, act.act_subject) == (
        7,
        "li.na",
        "agent",
        "consult",
        PHONE,
    )
    assert act.act_detail == '{"by": "phone", "customers": ["c_1"], "rows": 1}'
    assert (
        act_of(Question("phone", PHONE), who, Found(None), 7).act_detail
        == '{"by": "phone", "customers": [], "rows": 0}'
    )
    refused = act_of(Question("customer_id", "c_1"), Agent("wang", "analyst"), None, 7)
    assert (refused.act, refused.act_subject, refused.act_detail) == (
        "refused", "c_1", '{"by": "customer_id", "wanted": "look_up"}',
    )  # fmt: skip


def test_the_provisional_name_is_the_streams():
    assert provisional_id_of(PHONE) == "p_3ef2d64739048e73c7dbaf08"
