"""Bronze bytes: back to the byte, bound to their place, and the same bytes when written a second time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.privacy.bronze_cipher import BronzeCipher, BronzeCipherError, open_bronze
from pipelines.privacy.keys import MasterKey

KEY, TOPIC = MasterKey({1: b"k" * 32}), bytes(range(16))


@given(st.binary(max_size=300), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_any_bytes_at_any_place_come_back(payload, partition, offset):
    (sealed,) = BronzeCipher(KEY, TOPIC).encrypt([partition], [offset], [payload])
    assert open_bronze(sealed, KEY, partition, offset) == payload


@pytest.mark.parametrize(
    ("change", "partition", "offset"),
    [
        (lambda sealed: sealed, 1, 7),  # another partition
        (lambda sealed: sealed, 0, 8),  # another offset
        (lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]), 0, 7),  # a bit of the tag
        (lambda sealed: sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:], 0, 7),  # a bit of the text
        (lambda sealed: sealed[:1] + bytes(16) + sealed[17:], 0, 7),  # another topic's ID
        (lambda sealed: sealed[:20], 0, 7),  # cut off
        (lambda sealed: b"", 0, 7),
    ],
)
def test_altered_moved_or_cut_off_bytes_are_refused(change, partition, offset):
    (sealed,) = BronzeCipher(KEY, TOPIC).encrypt([0], [7], [b"0123456789"])
    with pytest.raises(BronzeCipherError):
        open_bronze(change(sealed), KEY, partition, offset)


def test_the_same_message_is_sealed_to_the_same_bytes_and_no_other_is():
    """After a crash a batch is written again: a nonce may come twice only with the same bytes."""
    cipher = BronzeCipher(KEY, TOPIC)
    assert cipher.encrypt([0], [7], [b"x"]) == BronzeCipher(KEY, TOPIC).encrypt([0], [7], [b"x"])
    assert (
        len(
            {*cipher.encrypt([0, 0, 1], [7, 8, 7], [b"x"] * 3), *BronzeCipher(KEY, bytes(16)).encrypt([0], [7], [b"x"])}
        )
        == 4
    )


def test_rows_of_an_older_master_key_are_still_read():
    (sealed,) = BronzeCipher(KEY, TOPIC).encrypt([0], [7], [b"x"])
    assert open_bronze(sealed, MasterKey({1: b"k" * 32, 2: b"n" * 32}), 0, 7) == b"x"
