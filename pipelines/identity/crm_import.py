"""The CRM's customers as evidence: which identifiers each holds, and which of them the company has checked."""

from __future__ import annotations

import csv
import hmac
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.identity.evidence import frame
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser, token_values

SOURCE = "crm"
REQUIRED_COLUMNS = ("customer_no", "phone", "phone_verified", "unionid", "member_number")
_YES = frozenset(["1", "true", "yes", "y", "t", "是", "已验证"])
# Kind of token → column; those that are not required are read where the file has them. Name and birth date join nobody:
# they tell one person who registered twice from two.
_COLUMNS = {
    "phone": "phone", "unionid": "unionid", "member": "member_number", "email": "email", "national_id": "national_id",
    "person_name": "name", "birth_date": "birth_date",
}  # fmt: skip


class CrmFileError(ValueError):
    """The file is no CRM export; the message names the line or the missing column."""


class CrmFileShrinks(CrmFileError):
    """Many customers known so far are not in the file; the message says how many, and what to do."""


@dataclass
class CrmEvidence:
    """What a file says (`claims`: see `pipelines.identity.evidence`), and what was left out and why."""

    claims: pl.DataFrame
    rows: int = 0
    customers: int = 0
    unverified_phones: int = 0
    placeholders: Counter[str] = field(default_factory=Counter)


def read_rows(path: Path | str) -> Iterator[dict[str, str]]:
    """Rows of a CRM CSV (UTF-8 with or without BOM, else GB18030). Raises CrmFileError."""
    raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("gb18030", "replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in REQUIRED_COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise CrmFileError(f"{path}: the CRM file lacks the columns {', '.join(missing)}; it has {reader.fieldnames}.")
    empty = True
    for row in reader:
        empty = False
        if not (row["customer_no"] or "").strip():
            raise CrmFileError(f"{path}: line {reader.line_num} has no customer_no.")
        yield {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
    if empty:
        raise CrmFileError(f"{path}: no customer in it. A file is the whole CRM, so every link would end; export anew.")


def customer_id(customer_no: str, key: MasterKey) -> str:
    """The coded ID of a CRM customer: 96 bits of HMAC, so the CRM's number cannot be had back from a table.

    >>> customer_id("100", MasterKey({1: bytes(32)}))[:2], len(customer_id("100", MasterKey({1: bytes(32)})))
    ('c_', 26)
    """
    derived = key.derive("customer_id", key.token_version)
    return "c_" + hmac.digest(derived, customer_no.encode(), "sha256")[:12].hex()


def record_key(customer_no: str, key: MasterKey) -> str:
    """The coded source record of a CRM customer; the ID of a customer whose oldest record it is ends alike.

    >>> key = MasterKey({1: bytes(32)})
    >>> record_key("100", key).removeprefix("crm/") == customer_id("100", key).removeprefix("c_")
    True
    """
    return f"{SOURCE}/{customer_id(customer_no, key).removeprefix('c_')}"


def crm_evidence(
    rows: Iterable[dict[str, str]], tokeniser: Tokeniser, key: MasterKey, resolution: Mapping[str, Any], *, at_us: int
) -> CrmEvidence:
    """Evidence of all rows, as of `at_us`; `resolution` is that part of policy identity.

    A phone is vouched for only where the CRM has verified it; a placeholder is no identifier. A customer who stands in
    several rows holds what all of them say.
    """
    table = list(rows)
    keys = [record_key(row["customer_no"], key) for row in table]
    result = CrmEvidence(frame([]), rows=len(table), customers=len(set(keys)))
    claims: dict[tuple[str, str], dict[str, Any]] = {}
    for kind, column in _COLUMNS.items():
        given = [row.get(column) or None for row in table]
        for row, record, raw, token in zip(table, keys, given, token_values(given, kind, tokeniser), strict=True):
            if raw is not None and token is None:
                result.placeholders[kind] += 1
            if token is None:
                continue
            vouched = (
                row["phone_verified"].lower() in _YES
                if kind == "phone"
                else kind in resolution["crm"] or kind in resolution["same_person"]
            )
            result.unverified_phones += kind == "phone" and not vouched
            claim = {"record_key": record, "source": SOURCE, "token": token, "token_type": kind, "attested": vouched}
            claim |= {"first_seen_at": at_us, "last_seen_at": None, "sightings": 1}
            known = claims.setdefault((record, token), claim)
            known["attested"] = known["attested"] or vouched
    # In the order of the file: the first of two registrations is the older one and names the customer.
    place = {record: n for n, record in reversed(list(enumerate(keys)))}
    result.claims = frame(sorted(claims.values(), key=lambda claim: place[claim["record_key"]]))
    return result


def refuse_shrinking(known: pl.DataFrame, claims: pl.DataFrame, *, most_share: float, always: int) -> None:
    """Nothing where a file may end what it does not say: `always` so many customers, else `most_share` of the CRM's.

    Args:
        known: claims as they stand; of those of the CRM that still hold, the records count.
        claims: what the file says.

    Raises:
        CrmFileShrinks: it would end more.
    """
    holding = set(known.filter((pl.col("source") == SOURCE) & pl.col("last_seen_at").is_null())["record_key"])
    ending = len(holding - set(claims["record_key"]))
    if ending > max(always, most_share * len(holding)):
        raise CrmFileShrinks(
            f"{ending:,} of the CRM's {len(holding):,} customers are not in the file, and all their links would end. "
            "Is it cut short? Export it anew; where they are really gone, load it with --allow-shrink. Nothing changed."
        )
