"""Keys in a backup: sealed to a public key whose other half only a passphrase opens.

The shipper seals the master key again whenever it changes and knows no secret for it; who restores knows the
passphrase. X25519 and HKDF-SHA256 make the sealing key (RFC 7748, 5869), scrypt (RFC 7914) the passphrase's, and
AES-256-GCM seals.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

# 2^15 takes 0.1 s and 32 MB a guess on one core.
SCRYPT = {"n": 2**15, "r": 8, "p": 1}
LEAST_LETTERS = 12
_INFO, _NONCE = b"kefulake/backup/keys", 12


class RecoveryKeyError(RuntimeError):
    """No recovery key was set up, the passphrase is wrong or weak, or the sealed keys were altered."""


def create(passphrase: str, *, scrypt: dict[str, int] = SCRYPT) -> dict[str, Any]:
    """A new recovery key as it may lie beside a backup: public half in clear, private half under the passphrase.

    Raises RecoveryKeyError for a passphrase under 12 letters.
    """
    if len(passphrase) < LEAST_LETTERS:
        raise RecoveryKeyError(f"The passphrase has {len(passphrase)} letters; take at least {LEAST_LETTERS}.")
    private = X25519PrivateKey.generate()
    salt, nonce = os.urandom(16), os.urandom(_NONCE)
    sealed = AESGCM(_stretched(passphrase, salt, scrypt)).encrypt(nonce, private.private_bytes_raw(), _INFO)
    return {
        "form": 1, "scrypt": dict(scrypt), "salt": _text(salt), "nonce": _text(nonce), "private": _text(sealed),
        "public": _text(private.public_key().public_bytes_raw()),
    }  # fmt: skip


def seal(content: bytes, recovery: dict[str, Any]) -> bytes:
    """Content that only `opened` with the passphrase reads.

    >>> weak = {"n": 2, "r": 8, "p": 1}
    >>> recovery = create("correct horse battery", scrypt=weak)
    >>> opened(seal(b"1:key", recovery), recovery, "correct horse battery")
    b'1:key'
    >>> opened(seal(b"1:key", recovery), recovery, "correct horse batterz")
    Traceback (most recent call last):
    ...
    pipelines.backup.recovery_key.RecoveryKeyError: The passphrase is not the one the recovery key was set up with.
    """
    ephemeral = X25519PrivateKey.generate()
    mine = ephemeral.public_key().public_bytes_raw()
    theirs = base64.b64decode(recovery["public"])
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(theirs))
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(_derived(shared, mine + theirs)).encrypt(nonce, content, _INFO)
    return json.dumps({"form": 1, "sender": _text(mine), "nonce": _text(nonce), "sealed": _text(sealed)}).encode()


def opened(envelope: bytes, recovery: dict[str, Any], passphrase: str) -> bytes:
    """What `seal` sealed. Raises RecoveryKeyError."""
    scrypt = {name: int(recovery["scrypt"][name]) for name in SCRYPT}
    try:
        stretched = _stretched(passphrase, base64.b64decode(recovery["salt"]), scrypt)
        raw = AESGCM(stretched).decrypt(
            base64.b64decode(recovery["nonce"]), base64.b64decode(recovery["private"]), _INFO
        )
    except InvalidTag as error:
        raise RecoveryKeyError("The passphrase is not the one the recovery key was set up with.") from error
    private = X25519PrivateKey.from_private_bytes(raw)
    try:
        parts = {name: base64.b64decode(value) for name, value in json.loads(envelope).items() if name != "form"}
        shared = private.exchange(X25519PublicKey.from_public_bytes(parts["sender"]))
        key = _derived(shared, parts["sender"] + private.public_key().public_bytes_raw())
        return AESGCM(key).decrypt(parts["nonce"], parts["sealed"], _INFO)
    except (InvalidTag, ValueError, KeyError) as error:
        raise RecoveryKeyError("The sealed keys were altered, or belong to another recovery key.") from error


def _stretched(passphrase: str, salt: bytes, scrypt: dict[str, int]) -> bytes:
    return Scrypt(salt=salt, length=32, **scrypt).derive(passphrase.encode())


def _derived(shared: bytes, salt: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=_INFO).derive(shared)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
