"""Which master-key versions the lake's encrypted columns still need: by their first bytes, nothing is opened."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines.io.lake_tables import arrow_files

# Column by table. Bytes begin with the version; so do base64 texts, whose first four characters decode to it.
SEALED = {
    "bronze.raw_events": "payload_ciphertext",
    "quarantine.rejects": "payload_encrypted",
    "review.queue": "payload_encrypted",
}


def versions_in(path: Path, column: str) -> Counter:
    """Rows by key version of one column of a Delta table; empty where there is no table. Reads that column whole."""
    counts: Counter = Counter()
    if not (path / "_delta_log").exists():
        return counts
    for batch in _batches(path, column):
        heads = pc.drop_null(batch.column(0))
        if pa.types.is_binary(heads.type) or pa.types.is_large_binary(heads.type):
            first = [head[0] for head in pc.binary_slice(heads, 0, 1).to_pylist()]
        else:
            first = [base64.b64decode(head)[0] for head in pc.utf8_slice_codeunits(heads, 0, 4).to_pylist()]
        counts.update(first)
    return counts


def _batches(path: Path, column: str) -> Iterator[pa.RecordBatch]:
    dataset = DeltaTable(str(path)).to_pyarrow_dataset(filesystem=arrow_files(path))
    yield from dataset.scanner(columns=[column], batch_size=5_000, batch_readahead=1, fragment_readahead=1).to_batches()
