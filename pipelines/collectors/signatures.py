"""Signatures of incoming requests: SHA-1 as WeChat and WeCom define it, HMAC-SHA-256 for everybody else.

Every comparison takes constant time; the clock is an argument.
"""

from __future__ import annotations

import hashlib
import hmac

from pipelines.collectors.refusals import Refusal

TIMESTAMP_HEADER = "x-kefulake-timestamp"
NONCE_HEADER = "x-kefulake-nonce"
SIGNATURE_HEADER = "x-kefulake-signature"
MAX_NONCE_CHARS = 128


def platform_signature(token: str, timestamp: str, nonce: str, *encrypted: str) -> str:
    """SHA-1 over token, timestamp, nonce and, for an encrypted message, its ciphertext, sorted and joined.

    Rule: WeChat "接入指南" (signature) and WeCom "加解密方案说明" (msg_signature). SHA-1 is their choice.

    >>> platform_signature("b", "2", "a") == hashlib.sha1(b"2ab").hexdigest()
    True
    """
    joined = "".join(sorted((token, timestamp, nonce, *encrypted)))
    return hashlib.sha1(joined.encode("utf-8", "surrogateescape")).hexdigest()  # noqa: S324


def string_to_sign(method: str, target: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    r"""What an HMAC signature covers: method, path with query as sent, timestamp, nonce and SHA-256 of the body.

    >>> string_to_sign("POST", "/collect/app?account=ios", "1767000000", "n1", b"{}").split(b"\n")[:2]
    [b'POST', b'/collect/app?account=ios']
    """
    digest = hashlib.sha256(body).hexdigest()
    return "\n".join((method.upper(), target, timestamp, nonce, digest)).encode("utf-8", "surrogateescape")


def hmac_signature(secret: str, method: str, target: str, timestamp: str, nonce: str, body: bytes) -> str:
    """Hex HMAC-SHA-256 of `string_to_sign` under the account's secret."""
    message = string_to_sign(method, target, timestamp, nonce, body)
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def signed_headers(secret: str, method: str, target: str, timestamp: int, nonce: str, body: bytes) -> dict[str, str]:
    """The three headers a sender adds; for our own clients, and the reference for writing one in another language."""
    signature = hmac_signature(secret, method, target, str(timestamp), nonce, body)
    return {TIMESTAMP_HEADER: str(timestamp), NONCE_HEADER: nonce, SIGNATURE_HEADER: signature}


def require_equal(expected: str, given: str | None) -> None:
    """Compare in constant time.

    Raises:
        Refusal: ``signature.missing`` or ``signature.wrong``.
    """
    if not given:
        raise Refusal("signature.missing")
    if not hmac.compare_digest(expected.encode(), given.lower().encode("utf-8", "surrogateescape")):
        raise Refusal("signature.wrong")


def require_timestamp(timestamp: str | None, now_s: float, window_s: float) -> int:
    """The signed timestamp in whole seconds, if it lies within ``window_s`` of ``now_s``.

    Raises:
        Refusal: ``signature.missing`` when there is none or it is no number, ``timestamp.outside`` else.

    >>> require_timestamp("1000", now_s=1300.0, window_s=300)
    1000
    >>> require_timestamp("1000", now_s=1300.1, window_s=300)
    Traceback (most recent call last):
    ...
    pipelines.collectors.refusals.Refusal: timestamp.outside
    """
    if not timestamp or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 12:
        raise Refusal("signature.missing", "the timestamp must be whole seconds since 1970")
    if abs(int(timestamp) - now_s) > window_s:
        raise Refusal("timestamp.outside", f"at most {window_s:g} s apart")
    return int(timestamp)


def require_nonce(nonce: str | None) -> str:
    """The nonce, if it has 1 to 128 characters; Refusal ``signature.missing`` else."""
    if not nonce or len(nonce) > MAX_NONCE_CHARS:
        raise Refusal("signature.missing", f"the nonce must have 1 to {MAX_NONCE_CHARS} characters")
    return nonce
