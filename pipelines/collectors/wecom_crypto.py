"""The encrypted envelope of WeChat and WeCom callbacks: AES-256-CBC around random bytes, length, message, receiver ID.

Rule: WeCom "加解密方案说明" (document 90968) and WeChat "消息加解密说明":
``AESKey = Base64(EncodingAESKey + "=")``, IV = first 16 bytes of the key, PKCS#7 padding to blocks of 32 bytes,
plaintext = 16 random bytes + message length (4 bytes, network order) + message + receiver ID
(official account: AppID, WeCom: CorpID, third-party application: SuiteID).
"""

from __future__ import annotations

import base64
import binascii
import os
import re

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pipelines.collectors.refusals import Refusal

RANDOM_BYTES = 16
LENGTH_BYTES = 4
PADDED_TO_BYTES = 32
# Linear on any input, and no XML parser sees a byte before its signature is verified: what is found must be signed.
_ENCRYPT = re.compile(rb"<Encrypt>\s*(?:<!\[CDATA\[)?([A-Za-z0-9+/=]+)(?:\]\]>)?\s*</Encrypt>")


def aes_key(encoding_aes_key: str) -> bytes:
    """The 32-byte AES key behind the platform's 43 characters.

    Raises:
        ValueError: it is not what the platform's console shows.
    """
    if len(encoding_aes_key) != 43:
        raise ValueError("EncodingAESKey must have 43 characters")
    try:
        return base64.b64decode(encoding_aes_key + "=", validate=True)
    except binascii.Error as error:
        raise ValueError("EncodingAESKey is not base64") from error


def ciphertext_of(body: bytes) -> str | None:
    """The ``Encrypt`` element of an XML envelope, or its JSON twin (mini programs may choose JSON); None without one.

    >>> ciphertext_of(b"<xml><ToUserName>w</ToUserName><Encrypt><![CDATA[YWJj]]></Encrypt></xml>")
    'YWJj'
    >>> ciphertext_of(b'{"ToUserName": "w", "Encrypt": "YWJj"}')
    'YWJj'
    """
    if body[:1] == b"{":
        try:
            encrypted = orjson.loads(body).get("Encrypt")
        except orjson.JSONDecodeError:
            return None
        return encrypted if isinstance(encrypted, str) else None
    found = _ENCRYPT.search(body)
    return found.group(1).decode("ascii") if found else None


def decrypt(key: bytes, encrypted: str, receiver_id: str) -> bytes:
    """The message inside the envelope, byte for byte.

    Call it after the signature over ``encrypted`` was verified: then a wrong padding tells a stranger nothing.

    Raises:
        Refusal: ``envelope.broken`` for any defect; which one stays out of the answer.
    """
    try:
        sealed = base64.b64decode(encrypted, validate=True)
        decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
        padded = decryptor.update(sealed) + decryptor.finalize()
    except ValueError as error:  # binascii.Error is one; so is a length that is no multiple of the block
        raise Refusal("envelope.broken") from error
    head = RANDOM_BYTES + LENGTH_BYTES
    padding = padded[-1] if padded else 0
    if not 1 <= padding <= PADDED_TO_BYTES or padded[-padding:] != bytes([padding]) * padding:
        raise Refusal("envelope.broken")
    plain = padded[:-padding]
    length = int.from_bytes(plain[RANDOM_BYTES:head], "big")
    if len(plain) < head + length or plain[head + length :] != receiver_id.encode():
        raise Refusal("envelope.broken")
    return plain[head : head + length]


def encrypt(key: bytes, message: bytes, receiver_id: str) -> str:
    """The envelope's ciphertext of ``message``: what a platform would send; `decrypt` is its inverse.

    >>> k = aes_key("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C")
    >>> decrypt(k, encrypt(k, "退款".encode(), "wx1"), "wx1").decode()
    '退款'
    """
    plain = os.urandom(RANDOM_BYTES) + len(message).to_bytes(LENGTH_BYTES, "big") + message + receiver_id.encode()
    padding = PADDED_TO_BYTES - len(plain) % PADDED_TO_BYTES
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()).decode()
