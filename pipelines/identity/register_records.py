"""Records of a register (the CRM) out of the stream as evidence: what each holds, from which of its revisions to which.

Such a record counts like the same row of a CRM file (`pipelines.identity.crm_import`): it is told whole, a later
revision replaces what an earlier one said, and a deleted record holds nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl

from pipelines.identity.evidence import frame

KINDS = {
    "phone_token": "phone", "unionid_token": "unionid", "member_token": "member", "email_token": "email",
    "national_id_token": "national_id", "name_token": "person_name", "birth_date_token": "birth_date",
}  # fmt: skip
"""Column of customers.clean → kind of token; name and birth date join nobody, they tell one person from two."""
_ORDER = ("record_key", "updated_at", "source_revision", "attempt")
_ROW = (*_ORDER, "channel", "crm_status", "phone_verified", *KINDS)


class Revision(NamedTuple):
    """What of a record was told: `first_at` and `updated_at` of the earliest and the latest revision (microseconds)."""

    first_at: int
    updated_at: int
    source_revision: int


@dataclass(frozen=True)
class Told:
    """Evidence of register records (`claims`: see `pipelines.identity.evidence`), and which revisions told it."""

    claims: pl.DataFrame
    revisions: dict[str, Revision]


def of_records(clean: pl.DataFrame, resolution: Mapping[str, Any]) -> Told:
    """Evidence of kept CRM records; `resolution` is that part of policy identity.

    A value is held from the revision that brings it until the one that no longer says it. A phone is vouched for only
    where the CRM has verified it. A record that holds nothing is told as well: what it held before ends.

    >>> row = dict.fromkeys(_ROW) | {"record_key": "crm/1", "channel": "crm", "crm_status": "active", "attempt": 0}
    >>> told = of_records(pl.DataFrame([
    ...     row | {"updated_at": 5, "source_revision": 0, "phone_token": "ph1_a", "phone_verified": True},
    ...     row | {"updated_at": 9, "source_revision": 1, "phone_token": "ph1_b", "phone_verified": False}]),
    ...     {"crm": ["unionid"], "same_person": ["person_name"]})
    >>> told.claims.select("token", "attested", "first_seen_at", "last_seen_at").rows()
    [('ph1_a', True, 5, 9), ('ph1_b', False, 9, None)]
    >>> told.revisions
    {'crm/1': Revision(first_at=5, updated_at=9, source_revision=1)}
    """
    vouched = {*resolution["crm"], *resolution["same_person"]}
    ordered = clean.select(_ROW).sort(_ORDER, nulls_last=False).iter_rows(named=True)
    claims: list[dict[str, Any]] = []
    revisions: dict[str, Revision] = {}
    for record, rows in groupby(ordered, key=lambda row: row["record_key"]):
        told = list(rows)
        claims += _held(told, vouched)
        last = told[-1]
        revisions[record] = Revision(told[0]["updated_at"], last["updated_at"], last["source_revision"] or 0)
    return Told(frame(claims), revisions)


def _held(revisions: list[dict[str, Any]], vouched: set[str]) -> Iterator[dict[str, Any]]:
    """A claim for each value that one of the revisions says."""
    claims: dict[str, dict[str, Any]] = {}
    for row in revisions:
        says = {} if row["crm_status"] == "deleted" else {row[name]: kind for name, kind in KINDS.items() if row[name]}
        for token, claim in claims.items():
            if token not in says and claim["last_seen_at"] is None:
                claim["last_seen_at"] = row["updated_at"]
        for token, kind in says.items():
            sure = bool(row["phone_verified"]) if kind == "phone" else kind in vouched
            new = {"record_key": row["record_key"], "source": row["channel"], "token": token, "token_type": kind,
                   "first_seen_at": row["updated_at"], "sightings": 1}  # fmt: skip
            claims.setdefault(token, new).update(attested=sure, last_seen_at=None)
    return iter(claims.values())
