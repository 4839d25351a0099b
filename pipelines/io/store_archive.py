"""The archive of stores' files: bytes by content hash, encrypted, and beside them what was last sent of each day.

``<home>/archive/stores/<store>/<day>/<sha256>.file`` are the bytes, ``state.json`` the day's state; files refused lie
under ``refused/`` with the reason. The state is written after the broker's acknowledgements and replaces the one before
it in one step: it is the commit. A process that dies before it sends the same again, under the same event IDs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from infra.stack.files import PRIVATE, private_folder, write_atomic, write_bytes_atomic
from pipelines.privacy.bronze_cipher import BronzeCipher, open_bronze
from pipelines.privacy.keys import MasterKey
from pipelines.stores.corrections import SentRow

_STATE, SUFFIX, _SENDING, _REFUSED = "state.json", ".file", ".sending", "refused"


class ImportBusy(RuntimeError):
    """Another import is at work in this home; the message says so."""


@dataclass
class DayState:
    """What is known of a store's day: deliveries that were dealt with (ID to report row, files by SHA-256) and rows.

    ``files``: SHA-256 to the file's name, in the order they came; the last one stands. ``rows``: as last sent, by key.
    ``sent_at_us``: when the broker acknowledged the newest of them.
    """

    deliveries: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    rows: dict[str, SentRow] = field(default_factory=dict)
    sent_at_us: int = 0


class StoreArchive:
    """The archive below one home. Files are private: whoever may read the key may read them."""

    def __init__(self, home: Path, key: MasterKey) -> None:
        self.root, self._key = home / "archive" / "stores", key

    def secret(self) -> bytes:
        """Key of the hashes that rows are known by; the same after a rotation, as tokens are."""
        return self._key.derive("store rows", self._key.token_version)

    def folder(self, store: str, day: date) -> Path:
        """Where a store's day lies."""
        return self.root / store / day.isoformat()

    def days(self, day: date) -> list[str]:
        """Stores of which a day was imported."""
        return sorted(path.parent.parent.name for path in self.root.glob(f"*/{day.isoformat()}/{_STATE}"))

    # ---- bytes

    def keep(self, folder: Path, content: bytes) -> str:
        """Bytes into a folder, once; their SHA-256 in hex."""
        digest = hashlib.sha256(content)
        path = folder / f"{digest.hexdigest()}{SUFFIX}"
        if not path.exists():
            # The key is derived from the content's hash, so no two contents meet under one key and nonce.
            [sealed] = BronzeCipher(self._key, digest.digest()[:16]).encrypt([0], [0], [content])
            _write_private(path, sealed)
        return digest.hexdigest()

    def open(self, folder: Path, sha256: str) -> bytes | None:
        """The bytes of a file; None where it was erased. Raises BronzeCipherError when they were altered."""
        path = folder / f"{sha256}{SUFFIX}"
        return open_bronze(path.read_bytes(), self._key, 0, 0) if path.exists() else None

    def refuse(self, content: bytes, row: dict[str, Any]) -> Path:
        """Keep a refused file with the reason beside it; where the reason stands."""
        folder = self.root / _REFUSED
        sha256 = self.keep(folder, content)
        told = folder / f"{sha256}.json"
        write_atomic(told, json.dumps(row, ensure_ascii=False, indent=1, default=str) + "\n", PRIVATE)
        return told

    def refused(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """SHA-256 and report row of every refused file that is still kept."""
        for path in sorted((self.root / _REFUSED).glob("*.json")):
            yield path.stem, json.loads(path.read_text(encoding="utf-8"))

    def open_refused(self, sha256: str) -> bytes | None:
        """The bytes of a refused file, as `open` gives them."""
        return self.open(self.root / _REFUSED, sha256)

    def forget_refused(self, sha256: str) -> None:
        """A refused file leaves the archive, with its reason."""
        for suffix in (".json", SUFFIX):
            (self.root / _REFUSED / f"{sha256}{suffix}").unlink(missing_ok=True)

    def everything(self) -> Iterator[tuple[Path, bytes]]:
        """Every file with its bytes, for who must look for a person in them."""
        for path in sorted(self.root.rglob(f"*{SUFFIX}")):
            yield path, open_bronze(path.read_bytes(), self._key, 0, 0)

    # ---- state

    def state(self, store: str, day: date) -> DayState:
        """What was last sent of a store's day; nothing before its first file."""
        path = self.folder(store, day) / _STATE
        if not path.exists():
            return DayState()
        read = json.loads(path.read_text(encoding="utf-8"))
        rows = {key: SentRow(*values) for key, values in read["rows"].items()}
        return DayState(read["deliveries"], read["files"], rows, read["sent_at_us"])

    def begin(self, store: str, day: date, content: bytes, told: dict[str, Any]) -> int | None:
        """Keep a file's bytes, and note that it is being sent; when that began (µs) where a run before had begun it."""
        folder = self.folder(store, day)
        note = folder / f"{self.keep(folder, content)}{_SENDING}"
        if note.exists():
            return note.stat().st_mtime_ns // 1000
        write_atomic(note, json.dumps(told, ensure_ascii=False), PRIVATE)
        return None

    def unfinished(self, store: str, day: date, state: DayState) -> list[dict[str, Any]]:
        """Reports, as begun, of the files that were being sent and were never committed; oldest first."""
        notes = sorted(self.folder(store, day).glob(f"*{_SENDING}"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(note.read_text(encoding="utf-8")) for note in notes if note.stem not in state.files]

    def commit(self, store: str, day: date, state: DayState) -> None:
        """The day's new state in place of the old one, on disk before it counts; nothing is being sent any more."""
        told = asdict(state) | {"rows": {key: list(row) for key, row in state.rows.items()}}
        folder = private_folder(self.folder(store, day))
        write_atomic(folder / _STATE, json.dumps(told, ensure_ascii=False, default=str), PRIVATE)
        for note in folder.glob(f"*{_SENDING}"):
            if note.stem in state.files:
                note.unlink()


def _write_private(path: Path, content: bytes) -> None:
    private_folder(path.parent)
    write_bytes_atomic(path, content, PRIVATE)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """One import at a time below a home; the lock ends with its process. Raises ImportBusy."""
    path = private_folder(home / "archive") / "store_import.lock"
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImportBusy("another kefulake store-import is at work in this home; let it end") from None
        yield
