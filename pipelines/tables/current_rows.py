"""Silver rows as they stand today: the newest revision of each message, under the customer known today."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

NEEDED = (
    "raw_topic", "raw_partition", "raw_offset", "attempt", "event_id", "channel", "account", "source_message_id",
    "source_revision", "kind", "sender_role", "session_id", "customer_id", "identity_status", "occurred_at",
    "received_at", "text", "subject", "response_time_s", "response_time_corrected_s", "score_scale_max",
    "score_corrected", "outcome",
)  # fmt: skip


def token_columns(precedence: Sequence[str]) -> list[str]:
    """Columns of the identifiers, in the order in which they decide.

    >>> token_columns(["unionid", "phone"])
    ['unionid_token', 'phone_token']
    """
    return [f"{kind}_token" for kind in precedence]


def newest_revisions(rows: DataFrame) -> DataFrame:
    """One row per source message: highest revision, then highest attempt. Rows without a source ID all stay.

    An edit replaces what it edits and a replay what it repeats; order of arrival decides nothing (design decision 6).
    """
    own = F.concat_ws("/", "raw_topic", "raw_partition", "raw_offset")  # no ID: the row itself, so no key is skewed
    key = F.coalesce(F.concat(F.lit("id:"), "source_message_id"), own)
    order = [F.col(c).desc_nulls_last() for c in ("source_revision", "attempt", "received_at")]
    tie = [F.col(c) for c in ("raw_topic", "raw_partition", "raw_offset")]
    newest = Window.partitionBy("channel", "account", key).orderBy(*order, *tie)
    return rows.withColumn("_nth", F.row_number().over(newest)).where("_nth = 1").drop("_nth")


def current_links(links: DataFrame) -> DataFrame:
    """Newest entry per token of the change log ``silver.identity_links``, as (token, linked_customer_id).

    An entry without a customer is a link taken back: its token links to nobody.
    """
    newest = links.groupBy("token").agg(F.max_by("customer_id", "valid_from_at").alias("linked_customer_id"))
    return newest.where("linked_customer_id IS NOT NULL")


def under_current_customer(rows: DataFrame, links: DataFrame, precedence: Sequence[str]) -> DataFrame:
    """``customer_id`` and ``identity_status`` by today's links; where no token of the row is linked, as the row says.

    A provisional ID is never rewritten in silver, so a link found later (or taken back) takes effect here. A row that
    was linked when it came and has no linked token any more keeps its ID: the stream may have known more than a token.
    """
    tokens = token_columns(precedence)
    # Few people write many rows: links are looked up once per distinct set of identifiers, not once per row.
    marked = rows.withColumn("_who", F.concat_ws("|", *[F.coalesce(c, F.lit("")) for c in tokens]))
    sets = marked.select("_who", *tokens).distinct()
    ranked = [F.struct(F.lit(rank).alias("rank"), F.col(c).alias("token")) for rank, c in enumerate(tokens)]
    each = sets.select("_who", F.explode(F.array(*ranked)).alias("t")).select("_who", "t.rank", "t.token")
    found = each.join(current_links(links), on="token", how="inner")
    best = found.groupBy("_who").agg(F.min_by("linked_customer_id", "rank").alias("_linked"))
    joined = marked.join(best, on="_who", how="left")
    status = F.when(F.col("_linked").isNotNull(), F.lit("linked")).otherwise(F.col("identity_status"))
    return (
        joined.withColumn("identity_status", status)
        .withColumn("customer_id", F.coalesce("_linked", "customer_id"))
        .drop("_who", "_linked", *tokens)
    )


def current_rows(
    interactions: DataFrame, feedback: DataFrame, links: DataFrame, precedence: Sequence[str]
) -> DataFrame:
    """Interactions and feedback together: newest revisions, under the customer known today; columns as ``NEEDED``."""
    columns = [*NEEDED, *token_columns(precedence)]
    both = interactions.select(columns).unionByName(feedback.select(columns))
    return under_current_customer(newest_revisions(both), links, precedence).select(list(NEEDED))
