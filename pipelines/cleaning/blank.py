"""Blank consultations: a contact that should say something and says nothing."""

import polars as pl

from pipelines.cleaning.rows import rows_where
from pipelines.cleaning.text_normalisation import SAYS_SOMETHING, VISIBLE

_SAID = pl.col("subject").fill_null("") + pl.col("text").fill_null("")
_SAYS, _SEEN = _SAID.str.contains(SAYS_SOMETHING), _SAID.str.contains(VISIBLE)
_NO_MEDIA = ("", "[]", "null")


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
    said = pl.DataFrame({"text": text, "subject": subject.cast(pl.String)})
    quiet = rows_where(~said.select(_SAYS).to_series())
    seen = pl.DataFrame([column[quiet] for column in said]).select(_SEEN).to_series()
    columns = (column[quiet] for column in (kind, sender_role, media, score, handle_time_s))
    blank = [
        row
        for row, is_seen, of_kind, role, attached, scored, handled in zip(quiet, seen, *columns, strict=True)
        if (of_kind in contact_kinds or (of_kind in turn_kinds and not is_seen))
        and (attached or "").strip() in _NO_MEDIA
        and role not in exempt_roles
        and scored is None
        and handled is None
    ]
    return pl.Series("blank", [False] * len(kind), dtype=pl.Boolean).scatter(blank, True)
