"""A simulated world as the product would see it: tokens instead of values, evidence rows, and who each item went to."""

from __future__ import annotations

import hmac

import polars as pl

from pipelines.cleaning.customer import IDENTIFIERS
from pipelines.identity.crm_import import customer_id
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.simulation.identity_world import World

_INSTANT = pl.Datetime("us", "UTC")
#: One row per (record_key, token): what one record says of one identifier, over all the time it said so.
EVIDENCE: dict[str, pl.DataType] = {
    "record_key": pl.String(),  # crm/<24 hex> or s/<24 hex>
    "source": pl.String(),  # crm, or the channel
    "token": pl.String(),
    "token_type": pl.String(),
    "attested": pl.Boolean(),
    "first_seen_at": _INSTANT,
    "last_seen_at": _INSTANT,  # of a CRM value: when it was replaced, or the end of the world if it never was
    "sightings": pl.Int64(),  # contacts, or revisions of the CRM record
}
#: What the platform or the network vouches for, whatever the message says; the rest is attested by flags, or not.
_SELF_ATTESTED = ("unionid", "openid", "external_userid", "user_handle")
_CONTACT_KINDS = [name for name in IDENTIFIERS if name != "national_id"]
_CRM_KINDS = ("phone", "unionid", "member_number", "email", "national_id")


def crm_key(customer_no: str, key: MasterKey) -> str:
    """The record key of a CRM customer.

    >>> crm_key("100", MasterKey({1: bytes(32)}))[:4], len(crm_key("100", MasterKey({1: bytes(32)})))
    ('crm/', 28)
    """
    return "crm/" + customer_id(customer_no, key).removeprefix("c_")


def crm_records(world: World, key: MasterKey) -> pl.DataFrame:
    """item (customer_no) and record_key of each CRM customer, in the order of the customer numbers."""
    numbers = world.crm["customer_no"].unique().sort()
    return pl.DataFrame({"item": numbers, "record_key": [crm_key(number, key) for number in numbers]})


def contacts_with_tokens(world: World, tokeniser: Tokeniser, key: MasterKey, scoped: list[str]) -> pl.DataFrame:
    """contact_id, channel, occurred_at, record_key, a token column per identifier (named as in silver), two flags.

    `scoped` are the token types made per channel (policy privacy, scoped_by_channel). record_key is NULL where no
    identifier has a token: nothing was carried, or placeholders only.
    """
    columns = []
    for name in _CONTACT_KINDS:
        kind, column = IDENTIFIERS[name]
        scope = world.contacts["channel"] if kind in scoped else None
        columns.append(tokeniser.tokens(world.contacts[name], kind, scope).alias(column))
    names = [column.name for column in columns]
    frame = world.contacts.select(
        "contact_id", "channel", "occurred_at", "phone_attested", "member_attested"
    ).with_columns(columns)
    said = pl.concat_list(names).list.drop_nulls().list.sort().list.join(" ")
    frame = frame.with_columns(said=pl.when(said != "").then(pl.col("channel") + " " + said))
    return frame.with_columns(record_key=_set_keys(frame["said"], key)).drop("said")


def _set_keys(said: pl.Series, key: MasterKey) -> pl.Series:
    """The coded key of each set of identifiers (source and sorted tokens as one text)."""
    derived = key.derive("identity/record", key.token_version)
    distinct = said.drop_nulls().unique().to_list()
    coded = ["s/" + hmac.digest(derived, value.encode(), "sha256")[:12].hex() for value in distinct]
    return said.replace_strict(distinct, coded, default=None, return_dtype=pl.String)


def evidence(world: World, contacts: pl.DataFrame, tokeniser: Tokeniser, key: MasterKey) -> pl.DataFrame:
    """All evidence of the world, schema EVIDENCE: sets of identifiers from contacts, values of CRM records."""
    rows = pl.concat([_of_contacts(contacts), _of_crm(world, tokeniser, key)])
    aggregated = rows.group_by("record_key", "source", "token", "token_type").agg(
        pl.col("attested").any(), pl.col("first_seen_at").min(), pl.col("last_seen_at").max(), sightings=pl.len()
    )
    return aggregated.select(pl.col(name).cast(kind) for name, kind in EVIDENCE.items()).sort("record_key", "token")


def _of_contacts(contacts: pl.DataFrame) -> pl.DataFrame:
    parts = []
    for name in _CONTACT_KINDS:
        kind, column = IDENTIFIERS[name]
        flag = {"phone": pl.col("phone_attested"), "member_number": pl.col("member_attested")}.get(
            name, pl.lit(name in _SELF_ATTESTED)
        )
        seen = {"first_seen_at": pl.col("occurred_at"), "last_seen_at": pl.col("occurred_at")}
        parts.append(
            contacts.filter(pl.col(column).is_not_null()).select(
                "record_key", pl.col("channel").alias("source"), pl.col(column).alias("token"),
                pl.lit(kind).alias("token_type"), flag.alias("attested"), **seen,
            )
        )  # fmt: skip
    return pl.concat(parts)


def _of_crm(world: World, tokeniser: Tokeniser, key: MasterKey) -> pl.DataFrame:
    """A value is seen from the revision that brings it to the one that replaces it."""
    keys = crm_records(world, key).rename({"item": "customer_no"})
    revisions = (
        world.crm.sort("customer_no", "revision")
        .with_columns(until_at=pl.col("updated_at").shift(-1).over("customer_no").fill_null(world.end_at))
        .join(keys, on="customer_no")
    )
    flags = {"phone": pl.col("phone_verified"), "email": pl.col("email_verified")}
    parts = []
    for name in _CRM_KINDS:
        kind, _ = IDENTIFIERS[name]
        flag = flags.get(name, pl.lit(name != "national_id"))
        rows = revisions.with_columns(tokeniser.tokens(revisions[name], kind).alias("token"))
        parts.append(
            rows.filter(pl.col("token").is_not_null()).select(
                "record_key", pl.lit("crm").alias("source"), "token", pl.lit(kind).alias("token_type"),
                flag.alias("attested"), pl.col("updated_at").alias("first_seen_at"),
                pl.col("until_at").alias("last_seen_at"),
            )
        )  # fmt: skip
    return pl.concat(parts)


def tokens_of(contacts: pl.DataFrame, order: list[str]) -> pl.DataFrame:
    """Long form of the contacts' tokens: item, occurred_at, token, rank (place of its type in `order`, from 0)."""
    column_of = {kind: column for kind, column in IDENTIFIERS.values()}
    parts = [
        contacts.select(item="contact_id", occurred_at="occurred_at", token=column_of[kind], rank=pl.lit(rank))
        for rank, kind in enumerate(order)
        if column_of[kind] in contacts.columns
    ]
    return pl.concat(parts).drop_nulls("token")


def assigned_by_owners(
    contacts: pl.DataFrame, owners: pl.DataFrame, *, precedence: list[str], provisional: list[str]
) -> pl.DataFrame:
    """item, customer_id of each contact under a resolver's result, as the stream would join it.

    `owners` has token, customer_id (NULL: shared, links nobody), valid_from_at, valid_to_at (NULL: open; not included).
    The first type of `precedence` whose token has an owner when the contact happened decides. A contact none of whose
    tokens is owned then is named after its best token (`provisional`) that no row of `owners` mentions; a token that
    has an owner at other times, or is shared, names nobody, and such a contact is left out.
    """
    long = tokens_of(contacts, precedence)
    opened = pl.col("valid_from_at").is_null() | (pl.col("valid_from_at") <= pl.col("occurred_at"))
    not_closed = pl.col("valid_to_at").is_null() | (pl.col("valid_to_at") > pl.col("occurred_at"))
    owned = long.join(owners, on="token").filter(opened & not_closed & pl.col("customer_id").is_not_null())
    linked = owned.sort("rank").unique("item", keep="first", maintain_order=True).select("item", "customer_id")
    rest = tokens_of(contacts, provisional).join(linked, on="item", how="anti").join(owners, on="token", how="anti")
    named = rest.sort("rank").unique("item", keep="first", maintain_order=True)
    return pl.concat([linked, named.select("item", customer_id="p_" + pl.col("token").str.tail(32).str.head(24))])
