"""Why a request is turned away at the door: one table of codes, each with its HTTP status and what the sender can do.

A refused request leaves nothing but a count, so the answer must say enough for the sender to mend it.
"""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    """What a refusal says to the sender."""

    status: int
    reason: str
    what_to_do: str


REFUSALS: dict[str, Answer] = {
    "channel.unknown": Answer(404, "no such channel", "use one of the channels listed at /healthz"),
    "account.unknown": Answer(401, "no secret is set for this account", "add the account to keys/gateway.yaml"),
    "signature.missing": Answer(401, "the request is not signed", "send timestamp, nonce and signature"),
    "signature.wrong": Answer(401, "the signature does not fit the request", "check secret, and what is signed"),
    "timestamp.outside": Answer(401, "the timestamp is too far from our clock", "set the clock and sign again"),
    "envelope.broken": Answer(400, "the encrypted envelope cannot be opened", "check EncodingAESKey and receiver ID"),
    "envelope.missing": Answer(400, "this account accepts encrypted messages only", "switch the platform to safe mode"),
    "nonce.reused": Answer(403, "this nonce was used for another message", "use a new nonce for each message"),
    "body.empty": Answer(400, "the request has no body", "send the message as the body"),
    "body.too_large": Answer(413, "the message is too large", "send media by URI, split batches"),
    "body.too_slow": Answer(408, "the body did not arrive in time", "send it again in one go"),
    "body.cut_off": Answer(400, "the connection closed before the body was complete", "send it again"),
    "body.encoded": Answer(415, "compressed bodies are not accepted", "send the bytes without Content-Encoding"),
    "content_type.unknown": Answer(415, "this content type is not accepted", "see content_types in the gateway policy"),
    "batch.not_here": Answer(415, "this channel takes one message a request", "send the messages one by one"),
    "batch.too_many_lines": Answer(413, "the batch has too many lines", "split the batch"),
    "batch.empty": Answer(400, "the batch holds no record", "send one record a line"),
    "pressure.in_flight": Answer(
        429, "more is coming in than Kafka takes right now", "send it again after Retry-After"
    ),
    "kafka.unavailable": Answer(
        503, "Kafka did not acknowledge the message in time", "send it again with the same nonce after Retry-After"
    ),
}


class Refusal(Exception):
    """A request is turned away; ``error`` is a key of `REFUSALS`, ``detail`` adds what is special to this request.

    >>> refusal = Refusal("body.too_large", "3000000 bytes, at most 2097152")
    >>> refusal.status, refusal.body()["reason"]
    (413, 'the message is too large: 3000000 bytes, at most 2097152')
    """

    def __init__(self, error: str, detail: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.detail = detail

    @property
    def status(self) -> int:
        """HTTP status."""
        return REFUSALS[self.error].status

    def body(self) -> dict[str, str]:
        """The JSON answer: error code, reason and what to do, in plain words and without personal data."""
        answer = REFUSALS[self.error]
        reason = f"{answer.reason}: {self.detail}" if self.detail else answer.reason
        return {"error": self.error, "reason": reason, "what_to_do": answer.what_to_do}
