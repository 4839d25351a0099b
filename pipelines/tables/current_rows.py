"""Silver rows as they stand today: the newest revision of each message, under the customer known today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.identity.evidence import NOBODY_AT_ALL

NEEDED = (
    "raw_topic", "raw_partition", "raw_offset", "attempt", "event_id", "channel", "account", "source_message_id",
    "source_revision", "kind", "sender_role", "session_id", "customer_id", "identity_status", "occurred_at",
    "received_at", "processed_at", "text", "subject", "response_time_s", "response_time_corrected_s", "score_scale_max",
    "score_corrected", "outcome",
)  # fmt: skip

_FIRST = ("first_topic", "first_partition", "first_offset")


def token_columns(precedence: Sequence[str]) -> list[str]:
    """Columns of the identifiers, in the order in which they decide.

    >>> token_columns(["unionid", "phone"])
    ['unionid_token', 'phone_token']
    """
    return [f"{kind}_token" for kind in precedence]


def identifier_columns(identity: Mapping[str, Any]) -> list[str]:
    """Columns of all identifiers that say whose a row is; ``identity`` is the policy of that name."""
    return list(dict.fromkeys(token_columns([*identity["precedence"], *identity["provisional"]])))


def newest_revisions(rows: DataFrame) -> DataFrame:
    """One row per source message: highest revision, then highest attempt.

    An edit replaces what it edits and a replay what it repeats; order of arrival decides nothing (design decision 6).
    A row without a source ID is known by the coordinates of its first attempt, which are its own unless it is a replay.
    """
    places = zip(_FIRST, ("raw_topic", "raw_partition", "raw_offset"), strict=True)
    own = F.concat_ws("/", *[F.coalesce(first, raw) for first, raw in places])
    key = F.coalesce(F.concat(F.lit("id:"), "source_message_id"), own)
    # Most messages are one row: only the others are sorted. Two messages of one hash are sorted too, and both stay.
    marked = rows.withColumn("_message", F.xxhash64("channel", "account", key))
    several = marked.groupBy("_message").agg(F.count(F.lit(1)).alias("n")).where("n > 1").select("_message")
    order = [F.col(c).desc_nulls_last() for c in ("source_revision", "attempt", "received_at")]
    tie = [F.col(c) for c in ("raw_topic", "raw_partition", "raw_offset")]
    newest = Window.partitionBy("channel", "account", key).orderBy(*order, *tie)
    alone = marked.join(several, on="_message", how="left_anti")
    others = marked.join(several, on="_message", how="left_semi").withColumn("_nth", F.row_number().over(newest))
    return alone.unionByName(others.where("_nth = 1").drop("_nth")).drop("_message")


def newest_links(links: DataFrame) -> DataFrame:
    """The links that count of the change log ``silver.identity_links``: (token, stretches), one row a token.

    The rows with the newest ``recorded_at`` of a token, as (valid_from_at, valid_to_at, customer_id) in the order of
    time. A stretch without a customer says more than no entry at all: the identifier is known, and nobody's.
    """
    recorded = F.coalesce("recorded_at", "valid_from_at")  # before version 0.2 a link was its own recording
    stretch = F.struct("valid_from_at", "valid_to_at", F.col("customer_id").alias("linked_customer_id"))
    each = links.groupBy("token", recorded.alias("recorded_at")).agg(F.sort_array(F.collect_set(stretch)).alias("s"))
    return each.groupBy("token").agg(F.max_by("s", "recorded_at").alias("stretches"))


def provisional_name(order: Sequence[str]) -> Column:
    """The name of a customer nobody has linked, from the best token at hand; NULL where there is none.

    The same rule as ``pipelines.identity.provisional.provisional_id``, in Spark's words; one test runs both.
    """
    best = F.coalesce(*token_columns(order))
    return F.concat(F.lit("p_"), F.substring(F.right(best, F.lit(32)), 1, 24))


def under_current_customer(rows: DataFrame, links: DataFrame, identity: Mapping[str, Any]) -> DataFrame:
    """``customer_id`` and ``identity_status`` by today's links; ``identity`` is the policy of that name.

    The first identifier of the precedence that was somebody's when the row occurred decides, as in
    ``pipelines.identity.provisional.join_customers``: a phone number of two holders in turn leads to the one of that
    day. Where none was, but the log knows one of them, the row falls back to
    its provisional name. Where the log knows none of the row's tokens, the row says who it is: the stream reads the map
    as it changes and may be ahead of the lake by some seconds.
    """
    precedence, order = identity["precedence"], identity["provisional"]
    tokens = identifier_columns(identity)
    # Few people write many rows: links are looked up once per distinct set of identifiers, not once per row. A set is
    # known by 128 bits of hash, so that the rows need not carry seven strings through the join.
    who = {f"_who_{n}": F.xxhash64(F.lit(n), *tokens) for n in (1, 2)}
    marked = rows.withColumns(who | {"_named": provisional_name(order)})
    sets = marked.select(*who, *tokens).dropDuplicates(list(who))
    ranked = [
        F.struct(F.lit(n).alias("rank"), F.col(c).alias("token")) for n, c in enumerate(token_columns(precedence))
    ]
    held = F.filter(F.array(*ranked), lambda one: one["token"].isNotNull())
    each = sets.select(*who, F.explode(held).alias("t")).select(*who, "t.rank", "t.token")
    found = each.join(newest_links(links), on="token", how="inner")
    by_rank = F.sort_array(F.collect_list(F.struct("rank", "stretches")))
    known = found.groupBy(*who).agg(F.flatten(F.transform(by_rank, _with_rank)).alias("_stretches"))
    owned = _owned(known, who, precedence.index(identity["must_agree"][0]))
    at = F.col("occurred_at")
    same = [F.col(f"rows.{name}") == F.col(f"owned.{name}") for name in who]
    begun, not_ended = F.col("_begin_at") <= at, at < F.col("_end_at")
    dateless = at.isNull() & F.col("_begin_at").isNull()  # nobody's, but of a set that is known
    then = (F.col("_begin_at").isNull() | begun) & (F.col("_end_at").isNull() | not_ended | dateless)
    rows_of, owned_of = marked.drop(*tokens).alias("rows"), owned.alias("owned").hint("shuffle_hash")
    joined = rows_of.join(owned_of, [*same, then], how="left").select("rows.*", "_linked", "_known")
    unlinked = F.col("_known") & (F.col("identity_status") != "provisional")
    tool = F.col("_linked") == NOBODY_AT_ALL
    status = F.when(tool, "anonymous").when(F.col("_linked").isNotNull(), "linked").when(unlinked, "provisional")
    own = F.when(unlinked, F.col("_named")).otherwise(F.col("customer_id"))
    return (
        joined.withColumn("_own", own)
        .withColumn("identity_status", F.coalesce(status, "identity_status"))
        .withColumn("customer_id", F.when(~F.coalesce(tool, F.lit(False)), F.coalesce("_linked", "_own")))
        .drop(*who, "_linked", "_own", "_named", "_known")
    )


def _with_rank(one: Column) -> Column:
    return F.transform(one["stretches"], lambda stretch: stretch.withField("rank", one["rank"]))


def _owned(known: DataFrame, who: Mapping[str, Column], must_agree_from: int) -> DataFrame:
    """Whose each set of identifiers is, and when: the set, _begin_at, _end_at (NULL: open), _linked, and _known, true.

    A set's stretches cut time into pieces, and only at their ends can the decision change. So it is taken once a piece,
    of which a set has two or three, and not once a row: functions over arrays are interpreted (a sixth of a day's CPU).
    """
    ends = F.concat("_stretches.valid_from_at", "_stretches.valid_to_at")
    cuts = F.array_sort(F.array_distinct(F.array_compact(ends)))
    open_end = F.array(F.lit(None).cast("timestamp"))
    pieces = F.arrays_zip(F.concat(open_end, cuts).alias("_begin_at"), F.concat(cuts, open_end).alias("_end_at"))
    each = known.select(*who, "_stretches", F.explode(pieces).alias("piece")).select(*who, "_stretches", "piece.*")
    decided = _decided(F.col("_begin_at"), must_agree_from).alias("_linked")
    return each.select(*who, "_begin_at", "_end_at", decided, F.lit(True).alias("_known"))


def _decided(at: Column, must_agree_from: int) -> Column:
    """Whose the row is: the first identifier's owner; nobody's where those from that rank on decide and lead apart."""
    owned = F.filter("_stretches", lambda stretch: _somebodys(stretch, at))
    first = F.get(owned, 0)
    torn = F.size(F.array_distinct(F.transform(owned, lambda stretch: stretch["linked_customer_id"]))) > 1
    torn = torn & (first["rank"] >= must_agree_from)
    return F.when(torn, NOBODY_AT_ALL).otherwise(first["linked_customer_id"])


def _somebodys(stretch: Column, at: Column) -> Column:
    open_end = stretch["valid_to_at"].isNull() | (at < stretch["valid_to_at"])
    return stretch["linked_customer_id"].isNotNull() & (stretch["valid_from_at"] <= at) & open_end


def current_rows(
    interactions: DataFrame, feedback: DataFrame, links: DataFrame, identity: Mapping[str, Any]
) -> DataFrame:
    """Interactions and feedback together: newest revisions, under the customer known today; columns as ``NEEDED``."""
    columns = [*NEEDED, *_FIRST, *identifier_columns(identity)]
    both = interactions.select(columns).unionByName(feedback.select(columns))
    return under_current_customer(newest_revisions(both), links, identity).select(list(NEEDED))
