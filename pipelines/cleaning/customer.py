"""From identifiers to tokens to the customer: personal values end here."""

from __future__ import annotations

import polars as pl

from pipelines.cleaning.context import CleaningContext
from pipelines.identity.provisional import join_customers

# Identifier of the parsed message → kind of token → column of the clean record.
IDENTIFIERS = {
    "phone": ("phone", "phone_token"),
    "national_id": ("national_id", "national_id_token"),
    "email": ("email", "email_token"),
    "unionid": ("unionid", "unionid_token"),
    "openid": ("openid", "openid_token"),
    "external_userid": ("external_userid", "external_userid_token"),
    "member_number": ("member", "member_token"),
    "user_handle": ("user_handle", "user_handle_token"),
}


def tokenise_identifiers(frame: pl.DataFrame, context: CleaningContext) -> pl.DataFrame:
    """Replace each identifier column by its token column; the clear value is gone from the frame."""
    scoped = set(context.policies["privacy"]["scoped_by_channel"])
    tokens = [
        context.tokeniser.tokens(frame[name], kind, frame["channel"] if kind in scoped else None).alias(column)
        for name, (kind, column) in IDENTIFIERS.items()
    ]
    return pl.DataFrame([column for column in frame.iter_columns() if column.name not in IDENTIFIERS] + tokens)


def join_customer(frame: pl.DataFrame, context: CleaningContext) -> pl.DataFrame:
    """Adds customer_id and identity_status (linked, provisional, anonymous) by the policy's order of identifiers."""
    policy = context.policies["identity"]
    tokens = {kind: frame[column] for kind, column in IDENTIFIERS.values()}
    joined = join_customers(
        tokens,
        context.identity,
        precedence=policy["precedence"],
        must_agree=policy["must_agree"],
        provisional=policy["provisional"],
    )
    return frame.hstack(joined)
