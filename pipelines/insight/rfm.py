"""Recency, frequency and money over orders, their scores from 1 to 5, and the value tier.

Columns in, columns out. An order is (customer_id, occurred_at, amount_minor, currency): what was paid less what was
refunded, in minor units (cents, fen); one that brought nothing is no order. Definition and thresholds: policy
``value_tiers``, after Hughes, "Strategic Database Marketing".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

VALUES = {"r_score": "recency_days", "f_score": "frequency", "m_score": "monetary_minor"}
# Few days since the last order are the good end of the scale.
_SMALL_IS_GOOD = frozenset({"r_score"})


def customer_values(orders: pl.DataFrame, *, period_end_at: datetime, window_days: int, currency: str) -> pl.DataFrame:
    """One row a customer who ever ordered: customer_id, recency_days, frequency, monetary_minor, other_currency_orders.

    Counted are orders of ``currency`` within ``window_days`` before ``period_end_at`` (which itself is outside).
    ``recency_days`` is whole days from the newest of them to the end; NULL, with a frequency of 0, where there is none.
    ``monetary_minor`` is in minor units of ``currency``.

    >>> from datetime import UTC
    >>> day = lambda d: datetime(2026, 1, d, tzinfo=UTC)
    >>> orders = pl.DataFrame({"customer_id": ["a", "a", "b"], "occurred_at": [day(1), day(9), day(10)],
    ...                        "amount_minor": [1000, 500, 700], "currency": ["CNY"] * 3})
    >>> customer_values(orders, period_end_at=day(10), window_days=9, currency="CNY").rows()
    [('a', 1, 2, 1500, 0)]
    """
    starts_at = period_end_at - timedelta(days=window_days)
    known = orders.filter(
        (pl.col("occurred_at") < period_end_at) & (pl.col("amount_minor") > 0) & pl.col("customer_id").is_not_null()
    )
    inside = pl.col("occurred_at") >= starts_at
    counts = inside & (pl.col("currency") == currency)
    newest = pl.col("occurred_at").filter(counts).max()
    return (
        known.group_by("customer_id")
        .agg(
            (pl.lit(period_end_at) - newest).dt.total_days().alias("recency_days"),
            counts.sum().cast(pl.Int64).alias("frequency"),
            pl.col("amount_minor").filter(counts).sum().alias("monetary_minor"),
            (inside & (pl.col("currency") != currency)).sum().cast(pl.Int64).alias("other_currency_orders"),
        )
        .sort("customer_id")
    )


def cut_points(values: pl.DataFrame, *, score_shares: Sequence[float]) -> dict[str, list[int]]:
    """Per score the values that ``score_shares`` of the customers with an order in the window do not exceed.

    A cut is the smallest value that at least that share reaches (``percentile_disc`` of SQL), so it is one that occurs.
    No customer, no cut.

    >>> values = pl.DataFrame({"recency_days": [1, 2, 3, 4, 5], "frequency": [1, 1, 1, 1, 9],
    ...                        "monetary_minor": [10, 20, 30, 40, 50]})
    >>> cut_points(values, score_shares=[0.2, 0.8])
    {'r_score': [-5, -2], 'f_score': [1, 1], 'm_score': [10, 40]}
    """
    counted = values.filter(pl.col("frequency") > 0)
    cuts: dict[str, list[int]] = {}
    for score, column in VALUES.items():
        ordered = _good_is_large(counted[column], score).sort()
        # Shares are decimals: 0.6 * 5 is 3.0000000000000004 in binary, and would ask for the 4th of 5.
        places = [max(-(-round(share * 1_000_000) * len(ordered) // 1_000_000), 1) - 1 for share in score_shares]
        cuts[score] = [ordered[place] for place in places] if len(ordered) else []
    return cuts


def scored(values: pl.DataFrame, cuts: Mapping[str, Sequence[int]]) -> pl.DataFrame:
    """Adds r_score, f_score, m_score: 1 plus the cuts a value lies above; NULL where no order stands in the window.

    Equal values have equal scores, whatever the order of the rows.

    >>> values = pl.DataFrame({"recency_days": [1, None], "frequency": [3, 0], "monetary_minor": [99, 0]})
    >>> scored(values, {"r_score": [-9, -1], "f_score": [1, 2], "m_score": [10, 100]}).rows()
    [(1, 3, 99, 2, 3, 2), (None, 0, 0, None, None, None)]
    """
    columns = []
    for score, column in VALUES.items():
        value = _good_is_large(values[column], score)
        above = sum(((value > cut).cast(pl.Int32) for cut in cuts[score]), pl.zeros(len(values), pl.Int32, eager=True))
        columns.append(pl.select(pl.when(values["frequency"] > 0).then(above + 1).alias(score)).to_series())
    return values.hstack(columns)


def tiers(scores: pl.DataFrame, policy: Mapping[str, Any]) -> pl.DataFrame:
    """Adds value_tier and value_rule; the rule names the clause of policy ``value_tiers`` that gave the tier.

    The first tier with a clause that holds. Without an order in the window: ``unclassified`` where orders of another
    currency stand in it, else ``lapsed`` (there were older ones).

    >>> policy = {"tiers": [{"tier": "high", "any": [{"m_score": 5}, {"m_score": 4, "r_score": 5}]},
    ...                     {"tier": "low", "any": [{"m_score": 1}]}],
    ...           "lapsed_tier": "lapsed", "unclassified_tier": "unclassified"}
    >>> scores = pl.DataFrame({"frequency": [1, 1, 1, 0, 0], "other_currency_orders": [0, 0, 0, 0, 2],
    ...     "r_score": [1, 5, 4, None, None], "f_score": [1, 1, 1, None, None], "m_score": [5, 4, 4, None, None]})
    >>> tiers(scores, policy).select("value_tier", "value_rule").rows()
    ... # doctest: +NORMALIZE_WHITESPACE
    [('high', 'm_score >= 5'), ('high', 'm_score >= 4 and r_score >= 5'), ('low', 'm_score >= 1'),
     ('lapsed', 'no order in the window'), ('unclassified', 'only orders of another currency in the window')]
    """
    tier, rule = pl.lit(None, pl.String), pl.lit(None, pl.String)
    empty = pl.col("frequency") == 0
    # Built from the last to the first, so that the first that holds is the outermost question.
    for name, clause in reversed([(t["tier"], clause) for t in policy["tiers"] for clause in t["any"]]):
        holds = pl.all_horizontal([pl.col(score) >= least for score, least in clause.items()])
        tier = pl.when(holds).then(pl.lit(name)).otherwise(tier)
        rule = pl.when(holds).then(pl.lit(clause_name(clause))).otherwise(rule)
    foreign = empty & (pl.col("other_currency_orders") > 0)
    outside = (
        (empty, policy["lapsed_tier"], "no order in the window"),
        (foreign, policy["unclassified_tier"], "only orders of another currency in the window"),
    )
    for holds, name, why in outside:
        tier = pl.when(holds).then(pl.lit(name)).otherwise(tier)
        rule = pl.when(holds).then(pl.lit(why)).otherwise(rule)
    return scores.with_columns(tier.alias("value_tier"), rule.alias("value_rule"))


def value_tiers(orders: pl.DataFrame, policy: Mapping[str, Any], *, period_end_at: datetime) -> pl.DataFrame:
    """All of it in a row: the columns of ``customer_values``, ``scored`` and ``tiers`` by policy ``value_tiers``."""
    values = customer_values(
        orders, period_end_at=period_end_at, window_days=policy["window_days"], currency=policy["currency"]
    )
    return tiers(scored(values, cut_points(values, score_shares=policy["score_shares"])), policy)


def high_value_customers(
    orders: pl.DataFrame, *, starts_at: datetime, ends_at: datetime, share: float, currency: str
) -> set[str]:
    """The fewest customers who together paid ``share`` of the money of a period; a tie at the end takes all in.

    Knows nothing of scores, windows or tiers, so that a tag can be judged by it.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> orders = pl.DataFrame({"customer_id": ["a", "b", "c", "d"], "occurred_at": [at] * 4,
    ...                        "amount_minor": [50, 20, 20, 10], "currency": ["CNY"] * 4})
    >>> end = at + timedelta(days=1)
    >>> sorted(high_value_customers(orders, starts_at=at, ends_at=end, share=0.5, currency="CNY"))
    ['a']
    >>> sorted(high_value_customers(orders, starts_at=at, ends_at=end, share=0.6, currency="CNY"))
    ['a', 'b', 'c']
    """
    when = pl.col("occurred_at")
    paid = (
        orders.filter((when >= starts_at) & (when < ends_at) & (pl.col("currency") == currency))
        .group_by("customer_id")
        .agg(pl.col("amount_minor").sum())
        .filter(pl.col("amount_minor") > 0)
        .sort("amount_minor", descending=True)
    )
    reached = paid["amount_minor"].cum_sum() >= share * paid["amount_minor"].sum()
    if not reached.any():
        return set()
    least = paid["amount_minor"][reached.arg_max()]
    return set(paid.filter(pl.col("amount_minor") >= least)["customer_id"])


def clause_name(clause: Mapping[str, int]) -> str:
    """A clause in words, as it stands beside the tier it gave.

    >>> clause_name({"m_score": 4, "r_score": 5})
    'm_score >= 4 and r_score >= 5'
    """
    return " and ".join(f"{score} >= {least}" for score, least in clause.items())


def _good_is_large(values: pl.Series, score: str) -> pl.Series:
    return -values if score in _SMALL_IS_GOOD else values
