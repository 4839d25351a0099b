"""Blank consultations: a contact that should say something and says nothing."""

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
            "subject": subject,
            "media": media,
            "speaks_otherwise": score.is_not_null() | handle_time_s.is_not_null(),
        },
    )
    said, headline, media_list = pl.col("said"), pl.col("subject").cast(pl.String), pl.col("media").cast(pl.String)
    says = said.str.contains(SAYS_SOMETHING).fill_null(False) | headline.str.contains(SAYS_SOMETHING).fill_null(False)
    seen = said.str.contains(VISIBLE).fill_null(False) | headline.str.contains(VISIBLE).fill_null(False)
    silent = (pl.col("kind").is_in(contact_kinds) & ~says) | (pl.col("kind").is_in(turn_kinds) & ~seen)
    has_media = media_list.is_not_null() & ~media_list.str.strip_chars().is_in(["", "[]", "null"])
    speaks_otherwise = has_media.fill_null(False) | pl.col("speaks_otherwise")
    exempt = pl.col("role").is_in(exempt_roles).fill_null(False)
    return frame.select((silent & ~speaks_otherwise & ~exempt).fill_null(False).alias("blank")).to_series()
