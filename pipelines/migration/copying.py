"""The copy itself: full in key order, then what changed; every chunk is whole in the lake before the next is read.

A chunk is committed in this order: its raw bytes, the vault's entries of its personal values, the rows of each output.
Whoever starts after a kill finds how far each of them is in the tables, and first makes good what is behind bronze.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from pipelines.cleaning.context import CleaningContext
from pipelines.migration.chunks import FULL, INCREMENTS, Chunk, rows_of
from pipelines.migration.conversions import ALIVE
from pipelines.migration.declaration import SourceTable
from pipelines.migration.history_rows import judged, outputs


class Source(Protocol):
    """A table of the old system, in pages of rows as text."""

    columns: list[str]

    def full(self, last_key: str | None, done_rows: int, limit: int) -> Iterator[pl.DataFrame]:
        """Rows after those that were taken."""

    def changed_since(self, mark: str, limit: int) -> Iterator[pl.DataFrame]:
        """Rows that may have changed since the mark."""

    def keys(self, limit: int) -> Iterator[list[str]]:
        """Every key there is."""

    def repeated_keys(self) -> set[str]:
        """Keys that more than one row has."""


def read_ahead(pages: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The pages, each read while the one before is worked on: the source's server and our rules use a core each.

    >>> list(read_ahead(iter([1, 2, 3])))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        waiting = reader.submit(next, pages, None)
        while (page := waiting.result()) is not None:
            waiting = reader.submit(next, pages, None)
            yield page


@dataclass
class Counted:
    """What one run did to one source table, in rows."""

    read: int = 0
    written: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    changed: int = 0
    deleted: int = 0
    made_good: int = 0
    vault_entries: int = 0

    def add(self, tables: dict) -> None:
        """Rows by output table."""
        for name, rows in tables.items():
            self.written[name] = self.written.get(name, 0) + rows.num_rows


@dataclass
class Copier:
    """Copies one source table.

    ``publish_vault`` takes (token, JSON) and returns once they are safe; ``clock_us`` is the time of receipt;
    ``tell`` is called with the rows done after each chunk.
    """

    table: SourceTable
    topic: str
    lake: object  # pipelines.io.migration_lake.HistoryLake
    context: CleaningContext
    publish_vault: Callable[[Sequence[tuple[str, str]]], object]
    clock_us: Callable[[], int]
    chunk_rows: int
    tell: Callable[[int], None] = lambda rows: None
    counted: Counted = field(default_factory=Counted)

    def make_good(self, columns: Sequence[str]) -> None:
        """Outputs that a kill left behind bronze get their rows, out of bronze's bytes."""
        from pipelines.io.migration_lake import BRONZE

        for partition in (FULL, INCREMENTS):
            end = self.lake.end(BRONZE, partition)
            behind = {name: self.lake.end(name, partition) for name in outputs(self.table)}
            while (first := min(behind.values(), default=end)) < end:
                # As far as the next output stands, so that each piece is whole for those that lack it.
                to = min([place for place in behind.values() if place > first] + [end, first + self.chunk_rows])
                chunk = self.lake.raw_chunk(partition, first, to, columns)
                self._derive(chunk, [name for name, place in behind.items() if place == first])
                self.counted.made_good += len(chunk)
                behind = {name: max(place, to) if place == first else place for name, place in behind.items()}

    def full(self, source: Source) -> None:
        """Every row, from where the last run stopped."""
        from pipelines.io.migration_lake import BRONZE

        self.make_good(source.columns)
        first = self.lake.end(BRONZE, FULL)
        self.tell(first)
        repeated = source.repeated_keys()
        for rows in read_ahead(source.full(self.lake.last_key(FULL), first, self.chunk_rows)):
            keys = rows[self.table.key].fill_null("").to_list()
            chunk = Chunk(
                rows, keys, self.topic, FULL, first, self.clock_us(), deleted=self._softly_deleted(rows),
                repeats=self._repeats(keys, repeated),
            )  # fmt: skip
            self._commit(chunk)
            first = chunk.end

    def _repeats(self, keys: Sequence[str], repeated: set[str]) -> list[bool]:
        """True where an earlier row of the files has the key. Which keys are more than one row's was counted before."""
        suspects = {key for key in keys if key in repeated}
        if not suspects:
            return []
        taken = set(self.lake.newest_of_keys(sorted(suspects)))
        told = []
        for key in keys:
            told.append(key in taken)
            if key in suspects:
                taken.add(key)
        return told

    def increment(self, source: Source, mark: str) -> None:
        """What changed since the mark, and what is gone."""
        self.make_good(source.columns)
        repeated, taken = source.repeated_keys(), set()
        for rows in source.changed_since(mark, self.chunk_rows):
            self.counted.read += len(rows)
            self._take_changes(rows, repeated, taken)
        if self.table.deleted == "compare":
            self._take_deletions(source)

    def _take_changes(self, rows: pl.DataFrame, repeated: set[str], taken: set[str]) -> None:
        """``taken``: those of the ``repeated`` keys of which this reading has met a row; the first is the record."""
        keys = rows[self.table.key].fill_null("").to_list()
        known = self.lake.newest_of_keys(keys)
        refused = self.lake.repeats_of_keys(sorted(repeated.intersection(keys)))
        payloads = Chunk(rows, keys, self.topic, INCREMENTS, 0, 0).payloads()
        soft = self._softly_deleted(rows) or [False] * len(rows)
        wanted, revisions, deleted, repeats = [], [], [], []
        for row, (key, payload) in enumerate(zip(keys, payloads, strict=True)):
            before, revision, was_deleted = known.get(key, (None, -1, False))
            gone, again = soft[row], key in taken
            if (key, payload) in refused if again else (before == payload and was_deleted == gone):
                self.counted.unchanged += 1
            else:
                wanted.append(row)
                revisions.append(0 if again else revision + 1)
                deleted.append(gone)
                repeats.append(again)
            if key in repeated:
                taken.add(key)
        self.counted.changed += len(wanted)
        self._commit_increment(rows[wanted], [keys[row] for row in wanted], revisions, deleted, repeats)

    def _softly_deleted(self, rows: pl.DataFrame) -> list[bool]:
        """True for each row that the source has marked as deleted; nothing where it has no such mark."""
        if self.table.deleted_column is None:
            return []
        mark = rows[self.table.deleted_column].fill_null("").str.strip_chars().str.to_lowercase()
        return (~mark.str.replace(r"[.]0+$", "").is_in(ALIVE)).to_list()

    def _take_deletions(self, source: Source) -> None:
        for keys in self.lake.keys_gone(source.keys(100_000), self.chunk_rows):
            known = self.lake.newest_of_keys(keys)
            there = [key for key in keys if key in known and not known[key][2]]
            rows = rows_of([known[key][0] for key in there], source.columns)
            self.counted.deleted += len(there)
            self._commit_increment(rows, there, [known[key][1] + 1 for key in there], [True] * len(there))

    def _commit_increment(
        self,
        rows: pl.DataFrame,
        keys: list[str],
        revisions: list[int],
        deleted: list[bool],
        repeats: Sequence[bool] = (),
    ) -> None:
        from pipelines.io.migration_lake import BRONZE

        if keys:
            first = self.lake.end(BRONZE, INCREMENTS)
            told = (revisions, deleted, repeats)
            self._commit(Chunk(rows, keys, self.topic, INCREMENTS, first, self.clock_us(), *told))

    def _commit(self, chunk: Chunk) -> None:
        self.lake.append_raw(chunk)
        self._derive(chunk, outputs(self.table))
        if chunk.partition == FULL:
            self.counted.read += len(chunk)
        self.tell(chunk.end)

    def _derive(self, chunk: Chunk, targets: Sequence[str]) -> None:
        made = judged(chunk, self.table, self.context, self.clock_us())
        self.counted.vault_entries += len(made.vault)
        self.publish_vault(made.vault)  # before the rows: no token stands in the lake whose value nobody has
        for name in targets:
            self.lake.append(name, made.tables[name], chunk)
        self.counted.add({name: made.tables[name] for name in targets})
