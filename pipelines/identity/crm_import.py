"""The CRM's customers as links: verified phone, unionid and member number to one coded customer ID."""

from __future__ import annotations

import csv
import hmac
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.identity import map_records
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser, token_values

REQUIRED_COLUMNS = ("customer_no", "phone", "phone_verified", "unionid", "member_number")
_YES = frozenset(["1", "true", "yes", "y", "t", "是", "已验证"])
_SOURCES = {"phone": "phone", "unionid": "unionid", "member": "member_number"}


class CrmFileError(ValueError):
    """The file is no CRM export; the message names the line or the missing column."""


@dataclass(frozen=True)
class Link:
    """One identifier of one customer, and what says so."""

    token: str
    token_type: str
    customer_id: str
    evidence: str


@dataclass
class CrmLinks:
    """What an import would write, and what it left out and why."""

    links: list[Link] = field(default_factory=list)
    rows: int = 0
    customers: int = 0
    unverified_phones: int = 0
    placeholders: Counter[str] = field(default_factory=Counter)
    conflicts: dict[str, list[str]] = field(default_factory=dict)


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
    for row in reader:
        if not (row["customer_no"] or "").strip():
            raise CrmFileError(f"{path}: line {reader.line_num} has no customer_no.")
        yield {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}


def customer_id(customer_no: str, key: MasterKey) -> str:
    """The coded ID of a CRM customer: 96 bits of HMAC, so the CRM's number cannot be had back from a table.

    >>> customer_id("100", MasterKey({1: bytes(32)}))[:2], len(customer_id("100", MasterKey({1: bytes(32)})))
    ('c_', 26)
    """
    derived = key.derive("customer_id", key.token_version)
    return "c_" + hmac.digest(derived, customer_no.encode(), "sha256")[:12].hex()


def crm_links(rows: Iterable[dict[str, str]], tokeniser: Tokeniser, key: MasterKey) -> CrmLinks:
    """Links of all rows, with the guards of the first import.

    A phone counts only if the CRM has verified it; a placeholder is no identifier; an identifier that two customers
    claim links neither (a family's phone, a recycled number, a clerk's slip) and is reported.
    """
    result, claims = CrmLinks(), defaultdict(dict)
    table = list(rows)
    result.rows = len(table)
    ids = [customer_id(row["customer_no"], key) for row in table]
    result.customers = len(set(ids))
    for kind, column in _SOURCES.items():
        given = [row[column] or None for row in table]
        if kind == "phone":
            verified = [row["phone_verified"].lower() in _YES for row in table]
            result.unverified_phones = sum(1 for v, ok in zip(given, verified, strict=True) if v and not ok)
            given = [v if ok else None for v, ok in zip(given, verified, strict=True)]
        for raw, token, owner in zip(given, token_values(given, kind, tokeniser), ids, strict=True):
            if raw is not None and token is None:
                result.placeholders[kind] += 1
            elif token is not None:
                claims[token][owner] = kind
    for token, owners in claims.items():
        if len(owners) > 1:
            result.conflicts[token] = sorted(owners)
            continue
        [(owner, kind)] = owners.items()
        # Not the CRM's number: the evidence stands in a table people read, beside the coded ID.
        evidence = "crm:phone_verified" if kind == "phone" else f"crm:{_SOURCES[kind]}"
        result.links.append(Link(token, kind, owner, evidence))
    return result


def changes(
    new: CrmLinks, current: dict[str, tuple[str, str]], *, rule_version: str, valid_from_us: int
) -> list[tuple[str, bytes | None]]:
    """Records for identity.map that turn `current` (token → customer, evidence) into the new links.

    What is already so is not written again; a link that an earlier CRM file made and this one no longer holds is
    removed; links of other origin stay.
    """
    wanted = {link.token for link in new.links}
    records: list[tuple[str, bytes | None]] = [
        (
            link.token,
            map_records.encode(
                link.token, link.token_type, link.customer_id, link.evidence, rule_version, valid_from_us
            ),
        )
        for link in new.links
        if current.get(link.token, (None,))[0] != link.customer_id
    ]
    gone = [t for t, (_, evidence) in current.items() if evidence.startswith("crm:") and t not in wanted]
    return records + [(token, None) for token in gone]
