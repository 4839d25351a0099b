"""Hard cases that lie in the text: blanks, complaints nobody can place, personal numbers."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator

from tests.bench.case_truth import AMBIGUOUS, BLANK, KEPT, Case, Truth
from tests.bench.wire_forms import Wire


def _characters(*categories: str) -> list[str]:
    return [c for c in map(chr, range(0x20000)) if unicodedata.category(c) in categories]


# Unicode's own list of what has no glyph: separators, controls, and the default-ignorable format characters.
_PREPENDED_SIGNS = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}  # Cf, yet they are drawn
_DRAWN_FORMATS = {c for c in map(chr, [*_PREPENDED_SIGNS, *range(0x13430, 0x13440), *range(0xFFF9, 0xFFFC)])}
_UNSEEN = [c for c in _characters("Zs", "Zl", "Zp", "Cf") if c not in _DRAWN_FORMATS]
_UNSEEN += list("\u115f\u1160\u3164\uffa0\u2800\u034f\t\n\r")
_COMMON_UNSEEN = list(" \u3000\u00a0\u200b\u200c\u200d\u200e\u2060\ufeff\u00ad\u3164\n\t")
# Not the skin tones (Sk) and small squares (Sm): a reader takes those for emoji.
_EMOJI_MARKS = {*map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0x25FB, 0x25FF)), "\u2194"}
_MARKS = [c for c in _characters("Po", "Pd", "Ps", "Pe", "Pi", "Pf", "Pc", "Sm", "Sk", "Sc") if c not in _EMOJI_MARKS]
_COMMON_MARKS = list("。.，,、！!？?…~～-—·:：;；'\"“”（）()[]【】《》_^*#@/\\|+=")
_EMOJI = [*"😀😡👍🙏😭❤🌹🎁💔🤔👎🔥", "👨\u200d👩\u200d👧", "👍🏽", "🇨🇳", "❤\ufe0f", "1\ufe0f\u20e3"]


def blanks(rnd: random.Random, wire: Wire, count: int, phrases: dict) -> Iterator[list[Case]]:
    """Half of them blank in some way, half only looking so."""

    def unseen() -> str:
        pool = _COMMON_UNSEEN if rnd.random() < 0.7 else _UNSEEN
        return "".join(rnd.choices(pool, k=rnd.randint(0, 12)))

    def marks() -> str:
        pool = _COMMON_MARKS if rnd.random() < 0.8 else _MARKS
        return unseen() + "".join(rnd.choices(pool, k=rnd.randint(1, 8))) + unseen()

    for _ in range(count // 2):
        if rnd.random() < 0.5:
            form, text, why = rnd.choice([wire.turn, wire.consultation, wire.post, wire.complaint]), unseen(), "unseen"
        else:
            form, text, why = rnd.choice([wire.consultation, wire.post, wire.complaint, wire.review]), marks(), "marks"
        yield [Case("blank", why, *form(text), BLANK)]
    for _ in range(count - count // 2):
        kind = rnd.randrange(6)
        if kind == 0:
            yield [Case("blank", "chase-up in a chat", *wire.turn(marks()), KEPT)]
        elif kind == 1:
            text = unseen() + rnd.choice(_EMOJI) * rnd.randint(1, 3) + unseen()
            yield [Case("blank", "emoji", *rnd.choice([wire.turn, wire.consultation, wire.post])(text), KEPT)]
        elif kind == 2:
            text = unseen() + rnd.choice([*"嗯在好喂1２aＢéの①ß", "[微笑]", "OK", "12"]) + unseen()
            yield [Case("blank", "one character", *rnd.choice([wire.turn, wire.consultation, wire.post])(text), KEPT)]
        elif kind == 3:
            row = wire.review(unseen(), score=float(rnd.randint(1, 5)), order_id=wire.new_id("o"))
            yield [Case("blank", "a bare score", *row, Truth(score_verdict="normal"))]
        elif kind == 4:
            row = wire.consultation(unseen(), media=True)
            yield [Case("blank", "a picture", *row, KEPT)]
        else:
            text = "".join(c + unseen() for c in rnd.choice(phrases["questions"]))
            yield [Case("blank", "words among zero-width", *wire.consultation(text), KEPT)]


def ambiguous_complaints(rnd: random.Random, wire: Wire, count: int, phrases: dict) -> Iterator[list[Case]]:
    """Complaints a reader could not place, between complaints that say plainly what is wrong."""
    for _ in range(count // 2):
        pool = rnd.choice(["vague", "contradictory"])
        text = rnd.choice(phrases[pool]) + rnd.choice(["", "。", "！", "……", "~", " "])
        form = rnd.choice([wire.complaint, wire.app_complaint])
        yield [Case("ambiguous", pool, *form(text, order_id=wire.new_id("o")), AMBIGUOUS)]
    for _ in range(count - count // 2):
        pool = rnd.choice(["complaints", "short_complaints", "mixed"])
        text = rnd.choice(phrases[pool]) + rnd.choice(["", "。", "！", "……"])
        form = rnd.choice([wire.complaint, wire.app_complaint])
        yield [Case("ambiguous", pool, *form(text, order_id=wire.new_id("o")), KEPT)]


def personal_numbers(rnd: random.Random, wire: Wire, count: int, phrases: dict) -> Iterator[list[Case]]:
    """Texts with a number that identifies somebody, and texts with one that does not."""

    def digits(size: int) -> str:
        return "".join(rnd.choices("0123456789", k=size))

    for _ in range(count // 2):
        number = f"1{rnd.choice('3456789')}{digits(9)}"
        wide = number.translate(str.maketrans("0123456789", "０１２３４５６７８９"))
        parts = number[:3], number[3:7], number[7:]
        forms = [number, wide, f"+86{number}", f"86-{number}", *(mark.join(parts) for mark in (" ", "-", "\u200b"))]
        text = f"{rnd.choice(phrases['questions'])}电话{rnd.choice(forms)}，{rnd.choice(phrases['answers'])}"
        yield [Case("personal_number", "a phone", *wire.turn(text), Truth(hidden=(number,)))]
    for _ in range(count - count // 2):
        other = rnd.choice(
            [digits(15), "2" + digits(17), "20260109" + digits(6), f"{rnd.randint(1, 9999)}元", "400" + digits(7)]
        )
        text = f"{rnd.choice(phrases['questions'])}单号{other}，{rnd.choice(phrases['answers'])}"
        yield [Case("personal_number", "no phone", *wire.turn(text), Truth(shown=(other,)))]
