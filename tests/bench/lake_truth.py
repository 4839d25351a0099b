"""Holds the lake against a known truth: every raw coordinate in bronze once and in the right output once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines import contracts

OUTPUT_TABLES = (
    "silver.interactions", "silver.feedback", "silver.ticket_events", "silver.customers", "silver.orders",
    "quarantine.rejects", "quarantine.duplicates", "review.queue",
)  # fmt: skip
Coordinate = tuple[str, int, int]


@dataclass(frozen=True)
class Verdict:
    """lost: expected and absent; twice: more than once; misplaced: in another output; unknown: nobody sent it."""

    lost: int
    twice: int
    misplaced: int
    unknown: int
    bronze_lost: int
    bronze_twice: int
    rows: dict[str, int]

    @property
    def exact(self) -> bool:
        """True when the lake equals the truth."""
        return not any((self.lost, self.twice, self.misplaced, self.unknown, self.bronze_lost, self.bronze_twice))


def table_of_topic(topic: str) -> str:
    """The table a topic feeds."""
    (name,) = [t.name for t in contracts.tables().values() if topic in t.topics]
    return name


def compare(settings: Settings, output_of: Mapping[Coordinate, str]) -> Verdict:
    """`output_of`: raw coordinate → output topic, as sent."""
    topics = {topic: number for number, topic in enumerate(sorted({topic for topic, _, _ in output_of}))}
    tables = {name: _keys(settings, name, topics) for name in OUTPUT_TABLES}
    expected = {name: [] for name in OUTPUT_TABLES}
    table_name = {topic: table_of_topic(topic) for topic in set(output_of.values())}
    for (topic, partition, offset), output in output_of.items():
        expected[table_name[output]].append((topics[topic] << 56) | (partition << 44) | offset)
    everything = np.sort(np.concatenate([np.array(keys, dtype=np.int64) for keys in expected.values()]))
    found, times = np.unique(np.concatenate(list(tables.values())), return_counts=True)
    misplaced = sum(len(np.setdiff1d(np.intersect1d(tables[n], everything), np.array(expected[n]))) for n in tables)
    bronze, bronze_times = np.unique(_keys(settings, "bronze.raw_events", topics), return_counts=True)
    return Verdict(
        lost=len(np.setdiff1d(everything, found)),
        twice=int((times > 1).sum()),
        misplaced=int(misplaced),
        unknown=len(np.setdiff1d(found, everything)) + len(np.setdiff1d(bronze, everything)),
        bronze_lost=len(np.setdiff1d(everything, bronze)),
        bronze_twice=int((bronze_times > 1).sum()),
        rows={name: len(keys) for name, keys in tables.items()} | {"bronze.raw_events": int(bronze_times.sum())},
    )


def row_count(settings: Settings, name: str) -> int:
    """Rows of a table from its log; 0 when it isn't there yet."""
    path = settings.table_path(name)
    return DeltaTable(path).count() if (path / "_delta_log").exists() else 0


def _keys(settings: Settings, name: str, topics: Mapping[str, int]) -> np.ndarray:
    """Coordinates of a table as one integer each: topic number, partition, offset."""
    path = settings.table_path(name)
    if not (path / "_delta_log").exists():
        return np.array([], dtype=np.int64)
    rows = DeltaTable(path).to_pyarrow_table(columns=["raw_topic", "raw_partition", "raw_offset"])
    numbers = {topic: topics.get(topic, 127) for topic in pc.unique(rows["raw_topic"]).to_pylist()}
    encoded = rows["raw_topic"].combine_chunks().dictionary_encode()
    by_code = np.array([numbers[topic] for topic in encoded.dictionary.to_pylist()] or [0], dtype=np.int64)
    topic = by_code[encoded.indices.to_numpy()]
    partition = rows["raw_partition"].to_numpy().astype(np.int64)
    return (topic << 56) | (partition << 44) | rows["raw_offset"].to_numpy()
