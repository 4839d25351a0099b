"""One verdict a row out of all rules: the most severe wins, and among equals the first."""

import polars as pl

from pipelines.cleaning import ambiguity, invalid
from pipelines.cleaning.rows import rows_stating, rows_where

BLANK_RULE = "text.blank"
REASONS = {BLANK_RULE: "The contact says nothing that can be seen.", **invalid.REASONS, **ambiguity.REASONS}


def verdict(invalid_rule: pl.Series, blank: pl.Series, ambiguous_rule: pl.Series) -> pl.DataFrame:
    """Route (kept, rejected, review), rule and reason of each row; rule and reason are NULL where it is kept.

    A reject goes before a review: nobody's time is spent on a record that could not have happened.

    >>> verdict(pl.Series([None, "time.handle_impossible", None], dtype=pl.String), pl.Series([False, True, True]),
    ...         pl.Series(["complaint.vague", None, None], dtype=pl.String)).select("route", "rule").rows()
    [('review', 'complaint.vague'), ('rejected', 'time.handle_impossible'), ('rejected', 'text.blank')]
    """
    size = len(blank)
    routes, rules, reasons = ["kept"] * size, [None] * size, [None] * size
    by_severity = (("review", ambiguous_rule), ("rejected", _named(blank)), ("rejected", invalid_rule))
    for route, found in by_severity:
        if found.null_count() == size:
            continue
        rows = rows_stating(found)
        for row, rule in zip(rows, found[rows], strict=True):
            routes[row], rules[row], reasons[row] = route, rule, REASONS[rule]
    columns = {"route": routes, "rule": rules, "reason": reasons}
    return pl.DataFrame([pl.Series(name, values, dtype=pl.String) for name, values in columns.items()])


def _named(blank: pl.Series) -> pl.Series:
    rule = pl.Series([None] * len(blank), dtype=pl.String)
    return rule.scatter(rows, BLANK_RULE) if (rows := rows_where(blank)) else rule
