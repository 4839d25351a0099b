"""Is this request from whom it says, and which bytes did they mean? One answer a scheme, before anything is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.collectors import signatures, wecom_crypto
from pipelines.collectors.accounts import Account
from pipelines.collectors.refusals import Refusal


class Incoming(NamedTuple):
    """The parts of a request a signature speaks of; header names in lower case, ``target`` = path and query as sent."""

    method: str
    target: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Credentials:
    """What a request claims, checked as far as it can be without its body."""

    account: Account
    incoming: Incoming
    timestamp: str
    nonce: str
    expires_at_s: float

    @property
    def nonce_key(self) -> bytes:
        """What "the same nonce" means, 16 bytes.

        An HMAC sender chooses its nonces and may sign a retry afresh, so only the nonce counts. A platform draws
        nine or ten digits at random: within the ten minutes they are remembered, honest ones collide at a few
        hundred messages a second; so there the timestamp belongs to it.
        """
        parts = [self.account.channel, self.account.name, self.nonce]
        if self.account.scheme != "hmac":
            parts.append(self.timestamp)
        joined = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(joined, digest_size=16).digest()


def credentials(account: Account, incoming: Incoming, *, now_s: float, window_s: float) -> Credentials:
    """Read timestamp and nonce and refuse early what can be refused without the body.

    Raises:
        Refusal: ``signature.missing``, ``timestamp.outside``.
    """
    if account.scheme == "hmac":
        timestamp = incoming.headers.get(signatures.TIMESTAMP_HEADER)
        nonce = incoming.headers.get(signatures.NONCE_HEADER)
        given = incoming.headers.get(signatures.SIGNATURE_HEADER)
    else:
        timestamp, nonce = incoming.query.get("timestamp"), incoming.query.get("nonce")
        given = incoming.query.get("msg_signature") or incoming.query.get("signature")
    if not given:
        raise Refusal("signature.missing")
    at_s = signatures.require_timestamp(timestamp, now_s, window_s)
    nonce = signatures.require_nonce(nonce)
    # The request stays valid until its timestamp leaves the window; for that long the nonce must be remembered.
    return Credentials(account, incoming, str(timestamp), nonce, max(now_s, at_s) + window_s + 1)


def message(claimed: Credentials, body: bytes) -> bytes:
    """The bytes the sender meant: the body, or what its encrypted envelope holds.

    Raises:
        Refusal: ``signature.wrong``, ``envelope.missing``, ``envelope.broken``.
    """
    account, incoming = claimed.account, claimed.incoming
    if account.scheme == "hmac":
        expected = signatures.hmac_signature(
            account.secret, incoming.method, incoming.target, claimed.timestamp, claimed.nonce, body
        )
        signatures.require_equal(expected, incoming.headers.get(signatures.SIGNATURE_HEADER))
        return body
    if account.aes_key is None:
        expected = signatures.platform_signature(account.token, claimed.timestamp, claimed.nonce)
        signatures.require_equal(expected, incoming.query.get("signature"))
        return body
    encrypted = wecom_crypto.ciphertext_of(body)
    if encrypted is None:
        raise Refusal("envelope.missing")
    return _opened(claimed, encrypted)


def echo(claimed: Credentials) -> bytes:
    """What to answer when a platform verifies the callback address with a GET: its ``echostr``, decrypted for WeCom.

    An official account signs that GET without the ciphertext even in safe mode, WeCom always with it.

    Raises:
        Refusal: ``signature.*``, ``envelope.broken``; ``channel.unknown`` for a scheme that has no echo.
    """
    account, query = claimed.account, claimed.incoming.query
    echostr = query.get("echostr")
    if account.scheme == "hmac" or not echostr:
        raise Refusal("channel.unknown", "only WeChat and WeCom verify an address by GET with echostr")
    if account.scheme == "wecom":
        return _opened(claimed, echostr)
    expected = signatures.platform_signature(account.token, claimed.timestamp, claimed.nonce)
    signatures.require_equal(expected, query.get("signature"))
    return echostr.encode("utf-8", "surrogateescape")


def _opened(claimed: Credentials, encrypted: str) -> bytes:
    account = claimed.account
    expected = signatures.platform_signature(account.token, claimed.timestamp, claimed.nonce, encrypted)
    signatures.require_equal(expected, claimed.incoming.query.get("msg_signature"))
    if account.aes_key is None:
        raise Refusal("envelope.broken")
    return wecom_crypto.decrypt(account.aes_key, encrypted, account.receiver_id)
