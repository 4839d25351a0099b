"""The vault gives a value back to who has the key, and to nobody else."""

import base64
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import VaultError, VaultWriter, open_entry, rewrap

KEY = MasterKey({1: bytes(32)})


def entry_of(value="+8613812345670", token="ph1_" + "0" * 32, key=KEY):
    writer = VaultWriter(key)
    writer.add(token, "phone", value)
    return writer.drain()[0][1]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_what_goes_in_comes_out(value):
    assert open_entry(entry_of(value), KEY) == value.encode("utf-8", "replace").decode()


def test_an_entry_has_the_fields_of_its_contract_and_not_the_value():
    entry = entry_of()
    topic = contracts.topic("identity.vault")
    assert set(json.loads(entry)) == {field.name for field in topic.fields}
    assert "13812345670" not in entry
    assert base64.b64encode(b"+8613812345670").decode()[:12] not in entry


def test_each_token_is_emitted_once_until_a_reset():
    writer = VaultWriter(KEY)
    tokeniser = Tokeniser(KEY, on_new=writer.add)
    phones = pl.Series(["13812345670", "13812345671", "13812345670"])
    tokeniser.tokens(phones, "phone")
    assert len(writer.drain()) == 2
    tokeniser.tokens(phones, "phone")
    assert writer.drain() == []
    tokeniser.reset()  # a failed transaction: what was emitted may be lost
    writer.reset()
    tokeniser.tokens(phones, "phone")
    assert len(writer.drain()) == 2


def test_equal_values_have_unequal_ciphertexts():
    assert json.loads(entry_of())["ciphertext"] != json.loads(entry_of())["ciphertext"]


@pytest.mark.parametrize("name", ["wrapped_key", "nonce", "ciphertext"])
def test_an_altered_entry_is_refused(name):
    record = json.loads(entry_of())
    raw = bytearray(base64.b64decode(record[name]))
    raw[-1] ^= 1
    with pytest.raises(VaultError, match="altered"):
        open_entry({**record, name: base64.b64encode(raw).decode()}, KEY)


def test_an_entry_moved_to_another_token_is_refused():
    record = json.loads(entry_of())
    with pytest.raises(VaultError, match="altered"):
        open_entry({**record, "token": "ph1_" + "1" * 32}, KEY)


def test_another_master_key_opens_nothing():
    with pytest.raises(VaultError, match="another master key"):
        open_entry(entry_of(), MasterKey({1: b"\x01" * 32}))


def test_erasure_is_the_end_of_the_data_key():
    record = json.loads(entry_of())
    with pytest.raises(VaultError, match="erased"):
        open_entry({**record, "wrapped_key": None}, KEY)


def test_rotation_rewraps_and_touches_nothing_else():
    ring = MasterKey({1: bytes(32), 2: b"\x02" * 32})
    before = entry_of()
    after = rewrap(before, ring)
    old, new = json.loads(before), json.loads(after)
    assert {name for name in old if old[name] != new[name]} == {"wrapped_key"}
    assert open_entry(after, ring) == "+8613812345670"
    with pytest.raises(Exception, match="version 2"):  # the old ring alone cannot open it any more
        open_entry(after, KEY)
