"""The audit chain: rows that cannot be changed, removed, inserted or swapped without its being found.

Each row carries an HMAC over its own fields, its number and the hash of the row before, under a key derived from the
master key: who can write the table, but does not hold the key, cannot make a row that fits. A chain alone does not show
that its end was cut off, so the newest number and hash are kept in a second place too (`Witness`) and compared.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from pipelines.privacy.keys import MasterKey, MasterKeyError

GENESIS = "0" * 64
_INFO = "audit/chain"


@dataclass(frozen=True)
class AuditRow:
    """One audited act; `acted_at` in microseconds since the epoch, `act_detail` a JSON object or None."""

    audit_seq: int
    acted_at: int
    actor: str
    actor_role: str
    act: str
    act_subject: str
    reason: str
    act_detail: str | None
    key_version: int
    previous_hash: str
    row_hash: str


@dataclass(frozen=True)
class Act:
    """What is to be written down; the chain adds number and hashes."""

    acted_at: int
    actor: str
    actor_role: str
    act: str
    act_subject: str
    reason: str = ""
    act_detail: str | None = None


@dataclass(frozen=True)
class Head:
    """Number and hash of the newest row.

    >>> Head.none().audit_seq
    0
    """

    audit_seq: int
    row_hash: str

    @classmethod
    def none(cls) -> Head:
        """Of a chain without rows."""
        return cls(0, GENESIS)

    @classmethod
    def of(cls, row: AuditRow) -> Head:
        """With this row the newest."""
        return cls(row.audit_seq, row.row_hash)


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong at one number of the chain, in plain words."""

    audit_seq: int
    what: str


# What a second place holds: hash by number. It may lag behind the table; it never holds what the table does not.
Witness = Mapping[int, str]


def link(act: Act, head: Head, key: MasterKey) -> AuditRow:
    """The row that follows `head`, hashed under the newest version of the key.

    >>> key = MasterKey({1: bytes(32)})
    >>> first = link(Act(1, "li.na", "agent", "consult", "c_1"), Head.none(), key)
    >>> second = link(Act(2, "li.na", "agent", "consult", "c_2"), Head.of(first), key)
    >>> second.audit_seq, second.previous_hash == first.row_hash, verify([first, second], {}, key)
    (2, True, [])
    """
    row = AuditRow(head.audit_seq + 1, **asdict(act), key_version=key.version, previous_hash=head.row_hash, row_hash="")
    return replace(row, row_hash=row_hash(row, key))


def row_hash(row: AuditRow, key: MasterKey) -> str:
    """HMAC of a row as it stands, 64 hexadecimal digits. Raises MasterKeyError when its key version is unknown."""
    # A JSON list in the order of the fields: no two different rows have one text, whatever their strings hold.
    values = [getattr(row, field.name) for field in fields(row) if field.name != "row_hash"]
    canonical = json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode()
    return hmac.digest(key.derive(_INFO, row.key_version), canonical, "sha256").hex()


def verify(rows: Iterable[AuditRow], witness: Witness, key: MasterKey) -> list[Finding]:
    """What is wrong with the chain, by number; nothing for an untouched one. `rows` in the order of their numbers.

    Found are: a row whose content does not fit its hash (changed, swapped, inserted), a number that is absent or there
    twice, a row that does not follow the one before, and what `witness` knows that `rows` lack or tell otherwise: the
    cut-off end, and a chain that was made anew from some row on.

    >>> key = MasterKey({1: bytes(32)})
    >>> first = link(Act(1, "li.na", "agent", "consult", "c_1"), Head.none(), key)
    >>> second = link(Act(2, "li.na", "agent", "unmask", "ph1_0", "called back"), Head.of(first), key)
    >>> verify([first, replace(second, reason="none")], {}, key)
    [Finding(audit_seq=2, what='changed or inserted: its content does not fit its hash')]
    >>> verify([first], {1: first.row_hash, 2: second.row_hash}, key)
    [Finding(audit_seq=2, what='removed: the second place knows it')]
    """
    found: set[Finding] = set()
    head, seen = Head.none(), set()
    for row in rows:
        found.update(Finding(row.audit_seq, what) for what in _row_findings(row, head, seen, witness, key))
        absent = range(head.audit_seq + 1, row.audit_seq)
        found.update(Finding(number, "removed: the numbers before and after it are there") for number in absent)
        seen.add(row.audit_seq)
        if row.audit_seq > head.audit_seq:
            head = Head.of(row)
    after = [number for number in witness if number > head.audit_seq]
    found.update(Finding(number, "removed: the second place knows it") for number in after)
    return sorted(found)


def _row_findings(row: AuditRow, head: Head, seen: set[int], witness: Witness, key: MasterKey) -> list[str]:
    what = []
    if row.audit_seq in seen or row.audit_seq < 1:
        what.append("inserted: the number is there already")
    try:
        fits = hmac.compare_digest(row_hash(row, key).encode(), row.row_hash.encode())
    except MasterKeyError:
        fits = False
    if not fits:
        what.append("changed or inserted: its content does not fit its hash")
    elif row.audit_seq == head.audit_seq + 1 and row.previous_hash != head.row_hash:
        what.append("does not follow the row before: that one was changed or replaced")
    if witness.get(row.audit_seq, row.row_hash) != row.row_hash:
        what.append("replaced: the second place holds another row of this number")
    return what


def unwitnessed(rows: Sequence[AuditRow], witness: Witness) -> list[AuditRow]:
    """Rows the second place does not hold yet: sent again, they close what a crash between the two left open."""
    return [row for row in rows if row.audit_seq not in witness]
