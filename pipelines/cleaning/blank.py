"""Blank consultations: a contact that should say something and says nothing."""

from functools import lru_cache

import polars as pl

from pipelines.cleaning.text_normalisation import SAYS_SOMETHING, VISIBLE


def blank_consultation(
    kind: pl.Series,
    sender_role: pl.Series,
    text: pl.Series,
    *,
    subject: pl.Series,
    media: pl.Series,
    score: pl.Series,
    handle_time_s: pl.Series,
    contact_kinds: list[str],
    turn_kinds: list[str],
    exempt_roles: list[str],
) -> pl.Series:
    """True where the customer, or the agent, said nothing: such a row carries no demand and becomes a reject.

    A free-standing contact (`contact_kinds`) must hold a letter, a digit or an emoji in text or subject; punctuation
    alone is blank there. A turn in a conversation (`turn_kinds`) is blank only if nothing can be seen: '?' and '……'
    are honest chase-ups (chat_jd has 31 of them in 12,136 turns). Media, a score and a handled call speak for
    themselves: a CDR without transcript is a call, not a blank. `exempt_roles` (system) announce, they don't ask.

    >>> nulls = pl.Series([None] * 4, dtype=pl.String)
    >>> blank_consultation(
    ...     pl.Series(["consultation", "message", "message", "feedback"]), pl.Series(["customer"] * 4),
    ...     pl.Series(["。。。", "。。。", "\\u200b", ""]), subject=nulls, media=nulls,
    ...     score=pl.Series([None, None, None, 4.0]), handle_time_s=nulls, contact_kinds=["consultation", "feedback"],
    ...     turn_kinds=["message"], exempt_roles=["system"]).to_list()
    [True, False, True, False]
    """
    frame = pl.DataFrame(
        {
            "kind": kind,
            "role": sender_role,
            "said": text,
            "subject": subject.cast(pl.String),
            "media": media.cast(pl.String),
            "speaks_otherwise": score.is_not_null() | handle_time_s.is_not_null(),
        },
    )
    return frame.select(_blank(tuple(contact_kinds), tuple(turn_kinds), tuple(exempt_roles))).to_series()


@lru_cache(maxsize=8)
def _blank(contact_kinds: tuple[str, ...], turn_kinds: tuple[str, ...], exempt_roles: tuple[str, ...]) -> pl.Expr:
    said = pl.col("subject").fill_null("") + pl.col("said").fill_null("")
    says, seen = said.str.contains(SAYS_SOMETHING), said.str.contains(VISIBLE)
    silent = (pl.col("kind").is_in(contact_kinds) & ~says) | (pl.col("kind").is_in(turn_kinds) & ~seen)
    no_media = pl.col("media").str.strip_chars().is_in(["", "[]", "null"]).fill_null(True)
    asked_to_speak = ~pl.col("role").is_in(exempt_roles).fill_null(False) & ~pl.col("speaks_otherwise")
    return (silent & no_media & asked_to_speak).fill_null(False).alias("blank")
