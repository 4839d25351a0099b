"""Duplicate feedback: the same customer says the same thing again; the engine holds the key for the window."""

from functools import lru_cache
from hashlib import blake2b

import polars as pl

from pipelines.cleaning.rows import rows_where
from pipelines.cleaning.text_normalisation import folded_content

_SEPARATOR = "\x1f"
_SAID = pl.col("subject").fill_null("") + "\n" + pl.col("text").fill_null("")


def feedback_key(
    kind: pl.Series,
    sender_role: pl.Series,
    customer_id: pl.Series,
    text: pl.Series,
    *,
    subject: pl.Series,
    score: pl.Series,
    order_id: pl.Series,
    ticket_id: pl.Series,
    source_revision: pl.Series,
    attempt: pl.Series,
    kinds: list[str],
    min_chars: int,
) -> pl.Series:
    """Key under which a second feedback is a duplicate of the first; NULL where nothing may be judged so.

    Same customer and same order, same content after folding (full-width, case, zero-width, spaces, marks). A content
    under `min_chars` says little, so the score and the ticket must be the same as well. NULL for other kinds (嗯
    twice in a chat is honest), for unknown customers, for edits (same message, newer revision), for replays (their
    first attempt must not make them a duplicate), and for a bare score that names no order or ticket.

    >>> args = {name: pl.Series([None] * 3, dtype=pl.String) for name in ("subject", "order_id", "ticket_id")}
    >>> keys = feedback_key(pl.Series(["feedback", "feedback", "message"]), pl.Series(["customer"] * 3),
    ...     pl.Series(["c_1"] * 3), pl.Series(["送得太慢了！", "送得　太慢了", "送得太慢了"]), **args,
    ...     score=pl.Series([1.0, 1.0, None]), source_revision=pl.Series([0] * 3), attempt=pl.Series([0] * 3),
    ...     kinds=["feedback", "complaint"], min_chars=4).to_list()
    >>> keys[0] == keys[1], keys[2]
    (True, None)
    """
    columns = {"kind": kind, "role": sender_role, "c": customer_id, "revision": source_revision, "attempt": attempt}
    rows = rows_where(pl.DataFrame(columns).select(_judged(tuple(kinds))).to_series())
    keys: list[str | None] = [None] * len(kind)
    if not rows:
        return pl.Series("feedback_key", keys, dtype=pl.String)
    texts = pl.DataFrame({"text": text[rows], "subject": subject[rows].cast(pl.String)})
    contents = folded_content(texts.select(_SAID).to_series())
    columns = (column[rows] for column in (customer_id, score, order_id, ticket_id))
    for row, content, customer, value, order, ticket in zip(rows, contents, *columns, strict=True):
        if not content and order is None and ticket is None:
            continue
        is_short = len(content) < min_chars
        parts = [customer, content, order or "", f"{value}{_SEPARATOR}{ticket or ''}" if is_short else ""]
        keys[row] = blake2b(_SEPARATOR.join(parts).encode(), digest_size=16).hexdigest()
    return pl.Series("feedback_key", keys, dtype=pl.String)


@lru_cache(maxsize=8)
def _judged(kinds: tuple[str, ...]) -> pl.Expr:
    known = pl.col("kind").is_in(kinds) & (pl.col("role") == "customer") & pl.col("c").is_not_null()
    return (known & (pl.col("revision") == 0) & (pl.col("attempt") == 0)).fill_null(False)
