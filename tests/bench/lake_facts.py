"""What the Delta tables of a run say: when rows became visible, and whether each raw coordinate stands in one place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

BRONZE = "bronze.raw_events"
OUTPUTS = (
    "silver.interactions",
    "silver.feedback",
    "silver.ticket_events",
    "silver.customers",
    "silver.orders",
    "quarantine.rejects",
    "quarantine.duplicates",
    "review.queue",
)


@dataclass(frozen=True)
class Commit:
    """A commit that brought rows. visible_at: epoch seconds its log entry appeared. files: what it added."""

    visible_at: float
    rows: int
    files: tuple[Path, ...]


def table_folder(lake: Path, name: str) -> Path:
    """Folder of ``schema.table``."""
    return lake.joinpath(*name.split("."))


def commits(folder: Path) -> Iterator[Commit]:
    """Commits with new rows in order; rearranging (dataChange false) is left out."""
    for entry in sorted((folder / "_delta_log").glob("0*.json")):
        actions = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines() if line]
        adds = [action["add"] for action in actions if action.get("add", {}).get("dataChange")]
        rows = sum(json.loads(add["stats"])["numRecords"] for add in adds if add.get("stats"))
        if rows:
            yield Commit(entry.stat().st_mtime, rows, tuple(folder / unquote(add["path"]) for add in adds))


def last_commit_at(lake: Path, tables: Sequence[str]) -> float:
    """When the last row became visible in any of the tables. Raises LookupError when there is none."""
    moments = [commit.visible_at for name in tables for commit in commits(table_folder(lake, name))]
    if not moments:
        raise LookupError(f"no rows in {', '.join(tables)} below {lake}")
    return max(moments)


def first_judged_at(lake: Path) -> float:
    """The earliest ``processed_at`` of any output row, epoch seconds: when the first batch was judged."""
    moments = []
    for name in ("silver.interactions", "silver.feedback", "silver.ticket_events", "quarantine.rejects"):
        for commit in commits(table_folder(lake, name)):
            for file in commit.files:
                column = pq.ParquetFile(file).read(["processed_at"])["processed_at"]
                moments.append(pc.min(column.cast("int64")).as_py())
    found = [moment for moment in moments if moment is not None]
    if not found:
        raise LookupError(f"no output row below {lake}")
    return min(found) / 1e6


def visible_after_s(lake: Path, name: str, began_at: float, ended_at: float) -> list[tuple[float, int]]:
    """Seconds from ``received_at`` to the commit, as (seconds, rows), of rows received between two moments."""
    found: list[tuple[float, int]] = []
    for commit in commits(table_folder(lake, name)):
        for file in commit.files:
            received = pq.ParquetFile(file).read(["received_at"])["received_at"].cast("int64").to_numpy() / 1e6
            received = received[(received >= began_at) & (received < ended_at)]
            waits, counts = np.unique(np.round(commit.visible_at - received, 2), return_counts=True)
            found += zip(waits.tolist(), counts.tolist(), strict=True)
    return found


def rows(lake: Path, name: str) -> int:
    """Rows of a table now; 0 when it isn't there."""
    folder = table_folder(lake, name)
    if not (folder / "_delta_log").exists():
        return 0
    return DeltaTable(folder).to_pyarrow_dataset().count_rows()


def duplicates_by_rule(lake: Path) -> dict[str, int]:
    """Rows of quarantine.duplicates by rule; empty when the table isn't there."""
    folder = table_folder(lake, "quarantine.duplicates")
    if not (folder / "_delta_log").exists():
        return {}
    counted = pc.value_counts(DeltaTable(folder).to_pyarrow_table(columns=["rule"])["rule"])
    return dict(sorted((pair["values"], pair["counts"]) for pair in counted.to_pylist()))


@dataclass(frozen=True)
class Balance:
    """raw: coordinates in bronze. lost: in no output. twice: in more than one, or twice in one or in bronze."""

    raw: int
    outputs: int
    lost: int
    twice: int

    def closes(self, sent: int) -> bool:
        """True when each of the `sent` messages stands once in bronze and once in an output."""
        return self.raw == self.outputs == sent and not self.lost and not self.twice


def balance(lake: Path) -> Balance:
    """Coordinates of bronze against those of all outputs, by anti-join."""
    topics: dict[str, int] = {}
    bronze = _coordinates(lake, BRONZE, topics)
    outputs = np.concatenate([_coordinates(lake, name, topics) for name in OUTPUTS])
    raw, kept = np.unique(bronze), np.unique(outputs)
    return Balance(
        raw=len(raw),
        outputs=len(kept),
        lost=len(np.setdiff1d(raw, kept, assume_unique=True)),
        twice=len(bronze) - len(raw) + len(outputs) - len(kept),
    )


def _coordinates(lake: Path, name: str, topics: dict[str, int]) -> np.ndarray:
    """One integer a row: topic number, partition, offset."""
    folder = table_folder(lake, name)
    if not (folder / "_delta_log").exists():
        return np.array([], dtype=np.int64)
    found = DeltaTable(folder).to_pyarrow_table(columns=["raw_topic", "raw_partition", "raw_offset"])
    encoded = found["raw_topic"].combine_chunks().dictionary_encode()
    numbers = [topics.setdefault(topic, len(topics)) for topic in encoded.dictionary.to_pylist()]
    topic = (
        np.array(numbers or [0], dtype=np.int64)[encoded.indices.to_numpy()] if len(found) else np.array([], np.int64)
    )
    return (topic << 56) | (found["raw_partition"].to_numpy().astype(np.int64) << 44) | found["raw_offset"].to_numpy()
