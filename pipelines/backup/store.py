"""Files of a backup folder: written once, known by their hash, read only when they are what was written."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.stack.files import PRIVATE, write_bytes_atomic

_CHUNK = 1 << 20
MISSING = "missing"


class BackupDamaged(RuntimeError):
    """Files of the backup are missing or not what was written; the message names each."""


@dataclass(frozen=True)
class Damage:
    """One file that is not as it was written, and why: missing, cut off, or other bytes."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def copy_in(source: Path, folder: Path, path: str) -> dict[str, Any]:
    """Copy a file beside its place, onto the disk, then into place; the bytes and hash of what was written.

    Raises FileNotFoundError where the source is gone.
    """
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    digest, size = hashlib.sha256(), 0
    try:
        with source.open("rb") as inside, draft.open("xb") as out:
            while block := inside.read(_CHUNK):
                digest.update(block)
                size += len(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return {"path": path, "bytes": size, "sha256": digest.hexdigest()}


def write_in(folder: Path, path: str, content: bytes) -> dict[str, Any]:
    """Write bytes as `copy_in` writes a file."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_bytes_atomic(target, content, PRIVATE)
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def copy_out(folder: Path, line: Mapping[str, Any], target: Path) -> None:
    """Copy a file of the backup to `target`. Raises BackupDamaged unless it is what its line says."""
    made = _read(folder, line, target)
    if made is not None:
        target.unlink(missing_ok=True)
        raise BackupDamaged(str(made))


def read_out(folder: Path, line: Mapping[str, Any]) -> bytes:
    """The bytes of a file. Raises BackupDamaged."""
    if (found := check(folder, line)) is not None:
        raise BackupDamaged(str(found))
    return (folder / line["path"]).read_bytes()


def check(folder: Path, line: Mapping[str, Any]) -> Damage | None:
    """None for a file that is what its line says."""
    return _read(folder, line, None)


def _read(folder: Path, line: Mapping[str, Any], target: Path | None) -> Damage | None:
    digest, size = hashlib.sha256(), 0
    out = None
    try:
        with (folder / line["path"]).open("rb") as inside:
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                out = target.open("wb")
            while block := inside.read(_CHUNK):
                digest.update(block)
                size += len(block)
                if out is not None:
                    out.write(block)
    except FileNotFoundError:
        return Damage(line["path"], MISSING)
    finally:
        if out is not None:
            out.close()
    if size != line["bytes"]:
        return Damage(line["path"], f"{size:,} bytes instead of {line['bytes']:,}")
    if digest.hexdigest() != line["sha256"]:
        return Damage(line["path"], "other bytes than were written (SHA-256 differs)")
    return None


def damages(folder: Path, lines: Iterable[Mapping[str, Any]]) -> list[Damage]:
    """Every file that is not what its line says."""
    return [found for line in lines if (found := check(folder, line)) is not None]
