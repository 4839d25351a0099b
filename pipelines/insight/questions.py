"""From what a customer wrote to the question in it: the asking sentence, without personal tokens, and its key terms."""

from __future__ import annotations

import functools
import re
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jieba

# Stand-ins for numbers and pictures say nothing about the question: our tokens (ph1_3ef2…), [订单x], [图片], <img …>.
_STAND_INS = re.compile(
    # No \b: a Chinese character counts as a letter, so there is no word boundary beside a token.
    r"(?<![a-z])[a-z]{2}\d{1,3}_[0-9a-f]{32}|\[[^\[\]]{1,12}\]|<[^<>]{1,200}>|https?://[!-~]+|#[A-Z]-[a-z]\S*"
)
_SENTENCE = re.compile(r"[^。！!？?；;\n\r…~～]+[？?]*")
_NUMBERS = re.compile(r"\d+(?:[.,:/-]\d+)*")
_SPACE = re.compile(r"[\s\u200b-\u200f\u3000\ufeff]+")
_SPACE_BEFORE_MARK = re.compile(r" +(?=[,，、:：])")
_SAYS = re.compile(r"[^\W\d_]")
_EDGES = " ,，、:：.．-—_*\"'“”()（）"
# Each of these kinds opens a question; a turn of a conversation must ask to be one.
_ALWAYS_ASKS = frozenset({"consultation", "complaint"})


class Question(NamedTuple):
    """The asking sentence as written (personal numbers stripped) and its key terms, sorted, joined by blanks."""

    question: str
    terms: str


@dataclass(frozen=True)
class Asking:
    """What makes a sentence a question and which words count; from policy ``questions``."""

    asks: re.Pattern[str]
    customer_speaks: re.Pattern[str]
    agent_speaks: re.Pattern[str]
    stop_words: frozenset[str]
    short_terms: frozenset[str]
    words: tuple[str, ...]
    max_chars: int
    min_terms: int

    @classmethod
    def from_policy(cls, policy: Mapping[str, Any], *, max_chars: int, min_terms: int) -> Asking:
        """Words of ``schemas/policies/questions.yaml``; sizes come from policy ``gold.hot_questions``."""
        chinese = "|".join(map(re.escape, [*policy["asks"], *policy["demands"]]))
        english = "|".join(map(re.escape, policy["asks_english"]))
        return cls(
            asks=re.compile(rf"[?？]|{chinese}|\b(?:{english})\b", re.IGNORECASE),
            customer_speaks=_line_of(policy["customer_labels"]),
            agent_speaks=_line_of(policy["agent_labels"]),
            stop_words=frozenset(policy["stop_words"]),
            short_terms=frozenset(policy["short_terms"]),
            words=tuple(policy["words"]),
            max_chars=max_chars,
            min_terms=min_terms,
        )


def _line_of(labels: Sequence[str]) -> re.Pattern[str]:
    """The beginning of a line of somebody's: a time at most, the label, a short name or number, a colon."""
    named = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    return re.compile(
        rf"^\s*(?:[\[(（]?[\d:.\-/ ]+[\])）]?\s*)?(?:{named})[^\S\n]?[^\s:：]{{0,6}}\s*[:：]\s*", re.IGNORECASE
    )


def question_of(text: str | None, subject: str | None, kind: str, asking: Asking) -> Question | None:
    """The first sentence of subject, then text, that asks something; None where nothing is asked.

    A call, mail, form, post or complaint always asks: without an asking sentence its first one that says anything
    stands for it. A turn of a conversation that neither asks nor demands (好的, 谢谢) is no question. Of a transcript
    only the customer's lines count, without the name of the speaker.

    >>> from pipelines import contracts
    >>> asking = Asking.from_policy(contracts.policy("questions"), max_chars=60, min_terms=1)
    >>> question_of("你好。我的电话ph1_3ef2d64739048e73c7dbaf08a6438093，怎么退货？谢谢", None, "message", asking)
    Question(question='我的电话，怎么退货？', terms='电话 退货')
    >>> question_of("好的，谢谢", None, "message", asking) is None
    True
    >>> question_of("包装破了，里面也湿了", None, "complaint", asking).terms
    '包装 破'
    >>> question_of("坐席：您要办什么？\\n客户：怎么退货", None, "consultation", asking).question
    '怎么退货'
    """
    fallback = None
    for part in (subject, text):
        for sentence in _sentences(_by_the_customer(part, asking)):
            asks = asking.asks.search(sentence) is not None
            if not asks and (fallback is not None or kind not in _ALWAYS_ASKS):
                continue
            sentence = sentence[: asking.max_chars]
            found = key_terms(sentence, asking)
            if len(found) < asking.min_terms:
                continue
            question = Question(sentence, " ".join(found))
            if asks:
                return question
            fallback = question
    return fallback


def key_terms(sentence: str, asking: Asking) -> Sequence[str]:
    """Different words of a sentence that say what it is about, sorted; numbers and stop words say nothing.

    >>> from pipelines import contracts
    >>> asking = Asking.from_policy(contracts.policy("questions"), max_chars=60, min_terms=1)
    >>> key_terms("请问２号订单的电子发票怎么开？", asking)
    ['电子发票', '订单']
    """
    folded = _NUMBERS.sub(" ", unicodedata.normalize("NFKC", sentence).lower())
    words = {w.strip() for w in _dictionary(asking.words).lcut(folded)}
    return sorted(w for w in words if _counts(w, asking))


def _counts(word: str, asking: Asking) -> bool:
    if word in asking.stop_words or not _SAYS.search(word):
        return False
    return len(word) > 1 or word in asking.short_terms


def _by_the_customer(text: str | None, asking: Asking) -> str | None:
    """Of a transcript, which names the customer at least once, what the customer said; any other text as it is.

    A line that names nobody goes on with what the line before it said; before the first name nobody is known to speak.
    客服：… alone is no transcript: a customer may begin a complaint about the service so.
    """
    said, customer_speaks, is_transcript = [], False, False
    for line in (text or "").replace("\r", "\n").split("\n"):
        if asking.agent_speaks.match(line):
            customer_speaks = False
        elif found := asking.customer_speaks.match(line):
            customer_speaks = is_transcript = True
            line = line[found.end() :]
        if customer_speaks:
            said.append(line)
    return "\n".join(said) if is_transcript else text


def _sentences(text: str | None) -> list[str]:
    if not text:
        return []
    bare = _SPACE.sub(" ", _STAND_INS.sub(" ", text.replace("\r", "\n").replace("\n", "。")))
    bare = _SPACE_BEFORE_MARK.sub("", bare)
    cut = (s.strip(_EDGES) for s in _SENTENCE.findall(bare))
    return [s for s in cut if _SAYS.search(s)]


@functools.lru_cache(maxsize=2)
def _dictionary(words: tuple[str, ...]) -> jieba.Tokenizer:
    """A tokenizer of our own: the module's global one may carry anybody's words."""
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    # Its cache is a marshal file; in the shared temporary folder anybody could put one there.
    with tempfile.TemporaryDirectory(prefix="kefulake-jieba-") as private:
        tokenizer.tmp_dir = private
        tokenizer.initialize()
    for word in words:
        tokenizer.add_word(word)
    return tokenizer
