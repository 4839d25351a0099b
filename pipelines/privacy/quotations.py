"""Phrases of a figure that quote a person: they go with the person, and the next build asks the others again."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl


def quotes(phrases: pl.Series, said: Iterable[str], *, min_letters: int) -> pl.Series:
    """True where a phrase of a figure (`gold.hot_questions`) is what the person said, or a long piece of it.

    Letters and digits count. A short piece is everybody's. The next build asks the others again.

    >>> said = ["你好！我是王小明，住在梧桐路， 何时发货？", "怎么退款"]
    >>> phrases = pl.Series(["我是王小明住在梧桐路何时", "何时发货", "怎么退款？", "？", None])
    >>> quotes(phrases, said, min_letters=12).to_list()
    [True, False, True, False, False]
    """
    theirs = {letters for text in said if (letters := _letters(text))}
    return pl.Series("quotes", [_quotes(_letters(phrase or ""), theirs, min_letters) for phrase in phrases])


def _quotes(letters: str, theirs: set[str], min_letters: int) -> bool:
    return letters in theirs or (len(letters) >= min_letters and any(letters in text for text in theirs))


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
