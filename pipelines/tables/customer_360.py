"""gold.customer_360: who the customer is to the service centre, one row per customer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines import contracts
from pipelines.tables.contacts import STATED, contacts, customer_rows, repeats
from pipelines.tables.order_values import MEASURES

TABLE = "gold.customer_360"
# What of the current rows is read here: a third of a row's bytes, and no text.
COLUMNS = (
    "raw_topic", "raw_partition", "raw_offset", "event_id", "channel", "account", "kind", "sender_role", "session_id",
    "customer_id", "identity_status", "occurred_at", "response_time_corrected_s", "score_scale_max", "score_corrected",
    "outcome",
)  # fmt: skip
_COUNT = "contacts_"  # contacts_<channel>
_NOT_A_CHANNEL = {"in_window"}


def contact_channels() -> list[str]:
    """Channels with a column of their own, in the contract's order."""
    columns = [f.name.removeprefix(_COUNT) for f in contracts.table(TABLE).fields if f.name.startswith(_COUNT)]
    return [c for c in columns if c not in _NOT_A_CHANNEL]


def build(
    rows: DataFrame,
    base: DataFrame,
    orders: DataFrame,
    values: DataFrame,
    *,
    as_of_at: datetime,
    policy: Mapping[str, Any],
) -> DataFrame:
    """The view of everything that occurred before ``as_of_at`` (aware); ``policy`` is ``gold.contacts``.

    ``rows`` come from ``current_rows``, ``base`` from ``customer_base``, ``orders`` and ``values`` from
    ``order_values``. A customer whom only the CRM or an order names has a row without contacts. Columns and order are
    those of the contract; anonymous rows are left out.
    """
    until = F.lit(as_of_at)
    known = rows.where((F.col("occurred_at") < until) & F.col("customer_id").isNotNull())
    found = known_contacts(rows, as_of_at=as_of_at, policy=policy)
    in_window = F.col("started_at") >= until - F.expr(f"INTERVAL {int(policy['window_days'])} DAYS")
    measured = _measures(known)
    view = (
        customers(measured, base, orders)
        .join(measured.drop("identity_status"), on="customer_id", how="left")
        .join(_outcomes(known), on="customer_id", how="left")
        .join(_contacts(found, in_window), on="customer_id", how="left")
        .join(base.drop("identity_status"), on="customer_id", how="left")
        .join(values, on="customer_id", how="left")
        .withColumn("as_of_at", until)
    )
    return _completed(view)


def with_others(some: DataFrame, others: DataFrame, values: DataFrame, *, as_of_at: datetime) -> DataFrame:
    """The view of everybody: ``some`` customers as just built, the ``others`` as published before.

    Nothing but time has passed for the others: no message, record, link or order of theirs came, entered or left a
    window. So what hangs on ``as_of_at`` and on everybody's orders (``values``) is all that is new of them.
    """
    passed = ["as_of_at", *[name for name in values.columns if name != "customer_id"]]
    rest = others.drop(*passed).join(values, on="customer_id", how="left").withColumn("as_of_at", F.lit(as_of_at))
    return some.unionByName(_completed(rest))


def measures_of(published: DataFrame) -> DataFrame:
    """``order_values.measures`` of the customers of a published view."""
    return published.where("currency IS NOT NULL").select("customer_id", *MEASURES)


def _completed(view: DataFrame) -> DataFrame:
    # No contact is a fact (0), no score is not (a mean of nothing stays NULL through its count of 0).
    columns = contracts.table(TABLE).fields
    return view.select(*[F.coalesce(f.name, F.lit(0)).alias(f.name) if f.type == "long" else f.name for f in columns])


def known_contacts(rows: DataFrame, *, as_of_at: datetime, policy: Mapping[str, Any]) -> DataFrame:
    """Contacts of known customers before ``as_of_at``, with ``is_repeat``; ``policy`` is ``gold.contacts``."""
    spoken = customer_rows(rows.where(F.col("occurred_at") < F.lit(as_of_at)))
    return repeats(contacts(spoken, session_gap_s=policy["session_gap_s"]), within_days=policy["repeat_within_days"])


def customers(*sources: DataFrame) -> DataFrame:
    """Everybody any of the sources knows: customer_id, and identity_status (linked where any of them is)."""
    each = [source.select("customer_id", "identity_status") for source in sources]
    return reduce(DataFrame.unionByName, each).groupBy("customer_id").agg(_status().alias("identity_status"))


def _status() -> Column:
    linked = F.max(F.when(F.col("identity_status") == "linked", 1).otherwise(0)) == 1
    return F.when(linked, "linked").otherwise("provisional")


# Spark sorts all rows for an aggregate that keeps a text or a struct, and hashes them for one that keeps numbers and
# instants. So texts are looked for among few rows only: those with an outcome, a customer's channels.


def _measures(known: DataFrame) -> DataFrame:
    scored = F.col("score_corrected").isNotNull() & (F.col("score_scale_max") > 0)
    parts = F.when(scored, F.round(F.col("score_corrected") / F.nullif("score_scale_max", F.lit(0.0)) * 10000))
    waited_ms = F.round(F.col("response_time_corrected_s") * 1000)
    return known.groupBy("customer_id").agg(
        _status().alias("identity_status"),
        F.count(parts).alias("csat_count"),
        F.sum(parts.cast("long")).alias("csat_sum_bp"),
        F.count(waited_ms).alias("response_count"),
        F.sum(waited_ms.cast("long")).alias("response_sum_ms"),
    )


def _outcomes(known: DataFrame) -> DataFrame:
    newest = F.max_by("outcome", F.struct("occurred_at", "raw_topic", "raw_partition", "raw_offset"))
    return known.where("outcome IS NOT NULL").groupBy("customer_id").agg(newest.alias("last_outcome"))


def _contacts(found: DataFrame, in_window: Column) -> DataFrame:
    """A row a customer of all that is counted by contact, by way of a row a customer and channel."""
    instants = [f"last_{kind}_at" for kind in STATED]
    each = found.groupBy("customer_id", "channel").agg(
        F.min("started_at").alias("first_contact_at"),
        F.max("ended_at").alias("last_contact_at"),
        F.count(F.lit(1)).alias("contacts"),
        F.count_if(in_window).alias("contacts_in_window"),
        F.max(F.when(in_window, F.col("ended_at"))).alias("newest_in_window_at"),
        F.count_if("is_repeat").alias("repeat_contacts"),
        F.count_if("is_session").alias("sessions"),
        F.sum("messages").alias("customer_messages"),
        *[F.sum(counted).alias(counted) for counted in STATED.values()],
        *[F.max(name).alias(name) for name in instants],
    )
    recently = F.when(F.col("contacts_in_window") > 0, F.struct("contacts_in_window", "newest_in_window_at", "channel"))
    sums = ["contacts", "contacts_in_window", "repeat_contacts", "sessions", "customer_messages", *STATED.values()]
    return each.groupBy("customer_id").agg(
        F.min("first_contact_at").alias("first_contact_at"),
        F.max("last_contact_at").alias("last_contact_at"),
        F.max_by("channel", F.struct("last_contact_at", "channel")).alias("last_channel"),
        F.max_by("channel", recently).alias("preferred_channel"),
        F.count("channel").alias("channels"),
        *[F.sum(F.when(F.col("channel") == c, F.col("contacts"))).alias(_COUNT + c) for c in contact_channels()],
        *[F.sum(name).alias(name) for name in sums],
        *[F.max(name).alias(name) for name in instants],
    )
