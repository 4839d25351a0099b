"""The CRM's records as matching takes them: the newest revision of each, what of it is compared, and since when."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import polars as pl

from pipelines.identity.addresses import split_address

COMPARED = {
    "name_token": "full_name",
    "birth_date_token": "birth_date",
    "address_token": "address",
    "phone_token": "phone",
    "email_token": "email",
    "national_id_token": "national_id",
}
"""Column of silver.customers → what is behind it, once opened."""
_NEWEST = ("updated_at", "source_revision", "attempt", "received_at")
_PLACE = ("raw_topic", "raw_partition", "raw_offset")
NEEDED = ("record_key", "crm_status", *COMPARED, *_NEWEST, *_PLACE)
"""Columns of silver.customers that are read."""
_HASH_HEX = 32


def newest_records(revisions: pl.DataFrame) -> pl.DataFrame:
    """One row a record as the CRM has it today, in the order of their keys; deleted ones are left out.

    The same order of revisions as in `pipelines.tables.newest_records`: the source's last change counts.

    >>> row = {"record_key": "crm/1", "crm_status": "active", "source_revision": 0, "attempt": 0, "received_at": 9,
    ...        "raw_topic": "raw.crm", "raw_partition": 0} | dict.fromkeys(COMPARED)
    >>> newest_records(pl.DataFrame([row | {"updated_at": 2, "raw_offset": 1, "name_token": "nm1_new"},
    ...     row | {"updated_at": 1, "raw_offset": 2, "name_token": "nm1_late"},
    ...     row | {"record_key": "crm/2", "crm_status": "deleted", "updated_at": 1, "raw_offset": 3}])
    ...     ).select("record_key", "name_token").rows()
    [('crm/1', 'nm1_new')]
    """
    later = [True] * len(_NEWEST) + [False] * len(_PLACE)
    ordered = revisions.sort(*_NEWEST, *_PLACE, descending=later, nulls_last=True)
    newest = ordered.unique("record_key", keep="first", maintain_order=True)
    return newest.filter(pl.col("crm_status") != "deleted").sort("record_key")


def fingerprints(records: pl.DataFrame, version: str) -> pl.Series:
    """What each record said when it was compared, and by which rules: where it differs, the record is matched again.

    It is made of tokens, so it says nothing of the person.

    >>> record = dict.fromkeys(COMPARED) | {"name_token": "nm1_a"}
    >>> before, moved = fingerprints(pl.DataFrame([record, record | {"address_token": "ad1_b"}]), "matching-1")
    >>> before == moved, before == fingerprints(pl.DataFrame([record]), "matching-1")[0]
    (False, True)
    """
    said = pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in COMPARED], separator="|")
    texts = records.select(said).to_series().to_list()
    made = [hashlib.sha256(f"{version}|{text}".encode()).hexdigest()[:_HASH_HEX] for text in texts]
    return pl.Series("profile_hash", made, dtype=pl.String)


def profiles(records: pl.DataFrame, values: Mapping[str, str]) -> pl.DataFrame:
    """The records in the clear, as `match_profiles.features` takes them; a value that was erased is not told.

    What it returns is personal: it belongs in this process's memory only.

    >>> record = dict.fromkeys(COMPARED) | {"record_key": "crm/1", "name_token": "nm1_a", "phone_token": "ph1_gone"}
    >>> made = profiles(pl.DataFrame([record]), {"nm1_a": "李雷"})
    >>> made.select("record_id", "full_name", "phone").rows()
    [('crm/1', '李雷', None)]
    """
    opened = {
        clear: [values.get(token) if token else None for token in records[column].to_list()]
        for column, clear in COMPARED.items()
    }
    told = pl.DataFrame(
        {"record_id": records["record_key"]} | opened, schema_overrides=dict.fromkeys(opened, pl.String)
    )
    return told.drop("address").hstack(split_address(told["address"]))
