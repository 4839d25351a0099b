"""Complaints no rule can place: a person reads and labels them, and the label flows back."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from typing import NamedTuple

import polars as pl

from pipelines.cleaning.rows import rows_where
from pipelines.cleaning.text_normalisation import INVISIBLE_RUN

REASONS = {
    "complaint.vague": "The complaint says how the customer feels and names no problem.",
    "complaint.contradictory": "The complaint, or the low score, comes with praise and names no problem.",
}

_LETTER = r"\p{Han}|[\p{L}--\p{Han}]{1,8}"  # a word of another script counts as one
# Characters no text has, to stand where praise was (不错 holds no 错), where it was denied (不满意), and where what was
# denied says what is wrong (不新鲜).
_PRAISED, _NEGATED, _FAULT = "\ue000", "\ue001", "\ue002"
_PRAISING_CLAUSE = rf"[^\p{{P}}]*{_PRAISED}[^\p{{P}}]*"


def _any_of(words: tuple[str, ...]) -> str:
    """The words, as they stand in a lower-case text without white space, as one alternation, the longest first.

    polars keeps compiled expressions; an Aho-Corasick automaton of 300 words would be built anew for each batch
    (0.4 ms, eight times the price of the batch itself).
    """
    seen = {word.replace(" ", "").lower() for word in words}
    return "(?:" + "|".join(re.escape(word) for word in sorted(seen, key=len, reverse=True)) + ")"


def _either(words: str, patterns: Sequence[str]) -> str:
    return f"(?:{'|'.join([words, *patterns])})"


def ambiguous_complaint(
    kind: pl.Series,
    sender_role: pl.Series,
    text: pl.Series,
    *,
    subject: pl.Series,
    score: pl.Series,
    score_scale_max: pl.Series,
    low_score_share: float,
    max_chars: int,
    problem_words: list[str],
    problem_patterns: list[str],
    topic_words: list[str],
    praise_words: list[str],
    merit_words: list[str],
    praise_patterns: list[str],
    contrast_words: list[str],
    negations: list[str],
    idioms: list[str],
    empty_words: list[str],
) -> pl.Series:
    """The reason to ask a person (a key of REASONS), NULL where the rule sees none.

    Looked at: complaints, and feedback whose score is at most `low_score_share` of its scale, both with a text of up
    to `max_chars`. One of `problem_words` or a form of `problem_patterns` (不灵, 被盗, 掉漆) places it, however short,
    and so does a merit that is denied (不新鲜). Else pure praise contradicts the complaint: no denied praise, none of
    `contrast_words` and no other news beside it. Else the text is vague if it names no topic (味道一般 does) and is
    made of `empty_words`, which say how somebody feels or nothing: those are few, problems have no end, so a word we do
    not know is taken for one. `idioms` only sound like a problem, a topic or praise and are passed over.

    >>> nothing = pl.Series([None] * 6, dtype=pl.String)
    >>> ambiguous_complaint(pl.Series(["complaint"] * 5 + ["feedback"]), pl.Series(["customer"] * 6),
    ...     pl.Series(["太慢了", "你们看着办", "服务非常满意", "服务一般", "不好吃", "好吃"]), subject=nothing,
    ...     score=pl.Series([None] * 5 + [5.0]), score_scale_max=pl.Series([None] * 5 + [5.0]), low_score_share=0.4,
    ...     max_chars=40, problem_words=["慢"], problem_patterns=[], topic_words=["服务"], praise_words=["满意"],
    ...     merit_words=["好吃"], praise_patterns=["很好$"], contrast_words=["但"], negations=["不"],
    ...     idioms=["没有下次"], empty_words=["你们", "看着办"]).to_list()
    [None, 'complaint.vague', 'complaint.contradictory', None, None, None]
    """
    verdicts = pl.Series("ambiguous", [None] * len(kind), dtype=pl.String)
    columns = {"kind": kind, "role": sender_role, "text": text, "score": score, "scale": score_scale_max}
    rows = rows_where(pl.DataFrame(columns).select(_looked_at(low_score_share, max_chars)).to_series())
    if not rows:
        return verdicts
    lists = (praise_words + merit_words, merit_words, problem_words, topic_words, contrast_words, negations)
    lists += (idioms, empty_words, problem_patterns, praise_patterns)
    steps = _steps(*map(tuple, lists))
    said = _apply(steps.said, {"subject": subject[rows].cast(pl.String), "text": text[rows]})
    rows, said = _where([0 < len(one) <= max_chars for one in said], rows, said)
    marked = _apply(steps.marks, {"said": said})
    # Most complaints name a problem; only what does not is looked at further.
    rows, marked = _where(_apply(~steps.placed, {"marked": marked}), rows, marked)
    reasons = _apply(steps.reason, {"marked": marked})
    rows, reasons = _where([reason is not None for reason in reasons], rows, reasons)
    return verdicts.scatter(rows, reasons) if rows else verdicts


def _apply(step: pl.Expr, columns: dict[str, list[str] | pl.Series]) -> list:
    """One expression at a time: two in one selection are handed to another thread, and on full cores that waits."""
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return frame.select(step).to_series().to_list() if len(frame) else []


def _where(holds: list[bool], *columns: list) -> tuple[list, ...]:
    return tuple(list(compress(column, holds)) for column in columns)


@lru_cache(maxsize=8)
def _looked_at(low_score_share: float, max_chars: int) -> pl.Expr:
    # Long texts leave at once; three times the length gives room for what will not be seen.
    short = pl.col("text").str.len_chars().fill_null(0) <= 3 * max_chars
    low = (pl.col("score") / pl.col("scale") <= low_score_share).fill_null(False)
    wanted = (pl.col("kind") == "complaint") | ((pl.col("kind") == "feedback") & low)
    return (wanted & (pl.col("role") == "customer") & short).fill_null(False)


class _Steps(NamedTuple):
    said: pl.Expr
    marks: pl.Expr
    placed: pl.Expr
    reason: pl.Expr


Words = tuple[str, ...]


@lru_cache(maxsize=8)
def _steps(
    praised: Words, merits: Words, problems: Words, topics: Words, contrasts: Words, negated: Words,
    idioms: Words, empties: Words, problem_patterns: Words, praise_patterns: Words,
) -> _Steps:  # fmt: skip
    """The rule as expressions, built once a policy: building them cost a small batch more than its rows."""
    groups = (praised, merits, problems, topics, contrasts, negated, idioms, empties)
    praise, merit, problem, topic, contrast, negation, idiom, empty = map(_any_of, groups)
    said, marked = pl.col("said"), pl.col("marked")
    whole = pl.col("subject").fill_null("") + "。" + pl.col("text").fill_null("")
    marks = (
        said.str.replace_all(idiom, "")
        .str.replace_all(negation + merit, _FAULT)
        .str.replace_all(negation + _either(praise, praise_patterns), _NEGATED)
        .str.replace_all(praise, _PRAISED)
        .str.replace_all(_either(_PRAISED, praise_patterns), _PRAISED)
    )
    # Words and patterns apart: in one expression with patterns 1,000 words lose their automaton, and a row costs 36 µs
    # in place of 2.
    placed = marked.str.contains(problem) | marked.str.contains(_either(_FAULT, problem_patterns))
    # Beside the clauses that praise, does another say something? One letter left over is a slip of the pen; two are a
    # word we do not know, so somebody meant something.
    other = marked.str.replace_all(_PRAISING_CLAUSE, "").str.replace_all(empty + "|" + topic, "")
    denied = marked.str.contains(contrast + "|" + _NEGATED)
    pure = marked.str.contains(_PRAISED) & ~denied & (other.str.count_matches(_LETTER) < 2)
    says_nothing = marked.str.replace_all(empty, "").str.count_matches(_LETTER) < 2
    reason = (
        pl.when(pure)
        .then(pl.lit("complaint.contradictory"))
        .when(~marked.str.contains(topic) & says_nothing)
        .then(pl.lit("complaint.vague"))
    )
    return _Steps(
        whole.str.replace_all(INVISIBLE_RUN, "").str.strip_chars("。").str.to_lowercase(),
        marks,
        placed,
        reason,
    )
