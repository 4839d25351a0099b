"""Reads the vault's Delta table: entries of a few tokens, opened by who may."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow.dataset as pads
from deltalake import DeltaTable

from pipelines.privacy.keys import MasterKey, MasterKeyError
from pipelines.privacy.vault import VaultError, open_entry

_COLUMNS = ["token", "wrapped_key", "nonce", "ciphertext"]


def values(path: Path, tokens: Collection[str], key: MasterKey) -> dict[str, str]:
    """The personal value of each token that has one. A token that is unknown or was erased is left out.

    The table keeps every emission of a token; all hold the same value, and a rotation wraps only the newest anew, so
    the first that opens counts. Raises VaultError when a token has entries and none opens.
    """
    if not (path / "_delta_log").exists():
        return {}
    found = DeltaTable(str(path)).to_pyarrow_dataset().to_table(
        columns=_COLUMNS, filter=pads.field("token").isin(list(tokens))
    )  # fmt: skip
    entries: dict[str, list[dict]] = {}
    for row in found.to_pylist():
        entries.setdefault(row["token"], []).append(row)
    return {token: value for token, rows in entries.items() if (value := _opened(token, rows, key)) is not None}


def _opened(token: str, rows: list[dict], key: MasterKey) -> str | None:
    if not all(row["wrapped_key"] for row in rows):  # the row of a removal: the data key was destroyed
        return None
    reasons = []
    for row in rows:
        try:
            return open_entry(row, key)
        except (VaultError, MasterKeyError) as error:
            reasons.append(str(error))
    raise VaultError(f"None of the {len(rows)} entries of {token} opens: {reasons[-1]}")
