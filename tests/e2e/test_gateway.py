"""The gateway against a real broker: what it takes in, what then stands in Kafka, and what it tells about itself."""

from __future__ import annotations

import re
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.collectors import signatures, wecom_crypto
from tests.e2e.gateway_process import Arrivals

# ---- what is taken in


def test_a_message_goes_on_byte_for_byte_with_its_time_and_origin(gateway, raw):
    body = b"\xff\xfe\x00 \r\n {broken \xe9\x97"
    before_ms = int(time.time() * 1000)
    answer = gateway.post(body, content_type="text/xml; charset=GBK")
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "duplicate": 0})
    (message,) = raw.messages()
    assert message.value() == body
    assert message.key() is None
    assert before_ms <= message.timestamp()[1] <= int(time.time() * 1000)
    assert dict(message.headers()) == {"account": b"default", "content_type": b"text/xml", "charset": b"gbk"}


def test_a_conversation_key_keeps_its_order_without_showing_who_it_is(gateway, raw):
    for _ in range(3):
        assert gateway.post(b"{}", x_kefulake_key="13812345678").status_code == 200
    messages = raw.messages()
    assert len({message.partition() for message in messages}) == 1
    assert all(len(message.key()) == 8 and b"138" not in message.key() for message in messages)


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(min_size=1, max_size=2000))
def test_any_bytes_arrive_as_they_are(gateway, stack, body):
    arrivals = Arrivals(stack)
    assert gateway.post(body).status_code == 200
    assert arrivals.values() == [body]


def test_a_retry_makes_no_second_record_and_other_bytes_are_refused_even_after_a_kill(gateway, raw):
    nonce = uuid.uuid4().hex
    assert gateway.post(b"first", nonce=nonce).json() == {"accepted": 1, "duplicate": 0}
    assert gateway.post(b"first", nonce=nonce).json() == {"accepted": 0, "duplicate": 1}
    assert gateway.post(b"other", nonce=nonce).status_code == 403
    gateway.stop(signal.SIGKILL)
    gateway.start()
    assert gateway.post(b"first", nonce=nonce).json() == {"accepted": 0, "duplicate": 1}
    refused = gateway.post(b"other", nonce=nonce)
    assert (refused.status_code, refused.json()["error"]) == (403, "nonce.reused")
    assert raw.values() == [b"first"]


def test_twenty_at_once_with_one_nonce_make_one_record(gateway, raw):
    nonce = uuid.uuid4().hex
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: gateway.post(b"race", nonce=nonce), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["accepted"] for answer in answers) == 1
    assert raw.values() == [b"race"]


def test_a_batch_is_one_record_a_line(gateway, raw):
    large = b"x" * 2_097_153
    body = b'{"n":1}\r\n\n' + large + b'\n{broken\n{"n":5}'
    nonce = uuid.uuid4().hex
    answer = gateway.post(body, "/collect/app/batch", nonce=nonce)
    told = answer.json()
    assert answer.status_code == 200
    assert (told["accepted"], told["duplicate"], told["refused"], told["empty"]) == (3, 0, 1, 1)
    assert told["accepted_lines"] == [[1, 1], [4, 5]]
    assert told["refused_lines"] == [{"line": 3, "error": "body.too_large"}]
    assert raw.values() == sorted([b'{"n":1}', b"{broken", b'{"n":5}'])
    again = gateway.post(body, "/collect/app/batch", nonce=nonce).json()
    assert (again["accepted"], again["duplicate_lines"]) == (0, [[1, 1], [4, 5]])
    assert len(raw.values()) == 3


def test_ndjson_is_known_by_its_content_type_too(gateway, raw):
    assert gateway.post(b"1\n2\n3", content_type="application/x-ndjson").json()["accepted"] == 3
    assert raw.values() == [b"1", b"2", b"3"]


# ---- WeChat and WeCom


def platform_query(account, encrypted, *, nonce="1372623149"):
    timestamp = str(int(time.time()))
    signature = signatures.platform_signature(account["token"], timestamp, nonce, encrypted)
    return {"timestamp": timestamp, "nonce": nonce, "msg_signature": signature, "encrypt_type": "aes"}


@pytest.mark.parametrize("channel", ["wechat", "wecom"])
def test_an_encrypted_callback_arrives_as_the_message_inside(gateway, raw, channel):
    account = gateway.accounts[channel]["default"]
    inner = "<xml><FromUserName><![CDATA[o1]]></FromUserName><Content><![CDATA[什么时候发货]]></Content></xml>".encode()
    key = wecom_crypto.aes_key(account["encoding_aes_key"])
    nonce = str(uuid.uuid4().int % 10**10)
    for _ in range(2):  # the platform's retry is sealed afresh: other ciphertext, same message
        encrypted = wecom_crypto.encrypt(key, inner, account["receiver_id"])
        query = platform_query(account, encrypted, nonce=nonce)
        body = f"<xml><ToUserName>x</ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        answer = httpx.post(
            f"{gateway.url}/collect/{channel}", params=query, content=body, headers={"content-type": "text/xml"}
        )
        assert (answer.status_code, answer.text) == (200, "success")
    messages = raw.messages(channel)
    assert {message.value() for message in messages} == {inner}
    assert dict(messages[0].headers())["enveloped"] == b"aes"
    assert len(messages) <= 2  # two only if the second passed since: then the stream finds the duplicate by MsgId


def test_both_platforms_can_verify_the_address(gateway):
    account = gateway.accounts["wecom"]["default"]
    sealed = wecom_crypto.encrypt(wecom_crypto.aes_key(account["encoding_aes_key"]), b"8461", account["receiver_id"])
    query = platform_query(account, sealed) | {"echostr": sealed}
    answer = httpx.get(f"{gateway.url}/collect/wecom", params=query)
    assert (answer.status_code, answer.content) == (200, b"8461")
    assert answer.headers["content-type"].startswith("text/plain")
    token, timestamp = gateway.accounts["wechat"]["default"]["token"], str(int(time.time()))
    query = {
        "timestamp": timestamp,
        "nonce": "1",
        "echostr": "<script>",
        "signature": signatures.platform_signature(token, timestamp, "1"),
    }
    answer = httpx.get(f"{gateway.url}/collect/wechat", params=query)
    assert (answer.status_code, answer.text) == (200, "<script>")
    assert answer.headers["x-content-type-options"] == "nosniff"


# ---- what it tells about itself


def test_metrics_and_log_show_counts_and_no_persons(gateway):
    phone = "13987654321"
    gateway.post(f'{{"phone": "{phone}"}}'.encode(), x_kefulake_key=phone)
    gateway.post(phone.encode(), f"/collect/{phone}")
    gateway.post(phone.encode(), f"/collect/app?account={phone}")
    metrics = httpx.get(gateway.url + "/metrics").text
    assert re.search(r'kefulake_gateway_accepted_records_total\{channel="app"\} \d', metrics)
    assert 'kefulake_gateway_refused_total{channel="unknown",error="channel.unknown"}' in metrics
    assert phone not in metrics + httpx.get(gateway.url + "/refusals").text
    gateway.stop()
    log = gateway.log.read_text()
    gateway.start()
    assert phone not in log
    assert "refused at the door" in log
    for account in gateway.accounts.values():
        assert not any(value in log for value in account["default"].values())


def test_it_listens_on_loopback_only(gateway):
    addresses = {
        c.laddr.ip for c in psutil.Process(gateway.process.pid).net_connections("inet") if c.status == "LISTEN"
    }
    assert addresses == {"127.0.0.1"}
    for path in ("/metrics", "/refusals"):  # what a proxy forwards for somebody outside
        assert httpx.get(gateway.url + path, headers={"x-forwarded-for": "203.0.113.9"}).status_code == 404
    assert httpx.get(gateway.url + "/healthz").json()["kafka"] is True
