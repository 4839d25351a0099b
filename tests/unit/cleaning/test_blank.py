"""Blank consultations: what says nothing, and what only looks as if it did."""

import polars as pl
import pytest

from pipelines import contracts
from pipelines.cleaning.blank import blank_consultation

POLICY = contracts.policy("cleaning")["blank"]


def blank(kind, text, role="customer", **columns):
    def column(name, dtype=pl.String):
        return pl.Series(name, [columns.get(name)], dtype=dtype)

    return blank_consultation(
        pl.Series([kind], dtype=pl.String),
        pl.Series([role], dtype=pl.String),
        pl.Series([text], dtype=pl.String),
        subject=column("subject"),
        media=column("media"),
        score=column("score", pl.Float64),
        handle_time_s=column("handle_time_s", pl.Float64),
        **POLICY,
    )[0]


INVISIBLE = [
    None,
    "",
    " ",
    "\u3000\u3000",  # ideographic space
    "\t\r\n",
    "\u00a0",  # no-break space
    "\u200b",  # zero-width space
    "\u200b\u200c\u200d\u200e\u200f",  # the whole zero-width family
    "\u2060\ufeff\u00ad",  # word joiner, BOM, soft hyphen
    "\u202a\u202c",  # bidi marks alone
    "\u3164",  # Hangul filler, the "invisible name" of chats
    "\u2800",  # braille blank
    "\ufe0f",  # a variation selector without its emoji
    "\x00\x07\x1b",  # controls
    "\ufffc",  # object replacement: the object is gone
]
MARKS = [
    "。",
    "。。。。",
    "…",
    "……",
    "???",
    "？？？",
    "!",
    "~",
    "～～",
    "、",
    "·",
    "-",
    "=====",
    "^_^",
    "()",
    "$",
    "+",
    "　。　",
]
SPEAKS = [
    "嗯",
    "1",
    "１",
    "a",
    "？1",
    "👍",
    "😡😡😡",
    "🇨🇳",
    "❤️",  # heart with variation selector
    "👨\u200d👩\u200d👧",  # a family joined by zero-width joiners
    "[微笑]",  # the chat's word for an emoji
    "①",
    "。好。",
    "é",
    "ß",
    "の",
]


@pytest.mark.parametrize("text", INVISIBLE)
@pytest.mark.parametrize("kind", ["consultation", "feedback", "complaint", "message"])
def test_what_cannot_be_seen_is_blank_everywhere(kind, text):
    assert blank(kind, text)


@pytest.mark.parametrize("text", MARKS)
def test_marks_alone_are_blank_in_a_contact_and_a_chase_up_in_a_chat(text):
    assert blank("consultation", text)
    assert blank("complaint", text)
    assert not blank("message", text)


@pytest.mark.parametrize("text", SPEAKS)
@pytest.mark.parametrize("kind", ["consultation", "complaint", "message"])
def test_a_letter_a_digit_or_an_emoji_speaks(kind, text):
    assert not blank(kind, text)


@pytest.mark.parametrize(
    ("kind", "columns", "expected"),
    [
        ("feedback", {"score": 5.0}, False),  # a bare score is an opinion
        ("feedback", {"score": 0.0}, False),  # the lowest NPS too
        ("consultation", {"media": '[{"uri":"x"}]'}, False),  # a picture is worth a question
        ("message", {"media": '[{"uri":"x"}]'}, False),
        ("consultation", {"media": "[]"}, True),  # an empty list of pictures is none
        ("consultation", {"subject": "退货"}, False),  # a mail with only a subject
        ("consultation", {"subject": " "}, True),
        ("consultation", {"handle_time_s": 40.0}, False),  # a call that was served, transcript empty
        ("record", {}, False),  # receipts need not speak
        ("ticket_event", {}, False),
    ],
)
def test_other_ways_to_speak(kind, columns, expected):
    assert blank(kind, "\u200b", **columns) is expected


def test_a_system_turn_is_no_consultation_and_an_agents_empty_turn_is_blank():
    assert not blank("message", "", role="system")
    assert blank("message", "", role="agent")


def test_one_row_does_not_colour_the_others():
    frame = blank_consultation(
        pl.Series(["consultation", "message", "record", "consultation"]),
        pl.Series(["customer"] * 4),
        pl.Series(["。", "。", None, "好"]),
        subject=pl.Series([None] * 4, dtype=pl.String),
        media=pl.Series([None] * 4, dtype=pl.String),
        score=pl.Series([None] * 4, dtype=pl.Float64),
        handle_time_s=pl.Series([None] * 4, dtype=pl.Float64),
        **POLICY,
    )
    assert frame.to_list() == [True, False, False, False]
