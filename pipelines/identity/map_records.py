"""Records of the topic identity.map: written by the imports, read by every worker."""

from __future__ import annotations

import json
from collections.abc import Iterable

import orjson

from pipelines.identity.index import IdentityIndex


def encode(
    token: str, token_type: str, customer_id: str, evidence: str, rule_version: str, valid_from_us: int
) -> bytes:
    """The value of one link; its key is the token, a record without value removes the link."""
    return json.dumps(
        {
            "token": token,
            "token_type": token_type,
            "customer_id": customer_id,
            "evidence": evidence,
            "rule_version": rule_version,
            "valid_from_at": valid_from_us,
        },
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def feed(index: IdentityIndex, records: Iterable[tuple[str, bytes | None]]) -> int:
    """Apply records of identity.map to a worker's index; the number applied.

    Raises ValueError on a record that is none: joining by a broken map would be wrong everywhere.

    >>> index = IdentityIndex()
    >>> link = encode("ph1_" + "0" * 32, "phone", "c_1", "crm:7:phone_verified", "identity-1", 0)
    >>> feed(index, [("ph1_" + "0" * 32, link), ("ph1_" + "1" * 32, None)]), len(index)
    (2, 1)
    """
    tokens, customers = [], []
    for token, value in records:
        tokens.append(token)
        customers.append(None if value is None else orjson.loads(value)["customer_id"])
    index.apply(tokens, customers)
    return len(tokens)
