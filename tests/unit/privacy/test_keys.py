"""The master key: made once, private, and clear about what is wrong."""

import base64
import threading

import pytest

from pipelines.privacy.keys import MasterKey, MasterKeyError

ZEROS = base64.b64encode(bytes(32)).decode()
ONES = base64.b64encode(b"\x01" * 32).decode()


def test_a_created_key_is_private_and_loads_again(tmp_path):
    path = tmp_path / "keys" / "master.key"
    made = MasterKey.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert MasterKey.load(path, environ={}).derive("x") == made.derive("x")


def test_creating_twice_keeps_the_first_key(tmp_path):
    path = tmp_path / "master.key"
    first = MasterKey.create(path).derive("x")
    assert MasterKey.create(path).derive("x") == first


def test_two_set_ups_at_once_agree_on_one_key_and_leave_no_draft(tmp_path):
    path, keys = tmp_path / "master.key", []
    threads = [threading.Thread(target=lambda: keys.append(MasterKey.create(path).derive("x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["master.key"]


def test_settings_name_the_file(tmp_path):
    class Settings:
        keys_file = tmp_path / "k"

    made = MasterKey.create(Settings.keys_file)
    assert MasterKey.load(Settings(), environ={}).derive("x") == made.derive("x")


def test_the_environment_goes_before_the_file(tmp_path):
    MasterKey.create(tmp_path / "k")
    from_environment = MasterKey.load(tmp_path / "k", environ={"KEFULAKE_MASTER_KEY": ZEROS})
    assert from_environment.derive("x") == MasterKey({1: bytes(32)}).derive("x")


def test_the_newest_version_wraps_and_tokens_stay_on_theirs():
    ring = MasterKey.load("unused", environ={"KEFULAKE_MASTER_KEY": f"1:{ZEROS},2:{ONES}"})
    assert (ring.version, ring.token_version, ring.versions) == (2, 1, [1, 2])
    assert ring.derive("x") != ring.derive("x", 1)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"KEFULAKE_MASTER_KEY": "no base64!"}, "base64 of 32 bytes"),  # not base64
        ({"KEFULAKE_MASTER_KEY": base64.b64encode(b"short").decode()}, "32 bytes"),  # too short
        ({"KEFULAKE_MASTER_KEY": f"1:{ZEROS},1:{ONES}"}, "twice"),  # which of the two?
        ({"KEFULAKE_MASTER_KEY": f"0:{ZEROS}"}, "1..255"),  # the version is one byte of an entry
        ({"KEFULAKE_MASTER_KEY": f"2:{ZEROS}"}, "Token key version 1"),  # tokens could not be made any more
        ({}, "No master key"),  # nothing there: says how to make one
    ],
)
def test_what_is_wrong_is_said_plainly(tmp_path, environ, says):
    with pytest.raises(MasterKeyError, match=says):
        MasterKey.load(tmp_path / "absent", environ=environ)


def test_a_key_others_may_read_is_refused(tmp_path):
    path = tmp_path / "k"
    MasterKey.create(path)
    path.chmod(0o640)
    with pytest.raises(MasterKeyError, match="chmod 600"):
        MasterKey.load(path, environ={})


def test_an_unknown_version_and_the_printed_form():
    ring = MasterKey({1: bytes(32)})
    with pytest.raises(MasterKeyError, match="version 7"):
        ring.derive("x", 7)
    assert repr(ring) == "MasterKey(versions=[1])"  # a log line must not carry the key


def test_derivation_is_rfc_5869():
    """Worked with the standard library's HMAC: extract with salt 'kefulake', expand with info and counter 1."""
    import hashlib
    import hmac

    pseudo_random = hmac.digest(b"kefulake", bytes(32), hashlib.sha256)
    assert MasterKey({1: bytes(32)}).derive("token/phone") == hmac.digest(pseudo_random, b"token/phone\x01", "sha256")
