"""Complaints no rule can place: a person reads and labels them, and the label flows back."""

import re
from functools import lru_cache

import polars as pl

from pipelines.cleaning.text_normalisation import INVISIBLE_RUN

REASONS = {
    "complaint.vague": "The complaint says how the customer feels and names no problem.",
    "complaint.contradictory": "The complaint, or the low score, comes with praise and names no problem.",
}

_LETTER = r"[\p{L}\p{N}]"
_NEGATED = "\ue000"  # stands where a negated praise was: a character no text has


@lru_cache(maxsize=32)
def _any_of(words: tuple[str, ...]) -> str:
    """The words, as they stand in a lower-case text without white space, as one alternation, the longest first.

    polars keeps compiled expressions; an Aho-Corasick automaton of 300 words would be built anew for each batch
    (0.4 ms, eight times the price of the batch itself).
    """
    seen = {word.replace(" ", "").lower() for word in words}
    return "(?:" + "|".join(re.escape(word) for word in sorted(seen, key=len, reverse=True)) + ")"


def _either(words: str, patterns: list[str]) -> str:
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
    min_chars: int,
    vague_max_chars: int,
    max_chars: int,
    problem_words: list[str],
    problem_patterns: list[str],
    topic_words: list[str],
    praise_words: list[str],
    praise_patterns: list[str],
    contrast_words: list[str],
    negations: list[str],
    idioms: list[str],
    empty_words: list[str],
) -> pl.Series:
    """The reason to ask a person (a key of REASONS), NULL where the rule sees none.

    Looked at: complaints, and feedback whose score is at most `low_score_share` of its scale, both with a text of up
    to `max_chars`. One of `problem_words` places it, however short: 太慢了 is clear. Else pure praise contradicts the
    complaint: none behind one of `negations`, no `contrast_words` and no other news beside it. Else a topic places it
    (味道一般); else it is vague below `min_chars`, or below `vague_max_chars` if it is made of `empty_words`, which say
    how somebody feels or nothing. `idioms` only sound like a problem and are passed over. The patterns are what many
    words are made by: 不灵, 不进电, 被盗, 掉漆.

    >>> nothing = pl.Series([None] * 5, dtype=pl.String)
    >>> ambiguous_complaint(pl.Series(["complaint"] * 4 + ["feedback"]), pl.Series(["customer"] * 5),
    ...     pl.Series(["太慢了", "你们看着办", "服务非常满意", "服务一般", "好吃"]), subject=nothing,
    ...     score=pl.Series([None] * 4 + [5.0]), score_scale_max=pl.Series([None] * 4 + [5.0]), low_score_share=0.4,
    ...     min_chars=4, vague_max_chars=12, max_chars=40, problem_words=["慢"], problem_patterns=[],
    ...     topic_words=["服务"], praise_patterns=[], praise_words=["满意", "好吃"],
    ...     contrast_words=["但"], negations=["不"], idioms=["没有下次"],
    ...     empty_words=["你们", "看着办"]).to_list()
    [None, 'complaint.vague', 'complaint.contradictory', None, None]
    """
    verdicts = pl.Series("ambiguous", [None] * len(kind), dtype=pl.String)
    # Long texts leave at once; three times the length gives room for what will not be seen.
    short = pl.col("text").str.len_chars().fill_null(0) <= 3 * max_chars
    low = (pl.col("score") / pl.col("scale") <= low_score_share).fill_null(False)
    looked_at = (pl.col("kind") == "complaint") | ((pl.col("kind") == "feedback") & low)
    columns = {"kind": kind, "role": sender_role, "text": text, "score": score, "scale": score_scale_max}
    frame = pl.DataFrame(columns).select((looked_at & (pl.col("role") == "customer") & short).fill_null(False))
    rows = frame.to_series().arg_true()
    if len(rows) == 0:
        return verdicts
    lists = (praise_words, problem_words, topic_words, contrast_words, negations, idioms, empty_words)
    praise, problem, topic, contrast, negation, idiom, empty = (_any_of(tuple(words)) for words in lists)
    praise, problem = _either(praise, praise_patterns), _either(problem, problem_patterns)
    column, size = pl.col, pl.col("said").str.len_chars()
    # Beside the clauses that praise, does another say something? One letter left over is a slip of the pen; two are a
    # word we do not know, so somebody meant something.
    no_clause = rf"[^\p{{P}}]*{praise}[^\p{{P}}]*"
    other = column("asserted").str.replace_all(no_clause, "").str.replace_all(empty + "|" + topic, "")
    pure = (
        column("asserted").str.contains(praise)
        & ~column("rest").str.contains(contrast + "|" + _NEGATED)
        & (other.str.count_matches(_LETTER) < 2)
    )
    says_more = column("plain").str.replace_all(empty, "").str.count_matches(_LETTER) >= 2
    long_enough = size >= pl.when(says_more).then(min_chars).otherwise(vague_max_chars)
    reason = (
        pl.when(pure)
        .then(pl.lit("complaint.contradictory"))
        .when(~column("plain").str.contains(topic) & ~long_enough)
        .then(pl.lit("complaint.vague"))
    )
    words = {"row": rows, "subject": subject.gather(rows).cast(pl.String), "text": text.gather(rows)}
    said = column("subject").fill_null("") + "。" + column("text").fill_null("")
    # One lazy plan: run apart, its steps cost more than the rows of a small batch.
    doubtful = (
        pl.DataFrame(words)
        .lazy()
        .select("row", said.str.replace_all(INVISIBLE_RUN, "").str.strip_chars("。").str.to_lowercase().alias("said"))
        .filter(size.is_between(1, max_chars))
        .with_columns(column("said").str.replace_all(idiom, "").alias("plain"))
        # 不满意 is no praise, and 不错 holds no 错.
        .with_columns(column("plain").str.replace_all(negation + praise, _NEGATED).alias("asserted"))
        .with_columns(column("asserted").str.replace_all(praise, "").alias("rest"))
        .filter(~column("rest").str.contains(problem))
        .select("row", reason.alias("reason"))
        .collect()
    )
    return verdicts.scatter(doubtful["row"], doubtful["reason"]) if len(doubtful) else verdicts
