"""What is asked: a customer ID, or an identifier that becomes its token here and goes no further as it was typed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from pipelines.lookup.refusals import NotAnswered
from pipelines.privacy.masking import mask
from pipelines.privacy.normalise import NORMALISERS
from pipelines.privacy.tokens import Tokeniser

CUSTOMER_ID = "customer_id"
_ID = re.compile(r"[cp]_[0-9A-Za-z]{1,64}")
_MOST_CHARS = 254  # an e-mail address; everything else is shorter


@dataclass(frozen=True)
class Question:
    """`by`: customer_id or a kind of token. `subject`: the ID or the token, which is all that is ever written down."""

    by: str
    subject: str
    masked: str = field(default="", repr=False)

    def echo(self, sees_identifier: str) -> str | None:
        """What was asked for as the role may read it: the ID, the masked value, the token, or nothing."""
        if self.by == CUSTOMER_ID:
            return self.subject
        return {"masked": self.masked, "clear": self.masked, "token": self.subject}.get(sees_identifier)


def of_path(told: str, tokeniser: Tokeniser, kinds: Sequence[str]) -> Question:
    """The question of ``GET /customers/{told}``: a customer ID, or ``phone:…``, ``openid:…``. Raises NotAnswered.

    >>> from pipelines.privacy.keys import MasterKey
    >>> tokeniser = Tokeniser(MasterKey({1: bytes(32)}))
    >>> of_path("c_a1", tokeniser, ["phone"])
    Question(by='customer_id', subject='c_a1')
    >>> of_path("phone:138 1234 5670", tokeniser, ["phone"])
    Question(by='phone', subject='ph1_3ef2d64739048e73c7dbaf08a6438093')
    """
    kind, colon, value = told.partition(":")
    if colon:
        return _of_identifier(kind, value, tokeniser, kinds)
    if not _ID.fullmatch(told):
        raise NotAnswered("question.malformed")
    return Question(CUSTOMER_ID, told)


def of_body(body: bytes, tokeniser: Tokeniser, kinds: Sequence[str]) -> Question:
    """The question of ``POST /customers/search``: a JSON object with one key. Raises NotAnswered.

    >>> from pipelines.privacy.keys import MasterKey
    >>> of_body(b'{"phone": "+86 138-1234-5670"}', Tokeniser(MasterKey({1: bytes(32)})), ["phone"]).echo("masked")
    '138****5670'
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotAnswered("question.malformed", "the body is no JSON") from error
    if not isinstance(told, dict) or len(told) != 1:
        raise NotAnswered("question.malformed", f"a JSON object with one of: {', '.join((CUSTOMER_ID, *kinds))}")
    [(kind, value)] = told.items()
    if not isinstance(value, str):
        raise NotAnswered("question.malformed", "the value is a JSON string")
    if kind == CUSTOMER_ID:
        return of_path(value, tokeniser, ())
    return _of_identifier(kind, value, tokeniser, kinds)


def _of_identifier(kind: str, value: str, tokeniser: Tokeniser, kinds: Sequence[str]) -> Question:
    if kind not in kinds:
        raise NotAnswered("question.malformed", f"there is no looking up by that; by: {', '.join(kinds)}")
    if not value.strip() or len(value) > _MOST_CHARS:
        raise NotAnswered("question.malformed", f"a {kind} has 1 to {_MOST_CHARS} characters")
    token = tokeniser.token(value, kind)
    if token is None:
        raise NotAnswered("identifier.says_nothing")
    return Question(kind, token, mask(NORMALISERS[kind](value), kind))
