"""Bronze at rest: the raw bytes of each message, AES-256-GCM under a key of its topic.

The nonce is the message's partition and offset. A topic ID is unique for all time and an offset is given out once per
partition, so no nonce repeats under one key and none has to be stored; a batch that is written a second time after a
crash is encrypted to the same bytes (under another key after a rotation in between). The ciphertext starts with the
key version and the topic ID, so a row can be read without knowing which life of a topic it came from (a topic deleted
and made again has another ID).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.privacy.keys import MasterKey

_NONCE = struct.Struct(">iq")
_HEAD_BYTES = 1 + 16


class BronzeCipherError(Exception):
    """The bytes of a bronze row cannot be opened; the message says which row and why."""


def _info(topic_id: bytes) -> str:
    return f"bronze/{topic_id.hex()}"


class BronzeCipher:
    """Encrypts the messages of one life of a topic.

    >>> key, topic_id = MasterKey({1: bytes(32)}), bytes(16)
    >>> (sealed,) = BronzeCipher(key, topic_id).encrypt([3], [41], [b"bytes"])
    >>> open_bronze(sealed, key, 3, 41)
    b'bytes'
    >>> open_bronze(sealed, key, 3, 42)
    Traceback (most recent call last):
    ...
    pipelines.privacy.bronze_cipher.BronzeCipherError: bronze bytes of partition 3, offset 42 were altered or moved
    """

    def __init__(self, key: MasterKey, topic_id: bytes):
        if len(topic_id) != 16:
            raise ValueError(f"a topic ID has 16 bytes, not {len(topic_id)}")
        self._key, self._topic_id = key, topic_id
        self._by(key.version)

    def _by(self, version: int) -> None:
        self._version, self._head = version, bytes([version]) + self._topic_id
        self._seal = AESGCM(self._key.derive(_info(self._topic_id), version)).encrypt

    def encrypt(
        self, partitions: Sequence[int], offsets: Sequence[int], payloads: Sequence[bytes | None]
    ) -> list[bytes | None]:
        """One ciphertext a payload: key version, topic ID, AES-GCM bytes and tag; None (a tombstone) stays None."""
        if (version := self._key.version) != self._version:  # the ring follows its file
            self._by(version)
        head, seal, nonce_of = self._head, self._seal, _NONCE.pack
        return [
            None if payload is None else head + seal(nonce := nonce_of(partition, offset), payload, nonce)
            for partition, offset, payload in zip(partitions, offsets, payloads, strict=True)
        ]


def open_bronze(sealed: bytes, key: MasterKey, partition: int, offset: int) -> bytes:
    """The raw bytes of a bronze row. Raises BronzeCipherError when they were altered, moved or cut off."""
    if len(sealed) < _HEAD_BYTES + 16:
        raise BronzeCipherError(f"bronze bytes of partition {partition}, offset {offset} are cut off")
    topic_id, nonce = sealed[1:_HEAD_BYTES], _NONCE.pack(partition, offset)
    try:
        return AESGCM(key.derive(_info(topic_id), sealed[0])).decrypt(nonce, sealed[_HEAD_BYTES:], nonce)
    except InvalidTag as error:
        raise BronzeCipherError(
            f"bronze bytes of partition {partition}, offset {offset} were altered or moved"
        ) from error


def topic_id_bytes(kafka_id: str) -> bytes:
    """The 16 bytes of a topic ID as Kafka prints it (URL-safe base64 without padding).

    >>> topic_id_bytes("AAAAAAAAAAAAAAAAAAAABw")[-2:]
    b'\\x00\\x07'
    """
    return base64.urlsafe_b64decode(kafka_id + "==")
