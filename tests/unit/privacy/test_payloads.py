"""Kept bytes: sealed, bound to their message, and given back as they came."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import PayloadError, coordinates, encrypt_payload, open_payload

KEY = MasterKey({1: bytes(32)})


@settings(deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 2**40))
def test_any_bytes_come_back(payload, offset):
    where = coordinates("raw.app", 0, offset)
    assert open_payload(encrypt_payload(payload, KEY, where), KEY, where) == payload


def test_bytes_of_another_message_do_not_open():
    with pytest.raises(PayloadError, match="another message"):
        open_payload(encrypt_payload(b"x", KEY, "raw.app/0/1"), KEY, "raw.app/0/2")


@pytest.mark.parametrize("sealed", ["", "!!", "AA==", "AQ=="])  # nothing, no base64, version 0, only a version
def test_what_is_no_sealed_payload_is_said(sealed):
    with pytest.raises((PayloadError, RuntimeError)):
        open_payload(sealed, KEY, "raw.app/0/1")


def test_an_older_key_version_still_opens():
    ring = MasterKey({1: bytes(32), 2: b"\x02" * 32})
    assert open_payload(encrypt_payload(b"old", KEY, "w"), ring, "w") == b"old"


def test_the_clear_bytes_do_not_show():
    assert "13812345670" not in encrypt_payload(b"13812345670", KEY, "w")
