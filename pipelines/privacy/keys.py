"""The master key: made once, kept in a file only its owner can read, or given by the environment."""

import base64
import binascii
import contextlib
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ENVIRONMENT_VARIABLE = "KEFULAKE_MASTER_KEY"
KEY_BYTES = 32
_LAST_VERSION = 255


class MasterKeyError(RuntimeError):
    """The master key is missing, readable by others, or malformed; the message says what to do."""


class MasterKey:
    """A ring of master-key versions. New data keys are wrapped by the newest; old ones only unwrap.

    Tokens are made from ``token_version`` and stay what they are when the newest version changes:
    rotation re-wraps data keys and touches nothing else (design decision 8).

    A ring that was loaded from a file follows it: who writes calls `refresh` with each batch and so wraps by a new
    version from then on, and who meets a version it does not know looks into the file before it gives up. The file gets
    a version before anything is wrapped by it, so nobody has to be stopped for a rotation.

    >>> ring = MasterKey({1: bytes(32)})
    >>> ring.version, len(ring.derive("token"))
    (1, 32)
    >>> ring.derive("token") == ring.derive("payload")
    False
    """

    def __init__(self, versions: dict[int, bytes], *, token_version: int = 1, source: Path | None = None):
        if not versions:
            raise MasterKeyError("The master key holds no version; create one with MasterKey.create(path).")
        for version, key in versions.items():
            if not 0 < version < 256 or len(key) != KEY_BYTES:
                raise MasterKeyError(f"Master key version {version} must be 1..255 and {KEY_BYTES} bytes long.")
        if token_version not in versions:
            raise MasterKeyError(f"Token key version {token_version} is not in the key ring {sorted(versions)}.")
        self._versions = dict(versions)
        self._derived: dict[tuple[int, str], bytes] = {}
        self.token_version = token_version
        self._source, self._seen = source, None

    def __repr__(self) -> str:  # never the key itself
        return f"MasterKey(versions={sorted(self._versions)})"

    @property
    def version(self) -> int:
        """The newest version: what is written now is wrapped by it."""
        return max(self._versions)

    @property
    def versions(self) -> list[int]:
        """The versions that can be unwrapped, oldest first."""
        return sorted(self._versions)

    def derive(self, info: str, version: int | None = None) -> bytes:
        """A 32-byte key for one purpose, by HKDF-SHA256 (RFC 5869). Raises MasterKeyError on an unknown version."""
        version = self.version if version is None else version
        known = self._derived.get((version, info))
        if known is not None:
            return known
        if version not in self._versions:
            self.refresh()
        if version not in self._versions:
            raise MasterKeyError(
                f"Master key version {version} is needed but not in the key ring {self.versions}; "
                "put the old version back into the key file."
            )
        hkdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=b"kefulake", info=info.encode())
        return self._derived.setdefault((version, info), hkdf.derive(self._versions[version]))

    def refresh(self) -> bool:
        """Take over the file's versions if it was written since; True when they changed. Costs a stat (2 us).

        A file that is away, malformed, or holds another key under a number we know changes nothing: who runs goes on
        with what it has, and the next start says what is wrong.
        """
        if self._source is None or (seen := _stamp(self._source)) == self._seen:
            return False
        try:
            there = type(self).load(self._source, environ={})._versions
        except (MasterKeyError, OSError):
            return False
        if self.token_version not in there or any(there.get(n, key) != key for n, key in self._versions.items()):
            return False
        self._seen, changed = seen, there != self._versions
        self._versions = there
        # A copy first: threads share a ring, and one may be deriving.
        self._derived = {known: key for known, key in self._derived.copy().items() if known[0] in there}
        return changed

    @classmethod
    def load(cls, where: "Path | str | object", *, environ: dict[str, str] | None = None) -> "MasterKey":
        """From KEFULAKE_MASTER_KEY (base64 of 32 bytes, or ``1:base64,2:base64``) or else from the key file.

        `where` is a path or anything with a ``keys_file`` attribute (the settings).
        Raises MasterKeyError if there is none, if others may read the file, or if it is malformed.
        """
        given = (os.environ if environ is None else environ).get(ENVIRONMENT_VARIABLE, "").strip()
        if given:
            lines = [part if ":" in part else f"1:{part}" for part in given.split(",")]
            return cls(_parse(lines, origin=f"environment variable {ENVIRONMENT_VARIABLE}"))
        path = Path(getattr(where, "keys_file", where))
        if not path.exists():
            raise MasterKeyError(
                f"No master key at {path}. Run the set-up (make setup), or set {ENVIRONMENT_VARIABLE} "
                "to the base64 of 32 random bytes. Do not make a new key for an existing lake: "
                "its tokens could no longer be matched."
            )
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise MasterKeyError(f"Others may read the master key {path} (mode {mode:04o}); run: chmod 600 {path}")
        seen = _stamp(path)  # before it is read: what is written in between is noticed at the next look
        ring = cls(_parse(path.read_text().split(), origin=str(path)), source=path)
        ring._seen = seen
        return ring

    @classmethod
    def create(cls, path: Path | str) -> "MasterKey":
        """Make a key file (mode 0600) with one random version; an existing file is kept and loaded.

        The file is complete or absent: it is written beside and linked into place, so an interrupted
        set-up leaves no half key and two set-ups at once agree on one.
        """
        path = Path(path)
        if path.exists():
            return cls.load(path, environ={})
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"1:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another set-up was first: its key is the key
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        return cls.load(path, environ={})


def add_version(path: Path) -> int:
    """Give the key file a new random version; its number. The file is the old or the new one at every moment.

    Raises MasterKeyError when it is missing, malformed or full.
    """
    versions = MasterKey.load(path, environ={})._versions
    new = max(versions) + 1
    if new > _LAST_VERSION:
        raise MasterKeyError(f"{path} holds version {_LAST_VERSION}, the last there can be: one byte names it.")
    write_versions(path, versions | {new: os.urandom(KEY_BYTES)})
    return new


def drop_version(path: Path, version: int) -> None:
    """Take a version out of the key file. Raises MasterKeyError for the newest, the tokens' own, and an unknown one.

    What is still wrapped by it cannot be opened any more: ask first.
    """
    ring = MasterKey.load(path, environ={})
    if version not in ring.versions or version in (ring.version, ring.token_version):
        raise MasterKeyError(
            f"Version {version} cannot go: the file holds {ring.versions}, {ring.version} wraps what is written now, "
            f"and the tokens are made from {ring.token_version}."
        )
    write_versions(path, {number: key for number, key in ring._versions.items() if number != version})


def write_versions(path: Path, versions: dict[int, bytes]) -> None:
    """Write a key file beside and rename it into place, mode 0600, on disk before it counts."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"{n}:{base64.b64encode(key).decode()}\n" for n, key in sorted(versions.items()))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a key that a crash takes back after something was wrapped by it is data lost
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _parse(lines: list[str], *, origin: str) -> dict[int, bytes]:
    versions: dict[int, bytes] = {}
    for line in lines:
        number, _, encoded = line.partition(":")
        try:
            version, key = int(number), base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise MasterKeyError(f"{origin}: each version must read '<number>:<base64 of 32 bytes>'.") from error
        if version in versions:
            raise MasterKeyError(f"{origin}: master key version {version} is given twice.")
        versions[version] = key
    return versions
