"""What identity rests on: which source record carries which identifier, since when, and who vouches for it.

An evidence frame has one row a (record_key, token), columns as `COLUMNS`. `record_key` is a coded source record: a CRM
customer (``crm/<24 hex>``) or the identifiers that one message carried together (``s/<24 hex>``, the same for the same
set on the same channel: evidence grows with the keys alive, not with the messages). `attested` says that the platform,
or the company itself, vouches for the identifier; else somebody typed it. Instants are microseconds since the epoch;
`last_seen_at` NULL means that the source still holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

COLUMNS = {
    "record_key": pl.String,
    "source": pl.String,
    "token": pl.String,
    "token_type": pl.String,
    "attested": pl.Boolean,
    "first_seen_at": pl.Int64,
    "last_seen_at": pl.Int64,
    "sightings": pl.Int64,
}
# An account that stands beside many customers is a tool (a test account): whoever else a message of it names is
# not who wrote it. No link at all would let the next identifier decide.
NOBODY_AT_ALL = ""
ACCOUNTS = frozenset(["user_handle"])
_CODE_HEX = 24
_SETS = "s"  # records of identifiers that one message carried together


def customer_id_of(record_key: str) -> str:
    """The coded customer ID that a record gives when it is the oldest of its customer.

    >>> customer_id_of("crm/" + "a1" * 12)
    'c_a1a1a1a1a1a1a1a1a1a1a1a1'
    """
    return "c_" + record_key.rpartition("/")[2]


def records_that_name(customer_id: str, registers: Sequence[str]) -> list[str]:
    """The reverse of `customer_id_of`: the source records one of which gave this ID, whoever's it is by now.

    >>> records_that_name("c_a1", ["crm"]), records_that_name("p_a1", ["crm"])
    (['crm/a1', 's/a1'], [])
    """
    if not customer_id.startswith("c_"):
        return []
    return [f"{source}/{customer_id[2:]}" for source in (*registers, _SETS)]


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Evidence from plain rows; what a row leaves out is NULL."""
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


TOKEN_COLUMNS = tuple(f"{kind}_token" for kind in (
    "unionid", "openid", "external_userid", "member", "user_handle", "phone", "email", "national_id",
))  # fmt: skip


def of_messages(clean: pl.DataFrame, resolution: Mapping[str, Any]) -> pl.DataFrame:
    """Evidence of clean records: which identifiers a message of a customer carried together.

    `clean` has channel, sender_role, occurred_at (microseconds) and TOKEN_COLUMNS (those that are NULL throughout may
    be left out). A message with a single identifier links nothing and gives no row. `resolution` is that part of policy
    identity.

    >>> clean = pl.DataFrame({"channel": ["wechat", "sms"], "sender_role": ["customer", "customer"],
    ...     "occurred_at": [5, 6], "openid_token": ["op1_" + "a" * 32, None],
    ...     "unionid_token": ["un1_" + "b" * 32, None], "phone_token": [None, "ph1_" + "c" * 32]})
    >>> of_messages(clean, {"attested_by_channel": {"wechat": ["openid", "unionid"]}}).select(
    ...     pl.col("token").str.head(3), "token_type", "attested", "sightings").rows()
    [('un1', 'unionid', True, 1), ('op1', 'openid', True, 1)]
    """
    columns = [name for name in TOKEN_COLUMNS if name in clean.columns]
    carried = pl.sum_horizontal(pl.col(name).is_not_null() for name in columns)
    said = clean.filter(pl.col("sender_role").eq_missing("customer") & (carried >= 2))
    sets = said.group_by("channel", *columns, maintain_order=True).agg(
        pl.col("occurred_at").min().alias("first_seen_at"),
        pl.col("occurred_at").max().alias("last_seen_at"),
        pl.len().cast(pl.Int64).alias("sightings"),
    )
    keys = [set_key(row[0], row[1:]) for row in sets.select("channel", *columns).iter_rows()]
    vouched = {(channel, kind) for channel, kinds in resolution["attested_by_channel"].items() for kind in kinds}
    rows = [
        (key, channel, token, kind, (channel, kind) in vouched, first, last, seen)
        for key, (channel, *tokens, first, last, seen) in zip(keys, sets.iter_rows(), strict=True)
        for kind, token in zip((name.removesuffix("_token") for name in columns), tokens, strict=True)
        if token is not None
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def set_key(channel: str, tokens: Sequence[str | None]) -> str:
    """The record_key of the identifiers a message carried together, whatever their order.

    >>> set_key("app", ["mb1_a", None, "uh1_b"]) == set_key("app", ["uh1_b", "mb1_a"])
    True
    """
    # Tokens are keyed hashes already: a plain hash of them gives nobody back.
    told = "|".join([channel, *sorted(token for token in tokens if token is not None)])
    return f"{_SETS}/{hashlib.sha256(told.encode()).hexdigest()[:_CODE_HEX]}"
