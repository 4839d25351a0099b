"""Numbers inside sentences: phones, national IDs, bank cards and e-mails become tokens, the sentence stays readable."""

import json
from collections.abc import Callable

import numpy as np
import polars as pl

from pipelines.privacy.number_finder import find
from pipelines.privacy.tokens import Tokeniser

LABELS = {"phone": "phone", "national_id": "id", "bank_card": "card", "email": "email"}

# Two sieves, both linear in Rust. The first asks for seven digits within a stretch, in any script and with anything
# that people put between them, or an @: ordinary text pays for this only (0.1 µs). Chinese numerals count as digits.
_DIGIT = r"[\p{Nd}〇零一二三四五六七八九幺①-⑨⓪]"
_GAP = r"[\s\p{Cf}\p{Pd}\x{FE0F}\x{20E3}−.．·_＿()（）/]{0,3}"
SIEVE = rf"(?:{_DIGIT}{_GAP}){{7}}|[@＠]"


def redact(text: pl.Series, tokeniser: Tokeniser, *, kinds: frozenset[str] = frozenset(LABELS)) -> pl.Series:
    """The text with each personal number replaced by ``[phone:ph1_…]``, ``[id:…]``, ``[card:…]`` or ``[email:…]``.

    The token is the one the same number has in its own field, so a phone written into a chat can be found and joined.
    Their vault entries come out where the tokeniser's `on_new` leads. A number is taken for a phone only if its
    digits stand alone: 138123456701234 (15 digits) is an order number and stays.

    >>> from pipelines.privacy.keys import MasterKey
    >>> tokeniser = Tokeniser(MasterKey({1: bytes(32)}))
    >>> redact(pl.Series(["电话１３８-1234-5670，谢谢", "订单138123456701234没到", None]), tokeniser).to_list()
    ['电话[phone:ph1_3ef2d64739048e73c7dbaf08a6438093]，谢谢', '订单138123456701234没到', None]
    """
    return _replace(text, lambda value: redact_one(value, tokeniser, kinds))


def redact_json(text: pl.Series, tokeniser: Tokeniser, *, kinds: frozenset[str] = frozenset(LABELS)) -> pl.Series:
    """The same for JSON text (attributes): strings and numbers inside are looked at, and it stays JSON.

    >>> from pipelines.privacy.keys import MasterKey
    >>> redact_json(pl.Series(['{"callback":13812345670,"at":1760000000000}']), Tokeniser(MasterKey({1: bytes(32)})))[0]
    '{"callback":"[phone:ph1_3ef2d64739048e73c7dbaf08a6438093]","at":1760000000000}'
    """

    def redact_document(document: str) -> str:
        if redact_one(document, tokeniser, kinds) is document:
            return document
        try:
            parsed = json.loads(document)
        except (ValueError, RecursionError):
            return redact_one(document, tokeniser, kinds)  # no JSON after all: better broken than personal
        return json.dumps(_redact_tree(parsed, tokeniser, kinds), ensure_ascii=False, separators=(",", ":"))

    return _replace(text, redact_document)


def _redact_tree(node: object, tokeniser: Tokeniser, kinds: frozenset[str]) -> object:
    if isinstance(node, str):
        return redact_one(node, tokeniser, kinds)
    if isinstance(node, dict):
        return {redact_one(key, tokeniser, kinds): _redact_tree(value, tokeniser, kinds) for key, value in node.items()}
    if isinstance(node, list):
        return [_redact_tree(value, tokeniser, kinds) for value in node]
    if isinstance(node, int | float) and not isinstance(node, bool):  # a spreadsheet writes a phone as 13812345670.0
        redacted = redact_one(digits := str(node), tokeniser, kinds)
        return node if redacted is digits else redacted
    return node


def _replace(text: pl.Series, rewrite: Callable[[str], str]) -> pl.Series:
    """`rewrite` on the texts that pass the sieve; it gives back the very object where it changed nothing."""
    if text.null_count() == len(text):
        return text
    suspects = np.flatnonzero(text.str.contains(SIEVE).to_numpy())  # a NULL is not true there
    if len(suspects) == 0:
        return text
    before = text[suspects].to_list()
    after = [rewrite(value) for value in before]
    changed = [(row, new) for row, old, new in zip(suspects, before, after, strict=True) if new is not old]
    if not changed:
        return text
    rows, values = zip(*changed, strict=True)
    return text.scatter(list(rows), pl.Series(values, dtype=pl.String))


def redact_one(text: str, tokeniser: Tokeniser, kinds: frozenset[str] = frozenset(LABELS)) -> str:
    """One text; the very object given where nothing personal is in it."""
    spans = find(text, kinds)
    if not spans:
        return text
    parts, end = [], 0
    for span in spans:
        token = tokeniser.token(span.value, span.kind) or "none"  # a placeholder number identifies nobody
        parts += [text[end : span.start], f"[{LABELS[span.kind]}:{token}]"]
        end = span.end
    return "".join([*parts, text[end:]])
