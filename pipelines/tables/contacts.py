"""A contact: what a customer would call "I got in touch once". See DECISIONS.md, "What a contact is"."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

CONTACT_KINDS = ("message", "consultation", "feedback", "complaint")
# Kinds that are counted for themselves, and the name of the count.
STATED = {"consultation": "consultations", "complaint": "complaints", "feedback": "feedbacks"}


def customer_rows(rows: DataFrame) -> DataFrame:
    """Rows in which a known customer spoke. Receipts, ticket events, agents, bots and systems make no contact."""
    spoke = (F.col("sender_role") == "customer") & F.col("kind").isin(*CONTACT_KINDS)
    return rows.where(spoke & F.col("customer_id").isNotNull())


def contacts(rows: DataFrame, *, session_gap_s: int) -> DataFrame:
    """One row per contact, from rows in which the customer spoke.

    Columns: customer_id, channel, started_at, ended_at, is_session, messages (rows in which the customer spoke), and
    for each of STATED how many there were and when the last was.

    Rows of one session of the source are one contact. Messages without a session are one contact while each follows
    the last within ``session_gap_s``. A call, mail, post, score or complaint without a session is one by itself.
    """
    in_session = rows.where("session_id IS NOT NULL").withColumn("_contact", F.concat(F.lit("s:"), "session_id"))
    loose = rows.where("session_id IS NULL AND kind = 'message'")
    alone = rows.where("session_id IS NULL AND kind <> 'message'").withColumn(
        "_contact", F.concat(F.lit("e:"), "event_id")
    )
    keyed = in_session.unionByName(alone).unionByName(_by_gap(loose, session_gap_s))
    each = keyed.groupBy("customer_id", "channel", "account", "_contact").agg(
        F.min("occurred_at").alias("started_at"),
        F.max("occurred_at").alias("ended_at"),
        F.count(F.lit(1)).alias("messages"),
        *[column for kind, counted in STATED.items() for column in _stated(kind, counted)],
    )
    return each.withColumn("is_session", F.col("_contact").startswith("s:")).drop("account", "_contact")


def _stated(kind: str, counted: str) -> list[Column]:
    at = F.when(F.col("kind") == kind, F.col("occurred_at"))
    return [F.count(at).alias(counted), F.max(at).alias(f"last_{kind}_at")]


def repeats(found: DataFrame, *, within_days: int) -> DataFrame:
    """Adds ``is_repeat``: the contact began at most ``within_days`` days after the customer's previous one ended.

    The previous one is on any channel; one that still runs makes the new one a repeat too (the customer did not wait).
    """
    order = Window.partitionBy("customer_id").orderBy("started_at", "ended_at", "channel")
    earlier_end = F.max("ended_at").over(order.rowsBetween(Window.unboundedPreceding, -1))
    limit = F.expr(f"INTERVAL {int(within_days)} DAYS")
    return found.withColumn("is_repeat", F.coalesce(F.col("started_at") <= earlier_end + limit, F.lit(False)))


def _by_gap(loose: DataFrame, session_gap_s: int) -> DataFrame:
    order = Window.partitionBy("customer_id", "channel", "account").orderBy(
        "occurred_at", "raw_topic", "raw_partition", "raw_offset"
    )
    before = F.lag("occurred_at").over(order)
    opens = before.isNull() | (F.col("occurred_at") > before + F.expr(f"INTERVAL {int(session_gap_s)} SECONDS"))
    nth = F.sum(F.col("_opens").cast("int")).over(order)
    return (
        loose.withColumn("_opens", opens)
        .withColumn("_contact", F.concat(F.lit("g:"), nth.cast("string")))
        .drop("_opens")
    )
