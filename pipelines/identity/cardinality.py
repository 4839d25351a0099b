"""May an identifier be used for linking? What the evidence says, before it is: how many records a token has, and whose.

An identifier that is what it claims to be has few records a token and one owner. A field that clerks fill with the
shop's number has the same name, and a thousand owners.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

#: What counts as an owner although it is no token: a customer of the CRM.
CRM_OWNER = "crm"
_CRM_PREFIX = "crm/"


def report(
    evidence: pl.DataFrame,
    *,
    unique_types: Sequence[str],
    hub_records: int,
    max_hub_share: float,
    max_contested_share: float,
    min_tokens: int,
) -> pl.DataFrame:
    """One row per token type, sorted by it, with a verdict. `evidence` needs record_key, token, token_type.

    tokens and records are distinct; `records_per_token_*` and `tokens_per_record_*` are nearest-rank percentiles and
    the maximum. A token is *contested* if it was seen with two owners of one unique type: two CRM customers ("crm" in
    `unique_types`), two unionids. A token with more than `hub_records` records is a *hub* (a clerk's phone, a
    switchboard); hubs are listed and left out of `contested_share`.

    Verdicts: ``may_not_link`` where there are fewer than `min_tokens` tokens (nothing can be said), more than
    `max_hub_share` of them are hubs, or more than `max_contested_share` of the rest are contested; ``hubs`` where it
    may link but for its hubs (`offenders` names them); else ``may_link``. Limits: policy identity, key cardinality.

    >>> rows = [("crm/1", "ph1_a", "phone"), ("s/1", "ph1_a", "phone"), ("crm/2", "ph1_b", "phone")]
    >>> evidence = pl.DataFrame(rows, schema=["record_key", "token", "token_type"], orient="row")
    >>> limits = dict(unique_types=["crm"], hub_records=5, max_hub_share=0.1, max_contested_share=0.1, min_tokens=2)
    >>> report(evidence, **limits).select("tokens", "records", "records_per_token_max", "verdict").rows()
    [(2, 3, 2, 'may_link')]
    """
    pairs = evidence.select("record_key", "token", "token_type").unique()
    counted = _counted(pairs, _tokens(pairs, unique_types), hub_records)
    refused = (
        pl.when(pl.col("tokens") < min_tokens)
        .then(pl.format("only {} tokens, at least " + str(min_tokens) + " are needed to judge", "tokens"))
        .when(pl.col("hub_share") > max_hub_share)
        .then(pl.format("{} of {} tokens are hubs", "hub_tokens", "tokens"))
        .when(pl.col("contested_share") > max_contested_share)
        .then(
            pl.format(
                "{} of {} tokens have two owners, hubs left out",
                "contested_tokens",
                pl.col("tokens") - pl.col("hub_tokens"),
            )
        )
    )
    judged = counted.with_columns(reason=refused).with_columns(
        verdict=pl.when(pl.col("reason").is_not_null())
        .then(pl.lit("may_not_link"))
        .when(pl.col("hub_tokens") > 0)
        .then(pl.lit("hubs"))
        .otherwise(pl.lit("may_link"))
    )
    return judged.select(
        "token_type",
        "tokens",
        "records",
        *(f"{name}_{at}" for name in ("records_per_token", "tokens_per_record") for at in ("p50", "p99", "max")),
        "contested_tokens",
        "contested_share",
        "hub_tokens",
        "hub_share",
        "verdict",
        "reason",
    ).sort("token_type")


def _counted(pairs: pl.DataFrame, tokens: pl.DataFrame, hub_records: int) -> pl.DataFrame:
    """The report's figures, without a verdict."""
    per_record = pairs.group_by("token_type", "record_key").len("n").group_by("token_type").agg(
        pl.len().alias("records"), *_percentiles("n", "tokens_per_record")
    )  # fmt: skip
    is_hub = pl.col("records") > hub_records
    contested = ~is_hub & (pl.col("owners") > 1)
    by_type = tokens.group_by("token_type").agg(
        pl.len().alias("tokens"),
        *_percentiles("records", "records_per_token"),
        contested_tokens=contested.sum(),
        hub_tokens=is_hub.sum(),
    )
    return by_type.join(per_record, on="token_type").with_columns(
        # 0 / 0 where every token is a hub: no token is left that could be contested.
        contested_share=(pl.col("contested_tokens") / (pl.col("tokens") - pl.col("hub_tokens"))).fill_nan(0.0),
        hub_share=pl.col("hub_tokens") / pl.col("tokens"),
    )


def offenders(evidence: pl.DataFrame, *, unique_types: Sequence[str], top: int) -> pl.DataFrame:
    """The `top` tokens of each type by records: token_type, token, records, owners. Ties in the order of the token.

    `owners` is the largest number of distinct owners of one unique type that the token was seen with.

    >>> rows = [("crm/1", "ph1_a", "phone"), ("crm/2", "ph1_a", "phone"), ("s/2", "ph1_b", "phone")]
    >>> evidence = pl.DataFrame(rows, schema=["record_key", "token", "token_type"], orient="row")
    >>> offenders(evidence, unique_types=["crm"], top=1).rows()
    [('phone', 'ph1_a', 2, 2)]
    """
    pairs = evidence.select("record_key", "token", "token_type").unique()
    ranked = _tokens(pairs, unique_types).sort(["token_type", "records", "token"], descending=[False, True, False])
    return (
        ranked.group_by("token_type", maintain_order=True).head(top).select("token_type", "token", "records", "owners")
    )


def _tokens(pairs: pl.DataFrame, unique_types: Sequence[str]) -> pl.DataFrame:
    """token_type, token, records, owners of each token."""
    claims = pairs.join(_owners(pairs, unique_types), on="record_key")
    # A unionid is not its own second owner.
    claims = claims.filter(pl.col("token_type") != pl.col("owner_type"))
    of_one_type = claims.group_by("token_type", "token", "owner_type").agg(pl.col("owner").n_unique().alias("owners"))
    owners = of_one_type.group_by("token_type", "token").agg(pl.col("owners").max())
    records = pairs.group_by("token_type", "token").len("records")
    return records.join(owners, on=["token_type", "token"], how="left").with_columns(pl.col("owners").fill_null(0))


def _owners(pairs: pl.DataFrame, unique_types: Sequence[str]) -> pl.DataFrame:
    """record_key, owner_type, owner: who a record says it is."""
    of_tokens = pairs.filter(pl.col("token_type").is_in(unique_types)).select(
        "record_key", owner_type="token_type", owner="token"
    )
    if CRM_OWNER not in unique_types:
        return of_tokens
    records = pairs.select("record_key").unique().filter(pl.col("record_key").str.starts_with(_CRM_PREFIX))
    return pl.concat([of_tokens, records.select("record_key", owner_type=pl.lit(CRM_OWNER), owner="record_key")])


def _percentiles(column: str, name: str) -> list[pl.Expr]:
    """Nearest rank: each is a number that was seen."""
    ordered = pl.col(column).sort()
    ranks = {at: (at * pl.len() + 99) // 100 - 1 for at in (50, 99)}
    return [ordered.get(rank).alias(f"{name}_p{at}") for at, rank in ranks.items()] + [
        ordered.last().alias(f"{name}_max")
    ]
