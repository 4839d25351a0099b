"""Who may ask: one key a person, in a file that holds only hashes of them.

    li.na: {role: agent, key_sha256: 9f86d081…, made_at: "2026-01-09T08:00:00+00:00"}

A key reads ``<name>.<256 random bits>`` and is shown once, when it is made. So much chance needs no slow hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from infra.stack.files import PRIVATE, write_atomic
from pipelines.lookup.refusals import NotAnswered

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HEAD = "# Keys of who may look customers up, hashed. kefulake lookup add-key writes it.\n"
_NOBODY = "0" * 64


class AgentKeysError(ValueError):
    """The file of keys cannot be used, or a name or role is none; the message says what to do."""


@dataclass(frozen=True)
class Agent:
    """Who asks, in which role."""

    name: str
    role: str


@dataclass(frozen=True, repr=False)
class AgentKey:
    """An entry of the file."""

    role: str
    key_sha256: str
    made_at: str


def load(path: Path, roles: Collection[str]) -> dict[str, AgentKey]:
    """All entries by name; none while there is no file. Raises AgentKeysError."""
    if not path.exists():
        return {}
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AgentKeysError(f"{path} says who may look customers up, but others may read it. Run: chmod 600 {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:  # whose message repeats a line of the file
        raise AgentKeysError(f"{path} is no YAML; make the keys anew: kefulake lookup add-key") from error
    if not isinstance(content, dict):
        raise AgentKeysError(f"{path} must hold a mapping: name, then role and key_sha256")
    return {str(name): _entry(str(name), entry, roles) for name, entry in content.items()}


def _entry(name: str, entry: object, roles: Collection[str]) -> AgentKey:
    if not isinstance(entry, dict) or set(entry) != {"role", "key_sha256", "made_at"}:
        raise AgentKeysError(f"key of {name!r}: an entry has role, key_sha256 and made_at")
    if entry["role"] not in roles:
        raise AgentKeysError(f"key of {name!r}: role {entry['role']!r} is none; there are: {', '.join(roles)}")
    if not re.fullmatch(r"[0-9a-f]{64}", str(entry["key_sha256"])):
        raise AgentKeysError(f"key of {name!r}: key_sha256 is no SHA-256")
    return AgentKey(**{name: str(value) for name, value in entry.items()})


def add(path: Path, name: str, role: str, roles: Collection[str], *, now: datetime) -> str:
    """Make a key, in place of the one the name had; the key itself, which is kept nowhere. Raises AgentKeysError."""
    if not _NAME.fullmatch(name):
        raise AgentKeysError(f"{name!r} is no name for a key: letters, digits and ._@- only, at most 64")
    if role not in roles:
        raise AgentKeysError(f"no role {role!r}; there are: {', '.join(roles)}")
    key = f"{name}.{secrets.token_urlsafe(32)}"
    with _alone(path):
        entries = load(path, roles) | {name: AgentKey(role, _hash(key), now.isoformat(timespec="seconds"))}
        _write(path, entries)
    return key


def remove(path: Path, name: str, roles: Collection[str]) -> bool:
    """Take a name's key away, from its next request on; False when it had none."""
    with _alone(path):
        entries = load(path, roles)
        found = entries.pop(name, None) is not None
        if found:
            _write(path, entries)
    return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, entries: dict[str, AgentKey]) -> None:
    plain = {name: vars(entry) for name, entry in sorted(entries.items())}
    write_atomic(path, _HEAD + yaml.safe_dump(plain, allow_unicode=True), PRIVATE)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class AgentKeys:
    """The keys of a running service: it follows the file, so that a key taken away counts for nothing at once."""

    def __init__(self, path: Path, roles: Collection[str]):
        self._path, self._roles = path, roles
        self._seen: object = None
        self._entries: dict[str, AgentKey] = {}

    def agent(self, authorization: str | None) -> Agent:
        """Who an Authorization header names. Raises NotAnswered, AgentKeysError for a file that cannot be used."""
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise NotAnswered("key.missing")
        self.follow()
        name = key.strip().rpartition(".")[0]
        entry = self._entries.get(name)
        # Compared also where the name is nobody's: the time an answer takes tells no names.
        fits = hmac.compare_digest(_hash(key.strip()), entry.key_sha256 if entry else _NOBODY)
        if entry is None or not fits:
            raise NotAnswered("key.unknown")
        return Agent(name, entry.role)

    def follow(self) -> None:
        """Take the file over if it was written since. Raises AgentKeysError."""
        seen = _stamp(self._path)
        if seen != self._seen:
            self._entries = load(self._path, self._roles)
            self._seen = seen


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
