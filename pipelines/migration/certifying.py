"""Source and lake compared by two paths: counts, fingerprints a column, rows that differ by name, figures a month."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import polars as pl
import pyarrow as pa

from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.source_records import crm_record_key
from pipelines.io import stored_history
from pipelines.io.duckdb_lake import spilling_aside
from pipelines.io.second_reading import Kpis
from pipelines.io.stored_history import Balance, Rejected
from pipelines.migration.declaration import SourceTable
from pipelines.migration.fingerprints import Difference, Fingerprint, bucket_sql, differences, differing, summed
from pipelines.migration.history_rows import KEY_TWICE
from pipelines.privacy.free_text import redact, redact_json

Expected = Callable[[], Iterable[pa.Table]]


@dataclass
class Compared:
    """What was found about one source table. `source_deleted`: rows that the source's own mark calls deleted."""

    name: str
    targets: tuple[str, ...]
    source_rows: int
    balance: Balance
    hashes: dict[str, tuple[str, str]]
    rejected: list[Rejected]
    differences: list[Difference]
    source_deleted: int = 0
    kpi_groups: int = 0
    kpi_unequal: list[tuple[str, str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Rows with all columns equal after declared conversions ÷ source rows; rejects count as wrong."""
        wrong = len({d.key for d in self.differences if d.what != "unexpected"} | {r.key for r in self.rejected})
        return (self.source_rows - wrong) / self.source_rows if self.source_rows else 1.0


def compare(
    table: SourceTable,
    expected: Expected,
    connection: duckdb.DuckDBPyConnection,
    context: CleaningContext,
    secret: str,
    *,
    tell: Callable[[int], None] = lambda rows: None,
) -> Compared:
    """Source against lake. ``expected`` reads the source anew each time it is called; ``connection`` is of `stored`.

    The source is read a second time only where some sums differ, and only then row by row.
    """
    columns = [f"c_{column.target}" for column in table.columns]
    refused = stored_history.rejected(connection)
    left_out = LeftOut.of(refused)
    source = Fingerprint.empty(columns)
    source_rows = 0
    with spilling_aside() as reading:
        for rows in left_out.from_each(expected()):
            source_rows = source.rows + left_out.dropped + len(rows)
            reading.register("batch", hidden(rows, table, context))
            source.add(summed(reading, "batch", columns, secret))
            tell(source_rows)
        source_rows = source.rows + left_out.dropped
        lake = Fingerprint.empty(columns)
        lake.add(summed(connection, "live", columns, secret))
        buckets = differing(source, lake)
        found = _row_by_row(table, expected, connection, context, secret, refused, buckets) if buckets else []
    hashes = {c.removeprefix("c_"): (source.of_column(c), lake.of_column(c)) for c in columns}
    # A reject whose key the source has no more is history, not a row that lacks.
    there = refused if left_out.dropped == len(refused) else _still_there(expected, refused)
    return Compared(table.name, table.targets, source_rows, stored_history.balance(connection), hashes, there, found)


def _row_by_row(
    table: SourceTable, expected: Expected, lake: duckdb.DuckDBPyConnection, context: CleaningContext,
    secret: str, refused: Sequence[Rejected], buckets: Sequence[int],
) -> list[Difference]:  # fmt: skip
    """The rows of the buckets that differ, side by side."""
    columns = [f"c_{column.target}" for column in table.columns]
    listed = ", ".join(map(str, buckets))
    wanted = f"{bucket_sql(secret)} IN ({listed})"
    names = ", ".join(["key", *(f'"{c}"' for c in columns)])
    with spilling_aside() as side:
        side.execute(f"CREATE TABLE source ({', '.join(f'{n} VARCHAR' for n in names.split(', '))})")
        side.execute(f"CREATE TABLE stored ({', '.join(f'{n} VARCHAR' for n in names.split(', '))})")
        for rows in LeftOut.of(refused).from_each(expected()):
            side.register("batch", hidden(rows, table, context))
            side.execute(f"INSERT INTO source SELECT {names} FROM batch WHERE {wanted}")  # noqa: S608
        for batch in lake.sql(f"SELECT {names} FROM live WHERE {wanted}").to_arrow_reader(100_000):  # noqa: S608
            side.register("batch", pa.Table.from_batches([batch]))
            side.execute(f"INSERT INTO stored SELECT {names} FROM batch")  # noqa: S608
        return differences(side, "source", "stored", columns)


@dataclass
class LeftOut:
    """Takes rows that are rejects out of one reading of the source; of a key that stands twice all but the first."""

    keys: frozenset[str]
    twice: frozenset[str]
    dropped: int = 0

    @classmethod
    def of(cls, refused: Sequence[Rejected]) -> LeftOut:
        """For the rejects of a table."""
        twice = frozenset(reject.key for reject in refused if reject.rule == KEY_TWICE)
        return cls(frozenset(reject.key for reject in refused if reject.rule != KEY_TWICE), twice)

    def from_each(self, pages: Iterable[pa.Table]) -> Iterator[pl.DataFrame]:
        """The pages without them."""
        seen: set[str] = set()
        for page in pages:
            frame = pl.DataFrame(page)
            keep = ~frame["key"].is_in(list(self.keys)) if self.keys else pl.repeat(True, len(frame), eager=True)
            for row in frame["key"].is_in(list(self.twice)).arg_true().to_list() if self.twice else ():
                keep[row] = bool(keep[row]) and frame["key"][row] not in seen
                seen.add(frame["key"][row])
            self.dropped += len(frame) - int(keep.sum())
            yield frame.filter(keep)


def _still_there(expected: Expected, refused: Sequence[Rejected]) -> list[Rejected]:
    wanted, there = {reject.key for reject in refused}, set()
    for rows in expected():
        there |= wanted & set(rows["key"].to_pylist())
    return [reject for reject in refused if reject.key in there]


def hidden(frame: pl.DataFrame, table: SourceTable, context: CleaningContext) -> pa.Table:
    """Expected rows with tokens where the table holds tokens, and numbers in text replaced; the key as it is stored."""
    kinds = frozenset(context.policies["privacy"]["free_text"]["kinds"])
    scoped = set(context.policies["privacy"]["scoped_by_channel"])
    made = {}
    for column in table.columns:
        name = f"c_{column.target}"
        if column.tokenise == "crm":
            made[name] = pl.Series(name, [coded_key(table, context)(v) for v in frame[name]], dtype=pl.String)
        elif column.tokenise:
            scope = frame["c_channel"] if column.tokenise in scoped and "c_channel" in frame.columns else None
            made[name] = context.tokeniser.tokens(frame[name], column.tokenise, scope).alias(name)
        elif column.redacted or column.redacted_json:
            hide = redact if column.redacted else redact_json
            made[name] = hide(frame[name].cast(pl.String), context.tokeniser, kinds=kinds).alias(name)
    frame = frame.with_columns(**made) if made else frame
    return frame.with_columns(pl.col(f"c_{table.key_column}").alias("key")).to_arrow()


def coded_key(table: SourceTable, context: CleaningContext) -> Callable[[str], str]:
    """How the target names a key of the source."""
    column = table.column(table.key_column)
    if column is not None and column.tokenise == "crm":
        return lambda key: crm_record_key(key, context.record_key)
    return str


def unequal_figures(source: Kpis, excepted: Kpis, stored: Kpis) -> Iterator[tuple[str, str, tuple, tuple]]:
    """Groups whose figures are not equal once those of the excepted rows are taken off: month, channel, both sides.

    >>> of = ("2019-01", "phone")
    >>> list(unequal_figures({of: (3, 7)}, {of: (1, 2)}, {of: (2, 5)}))
    []
    >>> list(unequal_figures({of: (3, 7)}, {}, {}))
    [('2019-01', 'phone', (3, 7), (0, 0))]
    """
    groups = sorted({*source, *excepted, *stored})
    for group in groups:
        width = max(len(side.get(group, ())) for side in (source, excepted, stored))
        nothing = (0,) * width
        wanted = tuple(a - b for a, b in zip(source.get(group, nothing), excepted.get(group, nothing), strict=True))
        if wanted != stored.get(group, nothing):
            yield (*group, wanted, stored.get(group, nothing))


def unaccepted(compared: Compared, accepted: Mapping[str, str]) -> list[str]:
    """Rules of rejects for which the declaration names no reason why they may stay behind."""
    return sorted({reject.rule for reject in compared.rejected} - set(accepted))
