"""Files of a backup that must not lie open: AES-256-GCM under a key of the master key, bound to the file's place."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.backup.store import BackupDamaged
from pipelines.privacy.keys import MasterKey

_INFO, _NONCE_BYTES = "backup/file", 12


def seal_bytes(content: bytes, key: MasterKey, path: str) -> bytes:
    """Key version, nonce and ciphertext.

    >>> key = MasterKey({1: bytes(32)})
    >>> open_bytes(seal_bytes(b"rows", key, "identity/1.sealed"), key, "identity/1.sealed")
    b'rows'
    """
    version, nonce = key.version, os.urandom(_NONCE_BYTES)
    return bytes([version]) + nonce + AESGCM(key.derive(_INFO, version)).encrypt(nonce, content, path.encode())


def open_bytes(content: bytes, key: MasterKey, path: str) -> bytes:
    """The reverse of `seal_bytes`. Raises BackupDamaged for other bytes, another place or another master key."""
    try:
        nonce, sealed = content[1 : 1 + _NONCE_BYTES], content[1 + _NONCE_BYTES :]
        return AESGCM(key.derive(_INFO, content[0])).decrypt(nonce, sealed, path.encode())
    except (InvalidTag, IndexError, ValueError) as error:
        raise BackupDamaged(f"{path}: cannot be opened with the master key of this backup") from error
