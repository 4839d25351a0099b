"""Seals the raw bytes that rejects and review rows keep: nothing is lost, and nothing personal lies open."""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.privacy.keys import MasterKey

_NONCE_BYTES = 12
_INFO = "payload"


class PayloadError(ValueError):
    """Sealed bytes cannot be opened; the message says why."""


class PayloadSealer:
    """Encrypts payloads under the newest key version; `coordinates` binds them to their raw message.

    A random 96-bit nonce is safe for 2^32 payloads of one key version; rejects and review rows are a few per cent.

    >>> sealer = PayloadSealer(MasterKey({1: bytes(32)}))
    >>> open_payload(sealer.seal(b"bytes", "raw.app/0/7"), MasterKey({1: bytes(32)}), "raw.app/0/7")
    b'bytes'
    """

    def __init__(self, key: MasterKey):
        self._key = key
        self._by(key.version)

    def _by(self, version: int) -> None:
        self._version, self._head = version, bytes([version])
        self._cipher = AESGCM(self._key.derive(_INFO, version))

    def seal(self, payload: bytes, coordinates: str) -> str:
        """Base64 of version, nonce and ciphertext."""
        if (version := self._key.version) != self._version:  # the ring follows its file
            self._by(version)
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(
            self._head + nonce + self._cipher.encrypt(nonce, payload, coordinates.encode())
        ).decode()


def coordinates(topic: str, partition: int, offset: int) -> str:
    """The text that binds a sealed payload to its raw message.

    >>> coordinates("raw.app", 0, 7)
    'raw.app/0/7'
    """
    return f"{topic}/{partition}/{offset}"


def encrypt_payload(payload: bytes, key: MasterKey, aad: str) -> str:
    """One-off form of PayloadSealer.seal."""
    return PayloadSealer(key).seal(payload, aad)


def open_payload(sealed: str, key: MasterKey, aad: str) -> bytes:
    """The raw bytes. Raises PayloadError if they were altered, moved to other coordinates, or the key is unknown."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        cipher = AESGCM(key.derive(_INFO, raw[0]))
        return cipher.decrypt(raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :], aad.encode())
    except (binascii.Error, IndexError, ValueError) as error:
        raise PayloadError(f"The kept bytes of {aad} are not a sealed payload.") from error
    except InvalidTag as error:
        raise PayloadError(f"The kept bytes of {aad} were altered, or belong to another message or key.") from error
