"""CSV and Parquet files as text, in the order of their names and rows. A row's place in that order is its offset."""

from __future__ import annotations

import codecs
import csv
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.io.duckdb_lake import spilling_aside
from pipelines.io.migration_mysql import SourceRefused, require_columns
from pipelines.migration.declaration import SourceTable

_AS_THEY_ARE = ("utf-8", "utf-8-sig", "ascii")
_CHARS_AT_ONCE = 1 << 20
_MOST_CELL_CHARS = 16 << 20


class FileTable:
    """One table of the old system that comes as files: a file, or a folder of them."""

    def __init__(self, kind: str, table: SourceTable):
        self._kind, self._table = kind, table
        self.files = files_of(kind, table)
        self.columns = self._columns(self.files[0])
        for file in self.files[1:]:
            if (other := self._columns(file)) != self.columns:
                raise SourceRefused(f"{file.name} has the columns {other}, {self.files[0].name} has {self.columns}")
        require_columns(table, self.columns)

    def _columns(self, file: Path) -> list[str]:
        if self._kind == "parquet":
            return pq.read_schema(file).names
        try:
            with file.open(encoding=self._encoding, newline="") as lines:
                return next(csv.reader(lines), [])
        except UnicodeDecodeError as error:
            raise SourceRefused(f"{file.name}: {error}; is it {self._encoding}?") from error

    @property
    def _encoding(self) -> str:
        return "utf-8-sig" if self._table.encoding in ("utf-8", "utf8") else self._table.encoding

    def full(self, last_key: str | None, done_rows: int, limit: int) -> Iterator[pl.DataFrame]:
        """Pages of rows after the first `done_rows`."""
        held: list[pl.DataFrame] = []
        size = 0
        for frame in self._frames(limit):
            if done_rows >= len(frame):
                done_rows -= len(frame)
                continue
            frame, done_rows = frame.slice(done_rows), 0
            held, size = [*held, frame], size + len(frame)
            while size >= limit:
                whole = pl.concat(held)
                yield whole.slice(0, limit)
                held, size = [whole.slice(limit)], size - limit
        if size:
            yield pl.concat(held)

    def _frames(self, limit: int) -> Iterator[pl.DataFrame]:
        for file in self.files:
            yield from self._parquet(file, limit) if self._kind == "parquet" else self._csv(file, limit)

    def _csv(self, file: Path, limit: int) -> Iterator[pl.DataFrame]:
        csv.field_size_limit(_MOST_CELL_CHARS)
        with file.open(encoding=self._encoding, newline="", errors="strict") as lines:
            reader, rows, width = csv.reader(lines), [], len(self.columns)
            try:
                next(reader, None)
                for row in reader:
                    if len(row) != width:
                        if not row:
                            continue
                        raise SourceRefused(
                            f"{file.name}, line {reader.line_num}: {len(row)} cells where the header has {width}"
                        )
                    rows.append(row)
                    if len(rows) >= limit:
                        yield _text_frame(self.columns, rows)
                        rows = []
            except (UnicodeDecodeError, csv.Error) as error:
                raise SourceRefused(f"{file.name}, line {reader.line_num}: {error}; is it {self._encoding}?") from error
        if rows:
            yield _text_frame(self.columns, rows)

    def _parquet(self, file: Path, limit: int) -> Iterator[pl.DataFrame]:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=limit):
            frame = pl.DataFrame(pa.Table.from_batches([batch]))
            yield frame.select(_as_text(frame[name]) for name in self.columns)

    def changed_since(self, mark: str, limit: int) -> Iterator[pl.DataFrame]:
        """Files have no clock of their own: whatever lies there now is compared with what was taken."""
        return self.full(None, 0, limit)

    def mark(self, overlap_s: int) -> str | None:
        """Which files were there: names and sizes."""
        return ";".join(f"{file.name}:{file.stat().st_size}" for file in self.files)

    def keys(self, limit: int) -> Iterator[list[str]]:
        """Every key there is, in pages."""
        for frame in self._frames(limit):
            yield frame[self._table.key].fill_null("").to_list()

    def rows(self) -> int:
        """Rows of all files."""
        return sum(len(frame) for frame in self._frames(100_000))

    def repeated_keys(self) -> set[str]:
        """Keys that stand in more than one row: files have no primary key. Counted by DuckDB, which spills."""
        with spilling_aside() as connection, reading_sql(self._kind, self._table) as rows:
            key = '"' + self._table.key.replace('"', '""') + '"'
            found = connection.sql(
                f"SELECT {key}::VARCHAR FROM {rows} GROUP BY 1 HAVING count(*) > 1"  # noqa: S608
            ).fetchall()
        return {row[0] or "" for row in found}  # rows without a key share the empty one


def files_of(kind: str, table: SourceTable) -> list[Path]:
    """The files of a table, in the order of their names. Raises SourceRefused where there is none."""
    stated = Path(table.path or "").expanduser()
    files = sorted(stated.glob(f"*.{kind}")) if stated.is_dir() else [stated] if stated.is_file() else []
    if not files:
        raise SourceRefused(f"{table.name}: no .{kind} file at {stated}")
    return files


@contextmanager
def reading_sql(kind: str, table: SourceTable) -> Iterator[str]:
    """How DuckDB reads the same files: every cell of a CSV as text, Parquet as typed.

    DuckDB knows no GBK without an extension from the network: such files are read as UTF-8 copies, gone afterwards.
    Raises SourceRefused where a file is not in its encoding.
    """
    files = files_of(kind, table)
    with tempfile.TemporaryDirectory(prefix="kefulake-") as folder:
        if kind != "parquet" and codecs.lookup(table.encoding).name not in _AS_THEY_ARE:
            files = [_as_utf8(file, Path(folder) / f"{nth}.csv", table.encoding) for nth, file in enumerate(files)]
        listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
        if kind == "parquet":
            yield f"read_parquet([{listed}])"
        else:
            yield (
                f"read_csv([{listed}], header=true, all_varchar=true, delim=',', quote='\"', escape='\"', nullstr='', "
                f"strict_mode=true, max_line_size={_MOST_CELL_CHARS})"
            )


def _as_utf8(file: Path, target: Path, encoding: str) -> Path:
    try:
        with file.open(encoding=encoding, newline="") as lines, target.open("x", encoding="utf-8", newline="") as copy:
            shutil.copyfileobj(lines, copy, _CHARS_AT_ONCE)
    except UnicodeDecodeError as error:
        raise SourceRefused(f"{file.name}: {error}; is it {encoding}?") from error
    return target


def _text_frame(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> pl.DataFrame:
    """Cells as they stand; a CSV cannot tell an empty cell from none, so an empty one is NULL."""
    values = zip(*rows, strict=True)
    made = [pl.Series(n, v, dtype=pl.String) for n, v in zip(columns, values, strict=True)]
    return pl.DataFrame([s.set(s == "", None) for s in made])


def _as_text(values: pl.Series) -> pl.Series:
    """As a database would write it: instants without a zone as yyyy-mm-dd hh:mm:ss, the rest as polars prints it."""
    if values.dtype.is_temporal() and values.dtype != pl.Date:
        if getattr(values.dtype, "time_zone", None):
            raise SourceRefused(f"column {values.name} carries a time zone; write naive times of the declared zone")
        return values.dt.strftime("%Y-%m-%d %H:%M:%S%.6f").alias(values.name)
    return values.cast(pl.String).alias(values.name)


__all__ = ["FileTable", "files_of", "reading_sql"]
