"""gold.customer_tags: base, behaviour, value and preference in a word each, with the rule that gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines import contracts

TABLE = "gold.customer_tags"
_LINE = "array<struct<category: string, amount_minor: bigint>>"


def build(
    view: DataFrame,
    found_contacts: DataFrame,
    paid_orders: DataFrame,
    *,
    as_of_at: datetime,
    policies: Mapping[str, Mapping[str, Any]],
) -> DataFrame:
    """One row a customer and tag, columns of the contract.

    ``view`` is gold.customer_360 of the same instant, ``found_contacts`` its contacts, ``paid_orders`` from
    ``order_values.paid``; ``policies`` holds customer_tags, gold and value_tiers.
    """
    tags, gold, tiers = (policies[name] for name in ("customer_tags", "gold", "value_tiers"))
    window_days = gold["contacts"]["window_days"]
    zone = gold["business_time_zone"]
    facts = view.withColumn("_age", F.lit(as_of_at.astimezone(ZoneInfo(zone)).year) - F.col("birth_year"))
    listed = F.array(
        *_base(tags),
        *_behaviour(tags, window_days),
    )
    rows = facts.select("customer_id", F.explode(listed).alias("t")).select("customer_id", "t.*")
    rows = rows.unionByName(_value_tiers(view, tiers))
    rows = rows.unionByName(_dayparts(found_contacts, as_of_at, window_days, tags, zone))
    rows = rows.unionByName(_categories(paid_orders, as_of_at, tiers, tags))
    return _whole(rows, as_of_at)


def of_values(values: DataFrame, *, as_of_at: datetime, tiers: Mapping[str, Any]) -> DataFrame:
    """The rows of tag value_tier alone, from ``order_values``: the tags that hang on everybody's orders."""
    return _whole(_value_tiers(values, tiers), as_of_at)


def _whole(rows: DataFrame, as_of_at: datetime) -> DataFrame:
    named = rows.where("tag_value IS NOT NULL").withColumn("as_of_at", F.lit(as_of_at))
    return named.select([f.name for f in contracts.table(TABLE).fields])


def _value_tiers(values: DataFrame, tiers: Mapping[str, Any]) -> DataFrame:
    made = _tag("value", "value_tier", F.col("value_tier"), F.col("value_rule"), tiers["version"])
    return values.select("customer_id", made.alias("t")).select("customer_id", "t.*")


def _tag(group: str, tag: str, value: Column, rule: Column, version: str) -> Column:
    return F.struct(
        F.lit(group).alias("tag_group"),
        F.lit(tag).alias("tag"),
        value.alias("tag_value"),
        rule.alias("rule"),
        F.lit(version).alias("rule_version"),
    )


def _base(policy: Mapping[str, Any]) -> list[Column]:
    """Age band by rule; region, gender and level as the CRM states them."""
    version, band, rule = policy["version"], F.lit(None).cast("string"), F.lit(None).cast("string")
    lower = 0
    for step in policy["age_bands"]:
        holds = (F.col("_age") >= lower) & (F.col("_age") < step["below"])
        band = F.when(holds, step["band"]).otherwise(band)
        rule = F.when(holds, f"age {lower} to {step['below'] - 1} by birth_year").otherwise(rule)
        lower = step["below"]
    strange = F.col("_age").isNotNull() & band.isNull()
    band = F.when(strange, policy["unclassified"]).otherwise(band)
    rule = F.when(strange, f"birth_year gives no age from 0 to {lower - 1}").otherwise(rule)
    stated = [
        _tag("base", name, F.col(name), F.lit(f"{name} as the newest CRM record states it"), version)
        for name in ("region", "gender", "member_level")
    ]
    return [_tag("base", "age_band", band, rule, version), *stated]


def _behaviour(policy: Mapping[str, Any], window_days: int) -> list[Column]:
    version = policy["version"]
    within = f"in {window_days} days"
    frequency = _banded("contacts_in_window", policy["contact_frequency"], f"contacts {within}")
    complaints = _banded("complaints", policy["complaint_history"], "complaints ever")
    preferred = F.lit(f"most contacts {within}, ties by the newer")
    return [
        _tag("behaviour", "contact_frequency", *frequency, version),
        _tag("behaviour", "preferred_channel", F.col("preferred_channel"), preferred, version),
        _tag("behaviour", "complaint_history", *complaints, version),
    ]


def _banded(column: str, bands: Sequence[Mapping[str, Any]], what: str) -> tuple[Column, Column]:
    """Band and rule of a count: the first band whose ``at_least`` it reaches."""
    band, rule = F.lit(None).cast("string"), F.lit(None).cast("string")
    for step in reversed(bands):
        reached = F.col(column) >= step["at_least"]
        band = F.when(reached, step["band"]).otherwise(band)
        rule = F.when(reached, f"{what} >= {step['at_least']}").otherwise(rule)
    return band, rule


def _dayparts(
    contacts: DataFrame, as_of_at: datetime, window_days: int, policy: Mapping[str, Any], zone: str
) -> DataFrame:
    wanted = policy["daypart"]
    hour = F.hour(F.from_utc_timestamp("started_at", zone))
    parts = reduce(
        lambda rest, part: F.when((hour >= part[1][0]) & (hour < part[1][1]), part[0]).otherwise(rest),
        wanted["parts"].items(),
        F.lit(None).cast("string"),
    )
    recent = contacts.where(_within("started_at", as_of_at, window_days))
    least = (wanted["min_contacts"], "contacts", wanted["min_share"])
    why = f"of >= {least[0]} contacts in {window_days} days >= {_percent(least[2])} began then"
    each = recent.select(
        "customer_id", parts.alias("value"), F.lit(1).alias("weight"), F.monotonically_increasing_id().alias("event")
    )
    return _mostly(each, "daypart", least[0], least[2], why, policy["version"])


def _categories(
    orders: DataFrame, as_of_at: datetime, tiers: Mapping[str, Any], policy: Mapping[str, Any]
) -> DataFrame:
    wanted, days = policy["product_category"], tiers["window_days"]
    counted = orders.where(_within("occurred_at", as_of_at, days) & (F.col("currency") == tiers["currency"]))
    lines = counted.where("amount_minor > 0").select(
        "customer_id",
        F.col("order_id").alias("event"),
        F.explode(F.from_json("order_lines", _LINE)).alias("line"),
    )
    each = lines.select(
        "customer_id", "event", F.col("line.category").alias("value"), F.col("line.amount_minor").alias("weight")
    )
    why = f"of >= {wanted['min_orders']} orders in {days} days >= {_percent(wanted['min_share'])} of the money"
    return _mostly(each, "product_category", wanted["min_orders"], wanted["min_share"], why, policy["version"])


def _mostly(each: DataFrame, tag: str, min_events: int, min_share: float, why: str, version: str) -> DataFrame:
    """The value that has more than half of the weight and at least that share of it, where there are enough events.

    What has no value counts in the whole, so that the unknown cannot make a preference.
    """
    whole = each.groupBy("customer_id").agg(F.count_distinct("event").alias("_events"), F.sum("weight").alias("_whole"))
    by_value = each.where("value IS NOT NULL").groupBy("customer_id", "value").agg(F.sum("weight").alias("_part"))
    best = by_value.groupBy("customer_id").agg(
        F.max_by("value", F.struct("_part", "value")).alias("tag_value"),
        F.max("_part").alias("_part"),
    )
    enough = (F.col("_events") >= min_events) & (F.col("_part") >= min_share * F.col("_whole"))
    most = F.col("_part") * 2 > F.col("_whole")
    joined = best.join(whole, on="customer_id", how="inner").where(enough & most)
    made = _tag("preference", tag, F.col("tag_value"), F.lit(why), version)
    return joined.select("customer_id", made.alias("t")).select("customer_id", "t.*")


def _within(column: str, as_of_at: datetime, days: int) -> Column:
    until = F.lit(as_of_at)
    return (F.col(column) < until) & (F.col(column) >= until - F.expr(f"INTERVAL {int(days)} DAYS"))


def _percent(share: float) -> str:
    return f"{share * 100:g} %"
