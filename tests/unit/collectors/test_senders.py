"""Who may deliver: each scheme with a good request and with every way to get it wrong."""

import pytest

from pipelines.collectors import senders, signatures, wecom_crypto
from pipelines.collectors.accounts import Account
from pipelines.collectors.refusals import Refusal

NOW_S = 1_409_659_900.0  # 87 s after the published example was signed
KEY = wecom_crypto.aes_key("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C")
RECEIVER = "wx5823bf96d3bd56c7"
HMAC = Account("app", "default", "hmac", secret="correct horse")
WECHAT = Account("wechat", "default", "wechat", token="QDG6eK")
WECHAT_SAFE = Account("wechat", "default", "wechat", token="QDG6eK", aes_key=KEY, receiver_id=RECEIVER)
WECOM = Account("wecom", "default", "wecom", token="QDG6eK", aes_key=KEY, receiver_id=RECEIVER)
ECHO = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="


def take(account, incoming, body, now_s=NOW_S):
    return senders.message(senders.credentials(account, incoming, now_s=now_s, window_s=300), body)


def hmac_request(body=b"{}", *, timestamp=int(NOW_S), nonce="n-1", target="/collect/app", secret=HMAC.secret):
    headers = signatures.signed_headers(secret, "POST", target, timestamp, nonce, body)
    return senders.Incoming("POST", target, {}, headers)


def wechat_request(**query):
    base = {"timestamp": "1409659813", "nonce": "1372623149"}
    return senders.Incoming("POST", "/collect/wechat", base | query, {})


def test_hmac_signature_is_what_openssl_makes_of_the_documented_string():
    # printf 'POST\n/collect/app\n1409659900\nn-1\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a' |
    #   openssl dgst -sha256 -hmac 'correct horse'
    # (44136f... is the SHA-256 of the two bytes {})
    assert signatures.hmac_signature("correct horse", "POST", "/collect/app", "1409659900", "n-1", b"{}") == OPENSSL


OPENSSL = "6b6f63faef442e0ff61df17fb53e3f19df9e9e2991d8af3cdd4cb494520497f4"


def test_hmac_message_is_passed_on_as_it_came():
    body = b"\xff\x00 not even text"
    assert take(HMAC, hmac_request(body), body) is body


@pytest.mark.parametrize(
    ("incoming", "body", "error"),
    [
        (hmac_request(b"{}"), b"{ }", "signature.wrong"),  # body changed on the way
        (hmac_request(secret="guess"), b"{}", "signature.wrong"),
        (hmac_request()._replace(target="/collect/app?account=other"), b"{}", "signature.wrong"),  # other account
        (hmac_request()._replace(method="PUT"), b"{}", "signature.wrong"),
        (hmac_request()._replace(headers={}), b"{}", "signature.missing"),
        (hmac_request(timestamp=int(NOW_S) - 301), b"{}", "timestamp.outside"),  # a recorded request, played later
        (hmac_request(timestamp=int(NOW_S) + 301), b"{}", "timestamp.outside"),
        (hmac_request(nonce=""), b"{}", "signature.missing"),
        (hmac_request(nonce="n" * 129), b"{}", "signature.missing"),
    ],
)
def test_hmac_refuses(incoming, body, error):
    with pytest.raises(Refusal) as refused:
        take(HMAC, incoming, body)
    assert refused.value.error == error


@pytest.mark.parametrize("timestamp", ["", "soon", "1e9", "-1", "１４０９６５９９００", "9" * 400, "1409659900.5"])
def test_a_timestamp_that_is_no_number_of_seconds_is_refused(timestamp):
    incoming = hmac_request()
    incoming.headers[signatures.TIMESTAMP_HEADER] = timestamp
    with pytest.raises(Refusal) as refused:
        take(HMAC, incoming, b"{}")
    assert refused.value.error == "signature.missing"


def test_a_signature_with_bytes_no_text_has_is_only_wrong():
    incoming = hmac_request()
    incoming.headers[signatures.SIGNATURE_HEADER] = "\udcff\u00ff"
    with pytest.raises(Refusal) as refused:
        take(HMAC, incoming, b"{}")
    assert refused.value.error == "signature.wrong"


def test_wechat_plain_mode_checks_sha1_over_sorted_token_timestamp_nonce():
    # sorted: "1372623149" < "1409659813" < "QDG6eK"; printf '13726231491409659813QDG6eK' | sha1sum
    signature = "d2157f2f9079f4d6257b45edf665c43c62e60a0a"
    assert take(WECHAT, wechat_request(signature=signature), b"<xml>x</xml>") == b"<xml>x</xml>"
    with pytest.raises(Refusal):
        take(WECHAT, wechat_request(signature="0" * 40), b"<xml>x</xml>")


@pytest.mark.parametrize("account", [WECHAT_SAFE, WECOM])
def test_encrypted_message_comes_out_of_its_envelope(account):
    inner = "<xml><Content><![CDATA[还没收到货]]></Content></xml>".encode()
    encrypted = wecom_crypto.encrypt(KEY, inner, RECEIVER)
    signature = signatures.platform_signature("QDG6eK", "1409659813", "1372623149", encrypted)
    body = f"<xml><ToUserName>w</ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()
    assert take(account, wechat_request(msg_signature=signature), body) == inner
    changed = body.replace(encrypted[:4].encode(), b"AAAA")
    with pytest.raises(Refusal, match=r"signature\.wrong"):
        take(account, wechat_request(msg_signature=signature), changed)
    with pytest.raises(Refusal, match=r"envelope\.missing"):
        take(account, wechat_request(msg_signature=signature), inner)


def test_an_account_with_a_key_takes_no_plain_messages():
    # A plain-mode signature does not cover the body: accepting it would let anybody who saw one forge messages.
    signature = signatures.platform_signature("QDG6eK", "1409659813", "1372623149")
    with pytest.raises(Refusal, match=r"envelope\.missing"):
        take(WECHAT_SAFE, wechat_request(signature=signature), b"<xml>x</xml>")


def echo(account, query):
    incoming = senders.Incoming("GET", "/collect/x", {"timestamp": "1409659589", "nonce": "263014780"} | query, {})
    return senders.echo(senders.credentials(account, incoming, now_s=NOW_S - 200, window_s=300))


def test_wecom_echo_is_the_published_example():
    published = "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"
    assert echo(WECOM, {"msg_signature": published, "echostr": ECHO}) == b"1616140317555161061"
    with pytest.raises(Refusal, match=r"signature\.wrong"):
        echo(WECOM, {"msg_signature": "5" * 40, "echostr": ECHO})


@pytest.mark.parametrize("account", [WECHAT, WECHAT_SAFE])
def test_official_account_echo_is_signed_plainly_in_both_modes(account):
    signature = signatures.platform_signature("QDG6eK", "1409659589", "263014780")
    assert echo(account, {"signature": signature, "echostr": "4567"}) == b"4567"
    with pytest.raises(Refusal):
        echo(account, {"signature": "0" * 40, "echostr": "4567"})


def test_other_channels_have_no_echo():
    with pytest.raises(Refusal, match=r"channel\.unknown"):
        senders.echo(senders.credentials(HMAC, hmac_request(), now_s=NOW_S, window_s=300))


def test_what_counts_as_the_same_nonce():
    def key(account, incoming):
        return senders.credentials(account, incoming, now_s=NOW_S, window_s=300).nonce_key

    # An HMAC sender that tries again may sign afresh: it stays the same nonce.
    assert key(HMAC, hmac_request()) == key(HMAC, hmac_request(timestamp=int(NOW_S) + 5))
    assert key(HMAC, hmac_request()) != key(HMAC, hmac_request(nonce="n-2"))
    # Platforms draw ten digits: two messages may share them by chance in different seconds.
    first = wechat_request(signature="x")
    assert key(WECHAT, first) != key(WECHAT, wechat_request(signature="x", timestamp="1409659814"))
    assert key(WECHAT, first) == key(WECHAT, wechat_request(signature="y"))
