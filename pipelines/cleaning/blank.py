"""Blank consultations: a contact that should say something and says nothing."""

import polars as pl

from pipelines.cleaning.text_normalisation import is_visible, says_something


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
    is_contact = kind.is_in(contact_kinds)
    says = says_something(text)
    if says.all():  # the ordinary batch: one scan and done
        return pl.Series("blank", [False] * len(text), dtype=pl.Boolean)
    seen = is_visible(text) | is_visible(subject)
    says = says | says_something(subject)
    silent = (is_contact & ~says) | (kind.is_in(turn_kinds) & ~seen)
    has_media = media.is_not_null() & ~media.str.strip_chars().is_in(["", "[]", "null"]).fill_null(False)
    speaks_otherwise = has_media | score.is_not_null() | handle_time_s.is_not_null()
    return (silent & ~speaks_otherwise & ~sender_role.is_in(exempt_roles).fill_null(False)).alias("blank")
