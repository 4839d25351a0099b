"""Tokens: one person, one token, however the number was typed."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.privacy import normalise
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import PREFIXES, Tokeniser, kind_of, tokenise

KEY = MasterKey({1: bytes(32)})
mobiles = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True).filter(lambda n: len(set(n)) > 2)
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


def one(value, kind="phone", **options):
    return Tokeniser(KEY, **options).tokens(pl.Series([value], dtype=pl.String), kind)[0]


@settings(deadline=None)
@given(mobiles, st.sampled_from(["{}", "+86{}", "+86 {}", "0086{}", "86{}", " {} ", "{}\u200b", "\u202d{}\u202c"]))
def test_a_mobile_has_one_token_in_every_spelling(number, form):
    plain = one(number)
    assert one(form.format(number)) == plain
    assert one(form.format(f"{number[:3]}-{number[3:7]} {number[7:]}")) == plain
    assert one(form.format(number.translate(FULL_WIDTH))) == plain


@settings(deadline=None)
@given(mobiles, mobiles)
def test_two_numbers_have_two_tokens(left, right):
    assert (one(left) == one(right)) == (left == right)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("13812345670", "+8613812345670"),  # the usual form
        ("(0571) 8765-4321", "+8657187654321"),  # a landline with its area code
        ("+852 6123 4567", "+85261234567"),  # Hong Kong keeps its country
        ("+1 (650) 253-0000", "+16502530000"),  # abroad
        ("12", "12"),  # no number, yet somebody wrote it: cleaned, not lost
        ("13812345670转2", "13812345670转2"),  # an extension nobody can dial: as written
        ("微信同号", "微信同号"),  # words in a number field
    ],
)
def test_phone_forms(written, normal):
    assert normalise.phone(written) == normal


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("11010519491231002X", "11010519491231002X"),  # the example of GB 11643
        ("11010519491231002x", "11010519491231002X"),  # lower x
        ("１１０１０５１９４９１２３１００２Ｘ", "11010519491231002X"),  # full-width
        ("110105491231002", "11010519491231002X"),  # 15 digits of before 1999: century and check digit added
    ],
)
def test_national_id_forms(written, normal):
    assert normalise.national_id(written) == normal


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("11010519491231002X", True),
        ("110105194912310021", False),  # wrong check digit
        ("11010519491331002X", False),  # month 13
        ("123456789012345678", False),  # 18 digits, no date
        ("11010519491231002", False),  # 17
        ("１1010519491231002X", False),  # not normalised: callers fold first
    ],
)
def test_national_id_check(text, valid):
    assert normalise.valid_national_id(text) is valid


def test_form_and_kind():
    token = one("13812345670")
    assert token.startswith("ph1_")
    assert len(token) == 36
    assert kind_of(token) == "phone"
    with pytest.raises(ValueError, match="Not a token"):
        kind_of("hello")


def test_types_are_those_of_the_contract():
    assert set(PREFIXES) == set(contracts.field("token_type").values)


def test_equal_values_of_two_kinds_have_two_tokens():
    assert one("abc123", "openid")[4:] != one("abc123", "unionid")[4:]


def test_a_handle_is_a_person_only_on_its_platform():
    handles, scope = pl.Series(["anna", "anna", "anna"]), pl.Series(["social", "live_video", "social"])
    first, second, third = tokenise(handles, "user_handle", KEY, scope)
    assert first == third != second


def test_openids_differ_by_case_and_mails_do_not():
    assert one("oA", "openid") != one("oa", "openid")
    assert one("A@B.cn", "email") == one("a@b.cn", "email")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("13800000000", "phone"),  # the clerk's favourite
        ("+86 138 0000 0000", "phone"),  # the same, spelled out
        ("00000000000", "phone"),
        ("无", "phone"),
        ("N/A", "email"),
        ("test", "user_handle"),
        ("0000", "member"),
        ("", "openid"),
        ("\u200b", "openid"),  # looks empty, is empty
        ("***********", "phone"),  # already masked by the source: everybody would be one customer
    ],
)
def test_placeholders_identify_nobody(value, kind):
    assert one(value, kind, placeholders=contracts.policy("identity")["placeholders"]) is None


def test_a_cached_value_is_made_once_and_a_placeholder_stays_none():
    made = []
    tokeniser = Tokeniser(KEY, placeholders={"any": ["无"]}, on_new=lambda *new: made.append(new))
    column = pl.Series(["13812345670", "无", None, "13812345670", "无"])
    first, again = tokeniser.tokens(column, "phone"), tokeniser.tokens(column, "phone")
    assert first.to_list() == again.to_list()
    assert first.null_count() == 3
    assert made == [(first[0], "phone", "+8613812345670")]


def test_the_cache_stays_bounded_and_right():
    tokeniser = Tokeniser(KEY, cache_values=10)
    values = pl.Series([f"139{n:08d}" for n in range(100)])
    assert tokeniser.tokens(values, "phone").equals(tokenise(values, "phone", KEY))
    for part in range(0, 100, 5):
        tokeniser.tokens(values[part : part + 5], "phone")
    assert len(tokeniser._young["phone"]) + len(tokeniser._old["phone"]) <= 32
    assert tokeniser.tokens(values, "phone").equals(tokenise(values, "phone", KEY))


def test_another_key_gives_other_tokens():
    other = MasterKey({1: b"\x01" * 32})
    assert tokenise(pl.Series(["13812345670"]), "phone", other)[0] != one("13812345670")


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=30), st.sampled_from(sorted(PREFIXES)))
def test_any_text_gives_a_token_or_null_and_never_itself(values, kind):
    tokens = tokenise(pl.Series(values, dtype=pl.String), kind, KEY).to_list()
    for value, token in zip(values, tokens, strict=True):
        assert token is None or (token.startswith(PREFIXES[kind]) and len(token) == 36)
        assert value is not None or token is None
