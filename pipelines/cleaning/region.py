"""Records in the root of another region than their account's: they stay where they came in, and go no further."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

RULE = "region.wrong"
_SEPARATOR = "\x1f"


def region_of_account(
    channel: pl.Series, account: pl.Series, *, home: str, by_account: Mapping[tuple[str, str], str]
) -> pl.Series:
    """The region of each row's account; `home` where `by_account` does not name it.

    >>> region_of_account(pl.Series(["app", "app", "sms"]), pl.Series(["sg", "default", "sg"]), home="cn",
    ...                   by_account={("app", "sg"): "sg"}).to_list()
    ['sg', 'cn', 'cn']
    """
    named = {_SEPARATOR.join(name): region for name, region in by_account.items()}
    known = (channel + _SEPARATOR + account).replace_strict(named, default=home, return_dtype=pl.String)
    return known.alias("region")


def wrong_region(region: pl.Series, *, here: str) -> pl.Series:
    """Which rows' region is not `here`, the region of the root they came into.

    >>> wrong_region(pl.Series(["sg", "cn"]), here="cn").to_list()
    [True, False]
    """
    return region != here


def reason(channel: str, account: str, belongs_to: str, here: str) -> str:
    """Why such a record is refused, for a person.

    >>> reason("app", "shop_sg", "sg", "cn")
    "Account 'shop_sg' of app belongs to region sg, and this is the root of region cn."
    """
    named = f"Account {account[:80]!r} of {channel}"  # whoever wrote the header chose how long it is
    return f"{named} belongs to region {belongs_to}, and this is the root of region {here}."
