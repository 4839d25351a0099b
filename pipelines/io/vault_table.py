"""Reads the vault's Delta table: entries of a few tokens, opened by who may."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import pyarrow.dataset as pads
from deltalake import DeltaTable

from pipelines.io.lake_tables import arrow_files
from pipelines.privacy.keys import MasterKey, MasterKeyError
from pipelines.privacy.vault import VaultError, open_entry

_COLUMNS = ["token", "wrapped_key", "nonce", "ciphertext"]
_ROWS_AT_ONCE = 20_000
_LET_ARROW_LOOK = 10_000  # of more tokens than this Arrow would make its look-up table anew for each batch


def values(path: Path, tokens: Collection[str], key: MasterKey) -> dict[str, str]:
    """The personal value of each token that has one. A token that is unknown or was erased is left out.

    The table keeps every emission of a token; all hold the same value, and a rotation wraps only the newest anew, so
    the first that opens counts. Raises VaultError when a token has entries and none opens.
    """
    if not (path / "_delta_log").exists():
        return {}
    wanted = frozenset(tokens)
    few = pads.field("token").isin(list(wanted)) if len(wanted) <= _LET_ARROW_LOOK else None
    found: dict[str, str] = {}
    erased, refused = set(), defaultdict(list)
    entries = DeltaTable(str(path)).to_pyarrow_dataset(filesystem=arrow_files(path))
    for batch in entries.to_batches(columns=_COLUMNS, filter=few, batch_size=_ROWS_AT_ONCE):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            token, wrapped_key = row[0], row[1]
            if not wrapped_key:  # the row of a removal: the data key was destroyed
                erased.add(token)
            if not wrapped_key or token in found or token not in wanted:
                continue
            try:
                found[token] = open_entry(dict(zip(_COLUMNS, row, strict=True)), key)
            except (VaultError, MasterKeyError) as error:
                refused[token].append(str(error))
    for token, reasons in refused.items():
        if token not in found and token not in erased:
            raise VaultError(f"None of the {len(reasons)} entries of {token} opens: {reasons[-1]}")
    return {token: value for token, value in found.items() if token not in erased}
