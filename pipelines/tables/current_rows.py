"""Silver rows as they stand today: the newest revision of each message, under the customer known today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

NEEDED = (
    "raw_topic", "raw_partition", "raw_offset", "attempt", "event_id", "channel", "account", "source_message_id",
    "source_revision", "kind", "sender_role", "session_id", "customer_id", "identity_status", "occurred_at",
    "received_at", "text", "subject", "response_time_s", "response_time_corrected_s", "score_scale_max",
    "score_corrected", "outcome",
)  # fmt: skip

_FIRST = ("first_topic", "first_partition", "first_offset")


def token_columns(precedence: Sequence[str]) -> list[str]:
    """Columns of the identifiers, in the order in which they decide.

    >>> token_columns(["unionid", "phone"])
    ['unionid_token', 'phone_token']
    """
    return [f"{kind}_token" for kind in precedence]


def newest_revisions(rows: DataFrame) -> DataFrame:
    """One row per source message: highest revision, then highest attempt.

    An edit replaces what it edits and a replay what it repeats; order of arrival decides nothing (design decision 6).
    A row without a source ID is known by the coordinates of its first attempt, which are its own unless it is a replay.
    """
    places = zip(_FIRST, ("raw_topic", "raw_partition", "raw_offset"), strict=True)
    own = F.concat_ws("/", *[F.coalesce(first, raw) for first, raw in places])
    key = F.coalesce(F.concat(F.lit("id:"), "source_message_id"), own)
    order = [F.col(c).desc_nulls_last() for c in ("source_revision", "attempt", "received_at")]
    tie = [F.col(c) for c in ("raw_topic", "raw_partition", "raw_offset")]
    newest = Window.partitionBy("channel", "account", key).orderBy(*order, *tie)
    return rows.withColumn("_nth", F.row_number().over(newest)).where("_nth = 1").drop("_nth")


def newest_links(links: DataFrame) -> DataFrame:
    """Newest entry per token of the change log ``silver.identity_links``, as (token, linked_customer_id).

    An entry without a customer is a link taken back; it stays, because it says more than no entry at all.
    """
    return links.groupBy("token").agg(F.max_by("customer_id", "valid_from_at").alias("linked_customer_id"))


def provisional_name(order: Sequence[str]) -> Column:
    """The name of a customer nobody has linked, from the best token at hand; NULL where there is none.

    The same rule as ``pipelines.identity.provisional.provisional_id``, in Spark's words; one test runs both.
    """
    best = F.coalesce(*token_columns(order))
    return F.concat(F.lit("p_"), F.substring(best, -32, 24))


def under_current_customer(rows: DataFrame, links: DataFrame, identity: Mapping[str, Any]) -> DataFrame:
    """``customer_id`` and ``identity_status`` by today's links; ``identity`` is the policy of that name.

    The first identifier of the precedence with a link decides. Where none has one, but one was taken back, the row
    falls back to its provisional name. Where the log knows none of the row's tokens, the row says who it is: the stream
    reads the map as it changes and may be ahead of the lake by some seconds.
    """
    precedence, order = identity["precedence"], identity["provisional"]
    tokens = list(dict.fromkeys(token_columns([*precedence, *order])))
    # Few people write many rows: links are looked up once per distinct set of identifiers, not once per row.
    marked = rows.withColumn("_who", F.concat_ws("|", *[F.coalesce(c, F.lit("")) for c in tokens]))
    sets = marked.select("_who", *tokens).distinct()
    ranked = [
        F.struct(F.lit(n).alias("rank"), F.col(c).alias("token")) for n, c in enumerate(token_columns(precedence))
    ]
    each = sets.select("_who", F.explode(F.array(*ranked)).alias("t")).select("_who", "t.rank", "t.token")
    found = each.join(newest_links(links), on="token", how="inner")
    known = F.col("linked_customer_id").isNotNull()
    best = found.groupBy("_who").agg(
        F.min_by("linked_customer_id", F.when(known, F.col("rank"))).alias("_linked"),
        F.bool_or(~known).alias("_taken_back"),
    )
    joined = marked.join(best, on="_who", how="left")
    unlinked = F.col("_taken_back") & (F.col("identity_status") == "linked")
    status = F.when(F.col("_linked").isNotNull(), "linked").when(unlinked, "provisional")
    own = F.when(unlinked, provisional_name(order)).otherwise(F.col("customer_id"))
    return (
        joined.withColumn("customer_id", F.coalesce("_linked", own))
        .withColumn("identity_status", F.coalesce(status, "identity_status"))
        .drop("_who", "_linked", "_taken_back", *tokens)
    )


def current_rows(
    interactions: DataFrame, feedback: DataFrame, links: DataFrame, identity: Mapping[str, Any]
) -> DataFrame:
    """Interactions and feedback together: newest revisions, under the customer known today; columns as ``NEEDED``."""
    tokens = dict.fromkeys(token_columns([*identity["precedence"], *identity["provisional"]]))
    columns = [*NEEDED, *_FIRST, *tokens]
    both = interactions.select(columns).unionByName(feedback.select(columns))
    return under_current_customer(newest_revisions(both), links, identity).select(list(NEEDED))
