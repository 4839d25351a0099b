"""Recency, frequency, money and value tier of each customer out of silver.orders; the rule is pipelines.insight.rfm.

Spark's own form of that rule, since a fifth of all customers is found over all of them; one test runs both forms on the
same orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.insight.rfm import VALUES, clause_name
from pipelines.tables.newest_records import newest_records, of_known_customers

_PPM = 1_000_000
_DAY_US = 86_400_000_000
# What of a current order is read, here and by customer_360 and customer_tags.
READ = (
    "customer_id", "identity_status", "account", "order_id", "order_status", "paid_at", "amount_minor",
    "refunded_minor", "currency", "order_lines",
)  # fmt: skip
# What of a customer's value is kept between two builds.
MEASURES = ("last_paid_at", "frequency", "monetary_minor", "other_currency_orders")


def current_orders(
    orders: DataFrame, links: DataFrame, identity: Mapping[str, Any], *, as_of_at: datetime
) -> DataFrame:
    """Every order once, as it stood before ``as_of_at``, under the customer known today; columns of silver.orders."""
    newest = newest_records(orders, ["account", "order_id"], as_of_at=as_of_at)
    return of_known_customers(newest, links, identity)


def paid(orders: DataFrame) -> DataFrame:
    """customer_id, order_id, occurred_at (of the payment), amount_minor (less refunds), currency, order_lines.

    A cancelled order brought nothing, whatever its amount; an order refunded whole brought 0 and is none for RFM.
    """
    return orders.where("paid_at IS NOT NULL AND order_status <> 'cancelled'").select(
        "customer_id",
        "order_id",
        F.col("paid_at").alias("occurred_at"),
        (F.col("amount_minor") - F.col("refunded_minor")).alias("amount_minor"),
        "currency",
        "order_lines",
    )


def build(paid_orders: DataFrame, *, as_of_at: datetime, policy: Mapping[str, Any]) -> DataFrame:
    """``scored(measures(…))``: one row a customer who ever paid for an order before ``as_of_at``."""
    return scored(measures(paid_orders, as_of_at=as_of_at, policy=policy), as_of_at=as_of_at, policy=policy)


def scored(measured: DataFrame, *, as_of_at: datetime, policy: Mapping[str, Any]) -> DataFrame:
    """``measures`` of everybody, with what hangs on all of them and on the instant.

    customer_id, MEASURES, recency_days, currency, r_score, f_score, m_score, value_tier, value_rule; ``policy`` is
    ``value_tiers``.
    """
    past_us = F.unix_micros(F.lit(as_of_at)) - F.unix_micros("last_paid_at")  # whole numbers: days of 24 h
    values = measured.withColumn("recency_days", F.floor(past_us / F.lit(_DAY_US)).cast("int"))
    scores = values.crossJoin(F.broadcast(_cuts(values, policy["score_shares"])))
    for score, column in VALUES.items():
        above = reduce(lambda total, cut: total + cut, [_above(score, column, n) for n in _numbers(policy)])
        scores = scores.withColumn(score, F.when(F.col("frequency") > 0, above + 1))
    tier, rule = _tier(policy)
    return scores.select(
        "customer_id",
        *MEASURES,
        "recency_days",
        F.lit(policy["currency"]).alias("currency"),
        *VALUES,
        tier.alias("value_tier"),
        rule.alias("value_rule"),
    )


def measures(paid_orders: DataFrame, *, as_of_at: datetime, policy: Mapping[str, Any]) -> DataFrame:
    """One row a customer who ever paid for an order before ``as_of_at``: customer_id, MEASURES.

    They hang on the customer's own orders alone, and change only when one comes or leaves the window.
    """
    until = F.lit(as_of_at)
    inside = F.col("occurred_at") >= until - F.expr(f"INTERVAL {int(policy['window_days'])} DAYS")
    ours = F.col("currency") == policy["currency"]
    known = paid_orders.where((F.col("occurred_at") < until) & (F.col("amount_minor") > 0))
    return known.groupBy("customer_id").agg(
        F.max(F.when(inside & ours, F.col("occurred_at"))).alias("last_paid_at"),
        F.count_if(inside & ours).alias("frequency"),
        F.coalesce(F.sum(F.when(inside & ours, F.col("amount_minor"))), F.lit(0)).alias("monetary_minor"),
        F.count_if(inside & ~ours).alias("other_currency_orders"),
    )


def _cuts(values: DataFrame, shares: list[float]) -> DataFrame:
    """One row: per score and share the smallest value that at least that share of the customers does not exceed."""
    named = [
        F.struct(F.lit(s).alias("score"), _good_is_large(s, c).cast("long").alias("value")) for s, c in VALUES.items()
    ]
    each = values.where("frequency > 0").select(F.explode(F.array(*named)).alias("v")).select("v.score", "v.value")
    ordered = Window.partitionBy("score").orderBy("value")
    counts = each.groupBy("score", "value").agg(F.count(F.lit(1)).alias("n"))
    ranked = counts.select(
        "score",
        "value",
        F.sum("n").over(ordered).alias("up_to"),
        F.sum("n").over(Window.partitionBy("score")).alias("all"),
    )
    # Whole numbers: 0.2 of 35 is 7.000000000000001 in binary, and would ask for the eighth.
    return ranked.agg(
        *[
            F.min(
                F.when(
                    (F.col("score") == s) & (F.col("up_to") * _PPM >= F.col("all") * round(share * _PPM)),
                    F.col("value"),
                )
            ).alias(f"_{s}_{n}")
            for s in VALUES
            for n, share in enumerate(shares)
        ]
    )


def _above(score: str, column: str, number: int) -> Column:
    return F.when(_good_is_large(score, column) > F.col(f"_{score}_{number}"), 1).otherwise(0)


def _numbers(policy: Mapping[str, Any]) -> range:
    return range(len(policy["score_shares"]))


def _good_is_large(score: str, column: str) -> Column:
    return -F.col(column) if score == "r_score" else F.col(column)


def _tier(policy: Mapping[str, Any]) -> tuple[Column, Column]:
    """value_tier and value_rule: outside the window first, then the first clause that holds."""
    empty = F.col("frequency") == 0
    foreign = empty & (F.col("other_currency_orders") > 0)
    cases = [
        (foreign, policy["unclassified_tier"], "only orders of another currency in the window"),
        (empty, policy["lapsed_tier"], "no order in the window"),
    ]
    for tier in policy["tiers"]:
        for clause in tier["any"]:
            holds = reduce(lambda one, other: one & other, [F.col(s) >= least for s, least in clause.items()])
            cases.append((holds, tier["tier"], clause_name(clause)))
    first, *rest = cases
    tier_of, rule_of = F.when(first[0], first[1]), F.when(first[0], first[2])
    for holds, name, why in rest:
        tier_of, rule_of = tier_of.when(holds, name), rule_of.when(holds, why)
    return tier_of, rule_of
