"""Finds personal numbers in one text. Linear in its length: hostile text cannot stall it.

Digits are read in groups, as they were typed (138 1234 5670 is three groups). Only whole groups, alone or joined
over their separators, may make up a number: eleven digits inside a longer group are somebody's order number.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from pipelines.privacy.normalise import valid_national_id


class Span(NamedTuple):
    """A personal number: where it stands in the text, and its digits as a normaliser takes them."""

    start: int
    end: int
    kind: str
    value: str


_CHINESE = {c: d for d, cs in enumerate(["〇零", "一幺", "二", "三", "四", "五", "六", "七", "八", "九"]) for c in cs}
_CHINESE |= {"⓪": 0} | {chr(0x2460 + n): n + 1 for n in range(9)}
_SIGNS = {"＠": "@", "．": ".", "（": "(", "）": ")", "Ｘ": "X", "ｘ": "x", "－": "-", "＋": "+", "＿": "_"}

# A run: digit groups with at most three separating characters between them. Separator and digit classes are disjoint
# and each repetition is bounded or anchored on a digit, so the search never walks back. No commas: they part numbers.
_SEPARATORS = r"[\s\u00ad\u200b-\u200f\u2060\ufeff\ufe0f\u20e3\-‐-―−.·_()/]{0,3}"
_RUN = re.compile(rf"[0-9](?:{_SEPARATORS}[0-9])*[xX]?")
_GROUP = re.compile(r"[0-9]+[xX]?")
_MIN_DIGITS, _MAX_DIGITS, _MAX_GROUPS = 9, 19, 12

_MOBILE = re.compile(r"(?:86|0086|0)?(1[3-9][0-9]{9})")
# Area codes: 010, 02x, and 0[3-9]xx; the local number does not begin with 0 or 1.
_LANDLINE = re.compile(r"(?:86|0086)?(0(?:10|2[0-9])[2-9][0-9]{7}|0[3-9][0-9]{2}[2-9][0-9]{6,7})")
# Issuer ranges of cards people carry in China: UnionPay 62 (16-19), ICBC 9558 (19), Visa, MasterCard, JCB, Amex.
_CARD = re.compile(
    r"62[0-9]{14,17}|9558[0-9]{15}|4[0-9]{15}|5[1-5][0-9]{14}|2[2-7][0-9]{14}|35[0-9]{14}|6[05][0-9]{14}|3[47][0-9]{13}"
)
_HEX = frozenset("0123456789abcdefABCDEF")
_MIN_HEX = 24  # a checksum or token this long is no phone, whatever digits it holds
_LOCAL = re.compile(r"[A-Za-z0-9._%+\-]{1,64}$")
_DOMAIN = re.compile(r"[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8}")


def find(text: str, kinds: frozenset[str]) -> list[Span]:
    """All personal numbers, left to right, none overlapping."""
    flat = text if text.isascii() else "".join(map(_flat, text))  # one character for one: positions stay
    spans = _emails(flat) if "email" in kinds and "@" in flat else []
    taken = [(span.start, span.end) for span in spans]
    for run in _RUN.finditer(flat):
        if run.end() - run.start() < _MIN_DIGITS or any(a < run.end() and run.start() < b for a, b in taken):
            continue
        groups = [m.span() for m in _GROUP.finditer(flat, run.start(), run.end())]
        spans += _numbers(flat, [g for g in groups if not _inside_digest(flat, *g)], kinds)
    return sorted(spans)


@lru_cache(maxsize=4096)
def _flat(character: str) -> str:
    """The ASCII digit or sign a character stands for, else itself."""
    if character in _CHINESE:
        return str(_CHINESE[character])
    digit = unicodedata.decimal(character, None)
    return _SIGNS.get(character, character) if digit is None else str(digit)


def luhn(digits: str) -> bool:
    """True where the last digit checks the others (ISO/IEC 7812).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(doubled) + sum(int(d) for d in digits[-1::-2])) % 10 == 0


def _numbers(flat: str, groups: list[tuple[int, int]], kinds: frozenset[str]) -> list[Span]:
    spans, first = [], 0
    while first < len(groups):
        found, next_first, digits, sizes = None, first + 1, "", []
        for start, end in groups[first : first + _MAX_GROUPS]:
            digits += flat[start:end]
            sizes.append(end - start)
            if len(digits) > _MAX_DIGITS + 1:
                break
            kind, value = _kind_of(digits, sizes, kinds)
            if kind:
                found, next_first = Span(groups[first][0], end, kind, value), first + len(sizes)
                if len(sizes) == 1:
                    break  # a group that is a number by itself is not joined with what follows
        if found:
            plus = found.start > 0 and flat[found.start - 1] == "+"
            spans.append(found._replace(start=found.start - plus))
        first = next_first
    return spans


def _kind_of(digits: str, sizes: list[int], kinds: frozenset[str]) -> tuple[str | None, str]:
    if len(digits) == 18 and "national_id" in kinds and valid_national_id(digits.upper()):
        return "national_id", digits.upper()
    bare = digits.rstrip("xX")
    if 15 <= len(bare) <= 19 and "bank_card" in kinds and _CARD.fullmatch(bare) and luhn(bare):
        return "bank_card", bare
    if 10 <= len(bare) <= 16 and "phone" in kinds:
        mobile = _MOBILE.fullmatch(bare)
        if mobile and _typed_as_phone(sizes, len(bare) - 11):
            return "phone", mobile[1]
        landline = _LANDLINE.fullmatch(bare)
        if landline and len(sizes) <= 4 and (sizes[0] >= 3 or bare.startswith("86")):
            return "phone", landline[1]
    return None, ""


def _typed_as_phone(sizes: list[int], prefix_digits: int) -> bool:
    """138 1234 5670, +86 138…, or digit by digit; not a row of small figures such as '13 500 600 700'."""
    own = sizes[1:] if prefix_digits and sizes[0] == prefix_digits and len(sizes) > 1 else sizes
    return len(own) == 1 or (len(own) <= 4 and own[0] >= 3) or max(sizes) <= 2


def _inside_digest(flat: str, start: int, end: int) -> bool:
    """True where a group stands in a long hexadecimal word with letters: a checksum, one of our own tokens."""
    left, right = start, end
    while left > 0 and start - left < _MIN_HEX and flat[left - 1] in _HEX:
        left -= 1
    while right < len(flat) and right - end < _MIN_HEX and flat[right] in _HEX:
        right += 1
    return right - left >= _MIN_HEX and sum(c.isalpha() for c in flat[left:right]) >= 3


def _emails(flat: str) -> list[Span]:
    spans, at, end = [], flat.find("@"), 0
    while at != -1:
        local = _LOCAL.search(flat, max(end, at - 64), at)
        domain = _DOMAIN.match(flat, at + 1)
        if local and domain and "." in domain[0]:
            end = domain.end()
            spans.append(Span(local.start(), end, "email", flat[local.start() : end]))
        at = flat.find("@", at + 1)
    return spans
