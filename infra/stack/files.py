"""Writing small files safely: a reader sees the old or the new content, never half of one."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

PRIVATE = 0o600


def write_atomic(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes text as `write_bytes_atomic` writes bytes."""
    write_bytes_atomic(path, text.encode(), mode)


def write_bytes_atomic(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes beside the file and renames over it; the mode is set before the first byte is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, text: str, mode: int = 0o644) -> bool:
    """Writes only when the content differs; True when it wrote."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_atomic(path, text, mode)
    return True


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON."""
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def private_folder(path: Path) -> Path:
    """Makes the folder readable by its owner only."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path
