"""Requests of honest and hostile senders at the gateway, and what each must be told."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx

from pipelines.collectors import signatures, wecom_crypto

PLATFORMS = ("wechat", "wecom")
DAY_S = 86_400


class Request(NamedTuple):
    """A signed request, still to be sent or first to be broken. body: as it goes over the wire."""

    target: str
    body: bytes
    headers: dict[str, str]


class Refused(NamedTuple):
    """A request that must be turned away. counted: the channel the refusal is counted under."""

    kind: str
    request: Request
    status: int
    error: str
    counted: str


class Answer(NamedTuple):
    """What came back for a `Refused`."""

    wanted: Refused
    status: int
    error: str | None

    @property
    def right(self) -> bool:
        """True when status and error are those it must be told."""
        return (self.status, self.error) == (self.wanted.status, self.wanted.error)


class Door:
    """A client of the gateway with the secrets of all its accounts."""

    def __init__(self, url: str, accounts: Mapping[str, Any]):
        self._accounts = accounts
        self._client = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        """Lets go of the connection."""
        self._client.close()

    def signed(
        self, channel: str, payload: bytes, *, nonce: str | None = None, secret: str | None = None, age_s: int = 0
    ) -> Request:
        """As the channel's platform would send it: HMAC, or for WeChat and WeCom sealed and signed by their rules."""
        account, target = self._accounts[channel]["default"], f"/collect/{channel}"
        timestamp = int(time.time()) - age_s
        if channel not in PLATFORMS:
            name = nonce or uuid.uuid4().hex
            headers = signatures.signed_headers(secret or account["secret"], "POST", target, timestamp, name, payload)
            return Request(target, payload, headers)
        key = wecom_crypto.aes_key(account["encoding_aes_key"])
        sealed = wecom_crypto.encrypt(key, payload, account["receiver_id"])
        name = nonce or str(uuid.uuid4().int % 10**10)
        signature = signatures.platform_signature(secret or account["token"], str(timestamp), name, sealed)
        query = f"timestamp={timestamp}&nonce={name}&msg_signature={signature}&encrypt_type=aes"
        envelope = f"<xml><ToUserName>x</ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
        return Request(f"{target}?{query}", envelope.encode(), {"content-type": "text/xml"})

    def send(self, request: Request) -> httpx.Response:
        """The answer to a request."""
        return self._client.post(request.target, content=request.body, headers=request.headers)

    def try_refused(self, wanted: Refused) -> Answer:
        """Send what must be turned away."""
        answer = self.send(wanted.request)
        error = answer.json().get("error") if answer.status_code != 200 else None
        return Answer(wanted, answer.status_code, error)

    def refusals(self) -> Counter[tuple[str, str]]:
        """What the gateway has counted since it started, by channel and error."""
        told = self._client.get("/refusals").json()
        return Counter({(channel, error): n for channel, by_error in told.items() for error, n in by_error.items()})

    def cases(self, channel: str, too_large: bytes) -> Iterator[Refused]:
        """What one channel must turn away. `too_large`: a body over the policy's limit."""
        payload = b'{"hostile": true}'
        good = self.signed(channel, payload)

        def refused(kind: str, request: Request, status: int, error: str) -> Refused:
            return Refused(kind, request, status, error, channel)

        forged = self.signed(channel, payload, secret="a guess")
        yield refused("signature wrong", forged, 401, "signature.wrong")
        yield refused("signature missing", Request(f"/collect/{channel}", payload, {}), 401, "signature.missing")
        for age_s in (DAY_S, -DAY_S):
            old = self.signed(channel, payload, age_s=age_s)
            yield refused("timestamp of another day", old, 401, "timestamp.outside")
        yield refused("account unknown", good._replace(target=f"/collect/{channel}?account=nobody"), 401,
                      "account.unknown")  # fmt: skip
        packed = good._replace(headers=good.headers | {"content-encoding": "gzip"})
        yield refused("compressed", packed, 415, "body.encoded")
        form = good._replace(headers=good.headers | {"content-type": "multipart/form-data; boundary=x"})
        yield refused("content type", form, 415, "content_type.unknown")
        yield refused("too large", self.signed(channel, too_large), 413, "body.too_large")
        yield refused("no body", good._replace(body=b""), 400, "body.empty")
        if channel in PLATFORMS:
            bomb = b"<!DOCTYPE x [<!ENTITY a 'aa'>]><xml>&a;</xml>"
            yield refused("XML bomb for an envelope", good._replace(body=bomb), 400, "envelope.missing")
        else:
            altered = good._replace(body=payload.replace(b"true", b"1234"))
            yield refused("body altered after signing", altered, 401, "signature.wrong")
            other = "sms" if channel != "sms" else "app"
            request = good._replace(target=f"/collect/{other}")
            yield Refused("signed for another channel", request, 401, "signature.wrong", other)
        elsewhere = good._replace(target=good.target.replace(channel, "pigeon", 1))
        yield Refused("channel unknown", elsewhere, 404, "channel.unknown", "unknown")

    def nonces(self, channel: str, payload: bytes, other: bytes) -> tuple[list[str], Refused]:
        """Use a nonce with `payload`, then again; what was wrong about that, and the third try with other bytes."""
        # Nine digits, as the platforms draw theirs; a platform's retry carries its first timestamp.
        nonce, wrong = str(uuid.uuid4().int % 10**9), []
        first = self.signed(channel, payload, nonce=nonce)
        for wanted in ({"accepted": 1, "duplicate": 0}, {"accepted": 0, "duplicate": 1}):
            answer = self.send(first)
            told = answer.text if channel in PLATFORMS else answer.json()
            if answer.status_code != 200 or told != ("success" if channel in PLATFORMS else wanted):
                wrong.append(f"{channel}, nonce used before, same bytes: {answer.status_code} {told}, not {wanted}")
        at_s = int(first.headers.get(signatures.TIMESTAMP_HEADER) or first.target.split("timestamp=")[1].split("&")[0])
        again = self.signed(channel, other, nonce=nonce, age_s=int(time.time()) - at_s)
        return wrong, Refused("nonce of other bytes", again, 403, "nonce.reused", channel)
