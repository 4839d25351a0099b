"""The gateway and hostile senders: each gets a reason, nothing reaches Kafka, the next honest message goes through."""

from __future__ import annotations

import http.client
import os
import socket
import time

import httpx
import pytest

from pipelines.collectors import signatures


def unsigned(gateway, body=b"{}", target="/collect/app", **headers):
    return httpx.post(gateway.url + target, content=body, headers=headers)


def signed_by(secret: str, *, age_s: int = 0) -> dict[str, str]:
    return signatures.signed_headers(secret, "POST", "/collect/app", int(time.time()) - age_s, "n", b"{}")


def forged(channel: str, name: str) -> str:
    """A callback address with a signature under `name` that nobody made."""
    return f"/collect/{channel}?timestamp={int(time.time())}&nonce=1&{name}=x"


BOMB = b"<!DOCTYPE x [<!ENTITY a 'aa'>]><xml>&a;</xml>"
BATCH = "/collect/app/batch"
REFUSED = {
    "unsigned": (lambda g: unsigned(g), 401, "signature.missing"),
    "wrong secret": (lambda g: unsigned(g, **signed_by("guess")), 401, "signature.wrong"),
    "yesterday's": (
        lambda g: unsigned(g, **signed_by(g.accounts["app"]["default"]["secret"], age_s=86_400)),
        401, "timestamp.outside",
    ),
    "signed for another channel": (
        lambda g: unsigned(g, target="/collect/web_chat", **g.signed("/collect/app", b"{}")), 401, "signature.wrong"
    ),
    "unknown channel": (lambda g: g.post(b"{}", "/collect/pigeon"), 404, "channel.unknown"),
    "unknown account": (lambda g: g.post(b"{}", "/collect/app?account=nobody"), 401, "account.unknown"),
    "no body": (lambda g: g.post(b""), 400, "body.empty"),
    "5 MB": (lambda g: g.post(b"x" * 5_000_000), 413, "body.too_large"),
    "one byte over": (lambda g: g.post(b"x" * 2_097_153), 413, "body.too_large"),
    "gzip": (lambda g: g.post(b"\x1f\x8b", content_encoding="gzip"), 415, "body.encoded"),
    "form": (lambda g: g.post(b"--x", content_type="multipart/form-data; boundary=x"), 415, "content_type.unknown"),
    "empty batch": (lambda g: g.post(b"\n\n \n", BATCH), 400, "batch.empty"),
    "20,001 lines": (lambda g: g.post(b"{}\n" * 20_001, BATCH), 413, "batch.too_many_lines"),
    "mails in a batch": (lambda g: g.post(b"a\nb", "/collect/email/batch", channel="email"), 415, "batch.not_here"),
    "plain XML, safe mode": (lambda g: unsigned(g, b"<xml/>", forged("wechat", "signature")), 400, "envelope.missing"),
    "an XML bomb": (lambda g: unsigned(g, BOMB, forged("wecom", "msg_signature")), 400, "envelope.missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason_counted_and_nothing_in_kafka(gateway, raw, case):
    send, status, error = REFUSED[case]
    count_before = refusals(gateway, error)
    answer = send(gateway)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == error
    assert answer.json()["reason"]
    assert answer.json()["what_to_do"]
    assert refusals(gateway, error) == count_before + 1
    assert raw.values() == raw.values("web_chat") == raw.values("wechat") == raw.values("wecom") == []


def refusals(gateway, error) -> int:
    told = httpx.get(gateway.url + "/refusals").json()
    return sum(counts.get(error, 0) for counts in told.values())


def test_5_mb_in_chunks_without_a_length_are_cut_off(gateway, raw):
    def chunks():
        for _ in range(50):
            yield b"x" * 100_000

    headers = gateway.signed("/collect/app", b"whatever")
    answer = httpx.post(gateway.url + "/collect/app", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "body.too_large")
    assert raw.values() == []


def half_request(gateway, *parts: bytes) -> bytes:
    """Send the parts a second apart and read what comes back until the gateway closes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.3)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_a_body_that_crawls_times_out(gateway):
    head = "".join(f"{k}: {v}\r\n" for k, v in gateway.signed("/collect/app", b"x" * 100).items())
    started = time.monotonic()
    answer = half_request(
        gateway, f"POST /collect/app HTTP/1.1\r\nhost: x\r\n{head}content-length: 100\r\n\r\nxx".encode()
    )
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body.too_slow" in answer
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),  # connects and says nothing
        (b"POST /collect/app HTTP/1.1\r\n", b"x-a: 1\r\n", b"x-b: 2\r\n"),  # headers drop by drop
    ],
)
def test_headers_that_never_end_lose_their_connection(gateway, parts):
    started = time.monotonic()
    assert half_request(gateway, *parts) == b""
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01 TLS here?\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        os.urandom(2000) + b"\r\n\r\n",
        b"POST /collect/app HTTP/1.1\r\n" + b"x-a: " + b"y" * 100_000,
    ],
)
def test_garbage_instead_of_http_is_turned_away(gateway, garbage):
    answer = half_request(gateway, garbage)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert gateway.post(b"{}").status_code == 200


def test_a_sender_that_hangs_up_leaves_nothing_behind(gateway, raw):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    connection.putrequest("POST", "/collect/app")
    for name, value in gateway.signed("/collect/app", b"x" * 1000).items():
        connection.putheader(name, value)
    connection.putheader("content-length", "1000")
    connection.endheaders(b"x" * 500)
    connection.close()
    assert gateway.post(b"after").status_code == 200
    assert raw.values() == [b"after"]
