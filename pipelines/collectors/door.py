"""The door of the gateway: who sends, which bytes they mean, were they here before; then Kafka, then the answer.

Bytes are passed on as they came. The one exception is WeChat's and WeCom's encrypted envelope: it is transport, its key
is the gateway's, so the message inside goes on, byte for byte, with the header ``enveloped: aes``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import orjson
from confluent_kafka import KafkaError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pipelines.collectors import ndjson, request_body, senders
from pipelines.collectors.accounts import Account
from pipelines.collectors.acknowledged_producer import TOO_LARGE
from pipelines.collectors.counters import Counters
from pipelines.collectors.nonces import Claim, Nonces
from pipelines.collectors.refusals import Refusal
from pipelines.collectors.region_producers import RegionProducers
from pipelines.collectors.room import Room

NDJSON = "application/x-ndjson"
KEY_HEADER = "x-kefulake-key"
# (topic, values) -> an error or None for each
Send = Callable[[str, list[bytes]], Awaitable[list[KafkaError | None]]]


class Door:
    """Takes requests in, or turns them away with a reason that is counted."""

    def __init__(
        self,
        policy: Mapping[str, Any],
        known: Mapping[tuple[str, str], Account],
        channels: frozenset[str],
        producers: RegionProducers,
        nonces: Nonces,
        clock_s: Callable[[], float],
    ) -> None:
        self.policy, self.accounts, self.channels = policy, known, channels
        self.producers, self.nonces, self.clock_s = producers, nonces, clock_s
        self.counters = Counters()
        self.room = Room(policy["max_in_flight_bytes"])

    async def answer(self, request: Request, *, batch: bool = False) -> Response:
        """The response to one request of /collect; every refusal is counted by channel and reason."""
        began_s = time.perf_counter()
        channel = request.path_params["channel"]
        try:
            if channel not in self.channels:
                channel = "unknown"
                raise Refusal("channel.unknown")
            return await (
                self._take(channel, request, batch) if request.method == "POST" else self._echo(channel, request)
            )
        except ClientDisconnect:
            return self._refuse(channel, Refusal("body.cut_off"))
        except Refusal as refusal:
            return self._refuse(channel, refusal)
        finally:
            self.counters.seconds.observe(time.perf_counter() - began_s)

    def _refuse(self, channel: str, refusal: Refusal) -> Response:
        self.counters.refused(channel, refusal.error)
        return json_response(refusal.body(), refusal.status, self._retry_after(refusal.status))

    def _retry_after(self, status: int) -> dict[str, str]:
        return {"retry-after": str(self.policy["retry_after_s"])} if status in (429, 503) else {}

    def _claimed(self, channel: str, request: Request) -> senders.Credentials:
        name = request.query_params.get("account", "default")
        account = self.accounts.get((channel, name))
        if account is None:
            raise Refusal("account.unknown")
        query = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        incoming = senders.Incoming(request.method, target.decode("latin-1"), request.query_params, request.headers)
        return senders.credentials(account, incoming, now_s=self.clock_s(), window_s=self.policy["timestamp_window_s"])

    async def _echo(self, channel: str, request: Request) -> Response:
        answer = senders.echo(self._claimed(channel, request))
        return Response(answer, media_type="text/plain", headers={"x-content-type-options": "nosniff"})

    async def _take(self, channel: str, request: Request, batch: bool) -> Response:
        policy = self.policy
        claimed = self._claimed(channel, request)
        media_type, charset = request_body.content_type_of(request.headers, policy["content_types"])
        batch = batch or media_type == NDJSON
        if batch and (channel in policy["no_batches"] or claimed.account.scheme != "hmac"):
            raise Refusal("batch.not_here")
        limit = policy["max_batch_bytes"] if batch else policy["max_message_bytes"]
        with self.room.hold() as held:
            held.require(request_body.announced_bytes(request.headers, max_bytes=limit))
            body = await request_body.read(request.stream(), held, max_bytes=limit, timeout_s=policy["body_timeout_s"])
            received_at_ms = int(self.clock_s() * 1000)
            payload = senders.message(claimed, body)
            headers = [("account", claimed.account.name.encode())]
            headers += [("content_type", media_type.encode())] if media_type else []
            headers += [("charset", charset.encode())] if charset else []
            headers += [("enveloped", b"aes")] if payload is not body else []
            producer = await self.producers.of(channel, claimed.account.name)
            send = partial(producer.send, timestamp_ms=received_at_ms, headers=headers, key=_key(claimed))
            async with self.nonces.claim(claimed.nonce_key, payload, claimed.expires_at_s) as claim:
                if batch:
                    return await self._take_batch(channel, payload, claim, send)
                return await self._take_one(channel, payload, claim, send, claimed.account.scheme)

    async def _take_one(self, channel: str, payload: bytes, claim: Claim, send: Send, scheme: str) -> Response:
        if not claim.everything:
            (error,) = await send(f"raw.{channel}", [payload])
            if error is not None:
                raise Refusal("body.too_large" if error.code() in TOO_LARGE else "kafka.unavailable", error.name())
            await self.nonces.used(claim)
        self.counters.took(channel, accepted=int(not claim.everything), duplicate=int(claim.everything))
        if scheme != "hmac":
            return Response(b"success", media_type="text/plain")  # what WeChat and WeCom want to read
        return json_response({"accepted": int(not claim.everything), "duplicate": int(claim.everything)})

    async def _take_batch(self, channel: str, payload: bytes, claim: Claim, send: Send) -> Response:
        lines = ndjson.split(
            payload, max_line_bytes=self.policy["max_message_bytes"], max_lines=self.policy["max_batch_lines"]
        )
        refused = dict.fromkeys(lines.too_large, "body.too_large")
        known = {line.number for line in lines.records if claim.everything or line.number in claim.lines}
        new = [line for line in lines.records if line.number not in known]
        errors = await send(f"raw.{channel}", [line.value for line in new]) if new else []
        failed = {line.number for line, error in zip(new, errors, strict=True) if error is not None}
        accepted = [line.number for line in new if line.number not in failed]
        refused |= dict.fromkeys(failed, "kafka.unavailable")
        if accepted:
            await self.nonces.used(claim, frozenset(known.union(accepted)) if failed else None)
        self.counters.took(channel, accepted=len(accepted), duplicate=len(known))
        for error in set(refused.values()):
            self.counters.refused(channel, error, sum(1 for e in refused.values() if e == error))
        report = ndjson.report(
            accepted=accepted, duplicate=sorted(known), refused=dict(sorted(refused.items())), empty=lines.empty
        )
        if failed:
            cause = Refusal("kafka.unavailable", f"{len(failed)} of {len(lines.records)} lines")
            return json_response(cause.body() | report, 503, self._retry_after(503))
        if not lines.records:
            return json_response(Refusal("body.too_large", "every line").body() | report, 413)
        return json_response(report)


def _key(claimed: senders.Credentials) -> bytes | None:
    """Kafka key from what names the conversation outside the body, hashed because it may be a person's ID; or none."""
    named = claimed.incoming.headers.get(KEY_HEADER) or claimed.incoming.query.get("openid")
    if not named:
        return None
    return hashlib.blake2b(named.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def json_response(content: dict, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
