"""The envelope against the platform's own published example, and against all that breaks envelopes."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from pipelines.collectors import wecom_crypto
from pipelines.collectors.refusals import Refusal

# Token, key and messages of the example in Tencent's published sample code (all languages carry the same one).
ENCODING_AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
RECEIVER = "wx5823bf96d3bd56c7"
ECHO = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
MESSAGE = (
    "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvu"
    "JTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwG"
    "c2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9"
    "EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0"
    "lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q=="
)
KEY = wecom_crypto.aes_key(ENCODING_AES_KEY)


def sealed(plain: bytes) -> str:
    """Encrypt as it stands, so that a test can break length, padding or receiver."""
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(KEY[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def framed(message: bytes, *, length: int | None = None, receiver: bytes = RECEIVER.encode(), padding: int = 0) -> str:
    plain = b"R" * 16 + (len(message) if length is None else length).to_bytes(4, "big") + message + receiver
    pad = padding or 32 - len(plain) % 32
    plain += bytes([pad]) * pad
    return sealed(plain + b"\0" * (-len(plain) % 16))


def test_opens_the_platforms_published_echo():
    assert wecom_crypto.decrypt(KEY, ECHO, RECEIVER) == b"1616140317555161061"


def test_opens_the_platforms_published_message():
    opened = wecom_crypto.decrypt(KEY, MESSAGE, RECEIVER).decode()
    assert opened.startswith("<xml><ToUserName><![CDATA[wx5823bf96d3bd56c7]]></ToUserName>\n")
    assert "<Content><![CDATA[hello]]></Content>" in opened
    assert "<MsgId>4561255354251345929</MsgId>" in opened


@given(st.binary(max_size=300))
def test_any_message_comes_out_as_it_went_in(message):
    assert wecom_crypto.decrypt(KEY, wecom_crypto.encrypt(KEY, message, RECEIVER), RECEIVER) == message


@pytest.mark.parametrize(
    "encrypted",
    [
        "",  # nothing
        "not base64 !",
        "QUJD",  # three bytes: no AES block
        base64.b64encode(b"\0" * 32).decode(),  # random padding
        framed(b"hi", length=4_000_000_000),  # length beyond the envelope
        framed(b"hi", length=1),  # length too short: the receiver would begin inside the message
        framed(b"hi", receiver=b"wx0000000000000000"),  # meant for somebody else: the platform says check it
        framed(b"hi", receiver=b""),
        sealed(b"R" * 31 + b"\0"),  # padding byte 0
        sealed(b"R" * 31 + b"\x21"),  # padding byte 33
        sealed(b"R" * 28 + b"\x01\x02\x03\x04"),  # padding bytes differ
        sealed(b"\x10" * 16),  # padding eats everything
    ],
)
def test_a_broken_envelope_is_refused_without_saying_how(encrypted):
    with pytest.raises(Refusal) as refused:
        wecom_crypto.decrypt(KEY, encrypted, RECEIVER)
    assert (refused.value.error, refused.value.detail) == ("envelope.broken", "")


@given(st.text(max_size=200))
def test_random_text_never_breaks_out(encrypted):
    with pytest.raises(Refusal):
        wecom_crypto.decrypt(KEY, encrypted, RECEIVER)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<xml><Encrypt><![CDATA[QUJD]]></Encrypt></xml>", "QUJD"),
        (b"<xml><Encrypt>QUJD</Encrypt></xml>", "QUJD"),  # without CDATA
        (b"<xml>\n<Encrypt>\n<![CDATA[QUJD]]>\n</Encrypt></xml>", "QUJD"),
        (b'{"Encrypt": "QUJD", "ToUserName": "gh_1"}', "QUJD"),  # a mini program that chose JSON
        (b'{"Encrypt": 5}', None),
        (b'{"Encrypt": ', None),
        (b"<xml><Content>hi</Content></xml>", None),  # plain mode
        (b"<Encrypt>" * 100_000, None),  # hostile: must stay linear
        (b"<Encrypt>" + b"A" * 1_000_000, None),
        (b"\xff\xfe\x00", None),
        (b"", None),
    ],
)
def test_finds_the_ciphertext_without_parsing_xml(body, found):
    assert wecom_crypto.ciphertext_of(body) == found


@pytest.mark.parametrize("key", ["", "short", ENCODING_AES_KEY + "A", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2!"])
def test_a_key_the_console_cannot_have_shown_is_refused(key):
    with pytest.raises(ValueError, match="EncodingAESKey"):
        wecom_crypto.aes_key(key)
