"""Looks for a person in every file of a stack, decompressed: ``python -m tests.bench.erasure_search HOME VALUE…``

Each value is looked for in UTF-8, in GBK, and in base64 of both at each of its three alignments. Kafka segments are
taken apart batch by batch and decompressed, Parquet files (also those no table refers to) are decoded column by
column, .gz files are unpacked; everything is looked at as it lies on disk as well: MariaDB's data, log and undo
files, Flink's checkpoints and RocksDB files, logs, keys, configurations.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

_HEADER = struct.Struct(">qiibIh")  # base offset, length, leader epoch, magic, CRC, attributes
_RECORDS_AT = 61
_CODECS = {1: "gzip", 3: "lz4", 4: "zstd"}


def base64_forms(raw: bytes) -> list[bytes]:
    """What of a value's base64 does not depend on its neighbours, when it begins 0, 1 or 2 bytes into a group of three.

    >>> [form for form in base64_forms(b"secret") if form in base64.b64encode(b"xy secret z")]
    [b'c2VjcmV0']
    >>> around = [base64.b64encode(b"x" * before + b"secret" + b"y" * 5) for before in range(9)]
    >>> all(any(form in encoded for form in base64_forms(b"secret")) for encoded in around)
    True
    """
    forms = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw + b"\0\0")
        forms.append(encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6])
    return forms


def patterns(values: Iterable[str]) -> dict[bytes, str]:
    """What to look for, and in which form it is the value."""
    found: dict[bytes, str] = {}
    for value in values:
        for encoding in ("utf-8", "gbk"):
            raw = value.encode(encoding)
            found.setdefault(raw, encoding)
            for form in base64_forms(raw):
                found.setdefault(form, f"base64 of {encoding}")
    return found


def content(path: Path) -> Iterator[bytes]:
    """A file's bytes, as they lie there and decoded."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:  # a segment or a temporary file that went meanwhile
        return
    yield raw
    if path.suffix == ".parquet":
        yield from _columns(path)
    elif path.suffix in (".log", ".deleted") and path.parent.parent.name == "kafka":
        yield from _batches(raw)
    elif path.suffix == ".gz":
        yield gzip.decompress(raw)


def _columns(path: Path) -> Iterator[bytes]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, FileNotFoundError):  # one that was being written when its writer was killed
        return
    for batch in file.iter_batches(batch_size=5_000):
        for column in batch.columns:
            if pa.types.is_binary(column.type):
                yield b"\n".join(value for value in column.to_pylist() if value is not None)
            else:
                yield "\n".join(str(value) for value in column.to_pylist() if value is not None).encode()


def _batches(raw: bytes) -> Iterator[bytes]:
    """The records of each batch of a segment, decompressed; formats of message version 2 (Kafka 0.11 and later)."""
    at = 0
    while at + _RECORDS_AT <= len(raw):
        _, length, _, magic, _, attributes = _HEADER.unpack_from(raw, at)
        end = at + 12 + length
        if magic != 2 or length <= 0 or end > len(raw):
            return
        codec = _CODECS.get(attributes & 7)
        if codec is not None:
            with pa.CompressedInputStream(pa.BufferReader(raw[at + _RECORDS_AT : end]), codec) as stream:
                yield stream.read()
        elif attributes & 7:
            raise ValueError(f"a batch is compressed by codec {attributes & 7}, which this search cannot open")
        at = end


def search(home: Path, wanted: dict[bytes, str]) -> dict[str, Counter]:
    """Hits by file (relative to `home`): how often each form was found."""
    found: dict[str, Counter] = {}
    for path in sorted(home.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        hits = Counter()
        for block in content(path):
            for pattern, form in wanted.items():
                if times := block.count(pattern):
                    hits[form] += times
        if hits:
            found[str(path.relative_to(home))] = hits
    return found


def by_store(found: dict[str, Counter]) -> dict[str, Counter]:
    """The same by store: the first folder below home, and the table or topic in it."""
    stores: dict[str, Counter] = {}
    for name, hits in found.items():
        parts = Path(name).parts
        depth = 3 if parts[0] == "lake" else 2 if parts[0] in ("kafka", "mariadb") else 1
        store = "/".join(parts[: min(depth, len(parts))])
        stores.setdefault(store, Counter()).update(hits)
    return stores


def show(found: dict[str, Counter], console: Console) -> None:
    """A table by store."""
    table = Table("where", "forms and how often", title="Places where the person was found")
    for store, hits in sorted(by_store(found).items()):
        table.add_row(store, ", ".join(f"{form} {n:,}" for form, n in hits.most_common()))
    console.print(table if found else "Found nowhere.")


def main(argv: list[str] | None = None) -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="erasure_search", description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("values", nargs="+")
    args = parser.parse_args(argv)
    found = search(args.home, patterns(args.values))
    show(found, Console())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
