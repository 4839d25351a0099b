"""Files of recorded messages, one payload at a time: lines of JSON, rows of a CSV, folders of mails or XML."""

from __future__ import annotations

import base64
import binascii
import csv
import gzip
import io
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import orjson

ONE_EACH = frozenset({".eml", ".xml", ".txt", ".json"})
TABLES = {".csv": ",", ".tsv": "\t"}
_MAX_CELL_CHARS = 4_000_000
LINES = frozenset({".ndjson", ".jsonl", ".log"})


class PayloadFileError(ValueError):
    """The file can't be played; the message says why and what would do."""


class Payload(NamedTuple):
    """One recorded message: its bytes, and where it stands."""

    #: File, line and a hash of the bytes: the same line of the same file is the same message, but tomorrow's file of
    #: that name is another one.
    source_ref: str
    value: bytes
    #: Headers of a second attempt (attempt, first_topic, first_partition, first_offset, account), else empty.
    headers: dict[str, str]


def payloads(path: Path, *, encoding: str = "utf-8", attempt: int | None = None) -> Iterator[Payload]:
    """Every payload of a file (.ndjson, .jsonl, .csv, .tsv, also .gz; .eml, .xml) or folder, in order; blank lines are
    passed over.

    Lines and rows in another ``encoding`` become UTF-8, which JSON must be; mails and XML name their own and stay as
    they are. With ``attempt`` each line is a message that was rejected before, as {topic, partition, offset,
    payload_base64}. Raises PayloadFileError.
    """
    try:
        "".encode(encoding)
    except LookupError:
        raise PayloadFileError(f"no encoding {encoding}; utf-8, gbk and gb18030 are usual") from None
    if attempt is not None:
        return _attempts(path, attempt)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in ONE_EACH)
        if not files:
            raise PayloadFileError(f"{path} holds no {', '.join(sorted(ONE_EACH))} file")
        return (_whole(file, file.relative_to(path).as_posix()) for file in files)
    suffix = Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
    if suffix in TABLES:
        return _rows(path, encoding, TABLES[suffix])
    if suffix in LINES:
        return _lines(path, encoding)
    if suffix in ONE_EACH:
        return iter([_whole(path, path.name)])
    known = ", ".join(sorted([*TABLES, *LINES, *ONE_EACH]))
    raise PayloadFileError(f"{path}: no form known for {suffix or 'a file without an ending'}; there are {known}")


def source_ref(name: str, line: int, value: bytes) -> str:
    """File, line and hash of one payload.

    >>> source_ref("stores.csv", 2, b"{}").split("#")[0]
    'stores.csv:2'
    """
    return f"{name}:{line}#{blake2b(value, digest_size=4).hexdigest()}"


def _open(path: Path):
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _whole(path: Path, name: str) -> Payload:
    value = path.read_bytes()
    return Payload(source_ref(name, 1, value), value, {})


def _lines(path: Path, encoding: str) -> Iterator[Payload]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            value = line.rstrip(b"\r\n")
            if not value.strip():
                continue
            headers = {}
            if encoding.lower() not in ("utf-8", "utf8"):
                value, headers = _as_utf8(value, encoding)
            yield Payload(source_ref(path.name, number, value), value, headers)


def _as_utf8(value: bytes, encoding: str) -> tuple[bytes, dict[str, str]]:
    """In UTF-8; what is not in the stated encoding goes as it is, and is rejected with its bytes where it is read."""
    try:
        return value.decode(encoding).encode(), {"charset": encoding}
    except UnicodeDecodeError:
        return value, {}


def _rows(path: Path, encoding: str, delimiter: str) -> Iterator[Payload]:
    with _open(path) as raw:
        # A broken character must not end the file: it becomes U+FFFD, and its row goes on.
        text = raw.read().decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding, errors="replace")
    csv.field_size_limit(_MAX_CELL_CHARS)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="more_columns")
    if not reader.fieldnames or not any(name.strip() for name in reader.fieldnames):
        raise PayloadFileError(f"{path} has no header line: the names of its columns must stand in the first line")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise PayloadFileError(f"{path}, line {reader.line_num}: {error}") from None
        value = orjson.dumps({name.strip(): cell for name, cell in row.items() if name and cell is not None})
        yield Payload(source_ref(path.name, reader.line_num, value), value, {})


def _attempts(path: Path, attempt: int) -> Iterator[Payload]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                entry = orjson.loads(line)
                value = base64.b64decode(entry["payload_base64"], validate=True)
                headers = {
                    "attempt": str(int(entry.get("attempt", attempt))),
                    "first_topic": str(entry["topic"]),
                    "first_partition": str(int(entry["partition"])),
                    "first_offset": str(int(entry["offset"])),
                }
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, binascii.Error) as error:
                needs = "{topic, partition, offset, payload_base64}"
                raise PayloadFileError(f"{path}, line {number}: a second attempt needs {needs}: {error!r}") from None
            if entry.get("account"):
                headers["account"] = str(entry["account"])
            yield Payload(str(entry.get("source_ref") or source_ref(path.name, number, value)), value, headers)
