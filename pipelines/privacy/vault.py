"""The vault: the one place where a token's personal value can be opened again.

Each value is sealed with AES-256-GCM under a data key of its own; the data key is wrapped by a key derived from
the master key and the token. Destroying the wrapped key erases the value; rotation re-wraps and touches nothing else.
"""

import base64
import hmac
import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.privacy.keys import MasterKey

_NONCE_BYTES = 12
_INFO = "vault/wrap"


class VaultError(ValueError):
    """An entry cannot be opened; the message says why."""


class VaultWriter:
    """Collects the vault entries of new tokens; hand `add` to a Tokeniser as `on_new`.

    >>> writer = VaultWriter(MasterKey({1: bytes(32)}))
    >>> writer.add("ph1_00", "phone", "+8613812345670")
    >>> [(token, value)] = writer.drain()
    >>> token, open_entry(value, MasterKey({1: bytes(32)}))
    ('ph1_00', '+8613812345670')
    >>> writer.drain()
    []
    """

    def __init__(self, key: MasterKey, *, known_tokens: int = 500_000):
        self._key = key
        self._known_tokens = known_tokens
        self.reset()

    def reset(self) -> None:
        """Forget what was emitted: after a failed transaction it must be emitted again. Entries are idempotent."""
        self._emitted: set[str] = set()
        self._pending: list[tuple[str, str]] = []

    def add(self, token: str, kind: str, value: str) -> None:
        """Make the entry of a token unless it was made since the last reset."""
        if token in self._emitted:
            return
        if len(self._emitted) >= self._known_tokens:  # bounded memory; a repeat only costs an equal record
            self._emitted.clear()
        self._emitted.add(token)
        self._pending.append((token, self._entry(token, kind, value)))

    def drain(self) -> list[tuple[str, str]]:
        """(token, JSON value for topic identity.vault) of all tokens new since the last drain."""
        pending, self._pending = self._pending, []
        return pending

    def _entry(self, token: str, kind: str, value: str) -> str:
        random = os.urandom(32 + 2 * _NONCE_BYTES)
        data_key, nonce, wrap_nonce = random[:32], random[32:44], random[44:]
        bound = token.encode()
        ciphertext = AESGCM(data_key).encrypt(nonce, value.encode("utf-8", "replace"), bound)
        version = self._key.version  # of this moment: the ring follows its file
        wrapped = _wrap(data_key, token, self._key.derive(_INFO, version), version, wrap_nonce)
        # All parts are base64 or our own words, so no JSON escaping is needed: a third of the cost of json.dumps.
        return (
            f'{{"token":"{token}","token_type":"{kind}","token_key_version":{self._key.token_version},'
            f'"wrapped_key":"{_text(wrapped)}","nonce":"{_text(nonce)}","ciphertext":"{_text(ciphertext)}"}}'
        )


def open_entry(entry: str | bytes | dict, key: MasterKey) -> str:
    """The personal value of an entry. Raises VaultError if it was erased, altered, or wrapped by an unknown key."""
    record = entry if isinstance(entry, dict) else json.loads(entry)
    token = record["token"]
    if not record.get("wrapped_key"):
        raise VaultError(f"The value of {token} was erased: its data key is destroyed.")
    try:
        data_key = _unwrap(base64.b64decode(record["wrapped_key"]), token, key)
        nonce, ciphertext = base64.b64decode(record["nonce"]), base64.b64decode(record["ciphertext"])
        return AESGCM(data_key).decrypt(nonce, ciphertext, token.encode()).decode()
    except InvalidTag as error:
        raise VaultError(f"The entry of {token} was altered, or belongs to another master key.") from error


def rewrap(entry: str | bytes, key: MasterKey) -> str:
    """The entry with its data key wrapped by the newest master-key version; ciphertext and token unchanged."""
    record = json.loads(entry)
    data_key = _unwrap(base64.b64decode(record["wrapped_key"]), record["token"], key)
    version = key.version
    wrapped = _wrap(data_key, record["token"], key.derive(_INFO, version), version, os.urandom(_NONCE_BYTES))
    return json.dumps({**record, "wrapped_key": _text(wrapped)}, separators=(",", ":"))


def wrapped_by(wrapped_key: str) -> int:
    """Version of the master key a wrapped data key needs (its first byte).

    >>> wrapped_by("Ag==")
    2
    """
    return base64.b64decode(wrapped_key[:4])[0]


def _wrap(data_key: bytes, token: str, root: bytes, version: int, nonce: bytes) -> bytes:
    # A wrapping key per token: however many billions are wrapped, no nonce can meet itself under one key.
    wrapping = hmac.digest(root, token.encode(), "sha256")
    return bytes([version]) + nonce + AESGCM(wrapping).encrypt(nonce, data_key, None)


def _unwrap(wrapped: bytes, token: str, key: MasterKey) -> bytes:
    version, nonce, sealed = wrapped[0], wrapped[1 : 1 + _NONCE_BYTES], wrapped[1 + _NONCE_BYTES :]
    wrapping = hmac.digest(key.derive(_INFO, version), token.encode(), "sha256")
    return AESGCM(wrapping).decrypt(nonce, sealed, None)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
