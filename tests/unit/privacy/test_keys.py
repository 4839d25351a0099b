"""The master key: made once, private, and clear about what is wrong."""

import base64
import json
import threading

import pytest

from pipelines.privacy.bronze_cipher import BronzeCipher, open_bronze
from pipelines.privacy.keys import MasterKey, MasterKeyError, add_version, drop_version
from pipelines.privacy.payloads import PayloadSealer, open_payload
from pipelines.privacy.vault import VaultWriter, open_entry, wrapped_by

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


def test_a_running_ring_takes_a_new_version_from_its_file_and_keeps_the_old_ones(tmp_path):
    path = tmp_path / "k"
    running = MasterKey.create(path)
    old = running.derive("x")
    assert not running.refresh()  # nothing was written
    assert add_version(path) == 2
    assert running.version == 1  # until it looks
    assert running.refresh()
    assert (running.version, running.token_version, running.derive("x", 1)) == (2, 1, old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["k"]


def test_who_meets_an_unknown_version_looks_into_the_file_before_it_gives_up(tmp_path):
    path = tmp_path / "k"
    reader = MasterKey.create(path)
    add_version(path)
    assert reader.derive("x", 2) == MasterKey.load(path, environ={}).derive("x", 2)
    with pytest.raises(MasterKeyError, match="version 3"):
        reader.derive("x", 3)


@pytest.mark.parametrize(
    "content",
    [
        None,  # away: an editor, a slow mount
        "1:no base64",
        f"1:{ONES}\n2:{ZEROS}",  # another key under a number we know: a file of another lake
        f"2:{ZEROS}",  # the tokens' version is missing
    ],
)
def test_a_broken_file_changes_nothing_for_who_runs(tmp_path, content):
    path = tmp_path / "k"
    path.write_text(f"1:{ZEROS}\n")
    path.chmod(0o600)
    running = MasterKey.load(path, environ={})
    path.unlink()
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    assert not running.refresh()
    assert (running.versions, running.derive("x")) == ([1], MasterKey({1: bytes(32)}).derive("x"))


def test_only_an_old_version_that_makes_no_tokens_can_go(tmp_path):
    path = tmp_path / "k"
    MasterKey.create(path)
    add_version(path)
    add_version(path)
    for version in (1, 3, 7):  # makes the tokens, wraps now, unknown
        with pytest.raises(MasterKeyError, match=f"Version {version} cannot go"):
            drop_version(path, version)
    running = MasterKey.load(path, environ={})
    running.derive("x", 2)
    drop_version(path, 2)
    assert running.refresh()
    with pytest.raises(MasterKeyError, match="version 2"):  # not out of what was derived before either
        running.derive("x", 2)


def test_what_is_sealed_by_a_running_process_follows_the_file(tmp_path):
    path = tmp_path / "k"
    key = MasterKey.create(path)
    sealer, cipher, vault = PayloadSealer(key), BronzeCipher(key, bytes(16)), VaultWriter(key)
    sealed = [sealer.seal(b"bytes", "a"), *cipher.encrypt([0], [1], [b"bytes"])]
    vault.add("ph1_1", "phone", "+8613812345670")
    add_version(path)
    key.refresh()
    sealed += [sealer.seal(b"bytes", "a"), *cipher.encrypt([0], [2], [b"bytes"])]
    vault.add("ph1_2", "phone", "+8613812345670")
    assert [base64.b64decode(sealed[0])[0], sealed[1][0], base64.b64decode(sealed[2])[0], sealed[3][0]] == [1, 1, 2, 2]
    wrapped = [wrapped_by(json.loads(entry)["wrapped_key"]) for _, entry in vault.drain()]
    assert wrapped == [1, 2]
    reader = MasterKey.load(path, environ={})
    assert [open_payload(sealed[n], reader, "a") for n in (0, 2)] == [b"bytes"] * 2
    assert [open_bronze(sealed[1], reader, 0, 1), open_bronze(sealed[3], reader, 0, 2)] == [b"bytes"] * 2


def test_readers_and_writers_go_on_through_twenty_rotations(tmp_path):
    """Each with a ring of its own, as processes have. A reader never looks by itself: what it meets must lead it."""
    path, stop, failed, read = tmp_path / "k", threading.Event(), [], [0]
    MasterKey.create(path)
    shelf: list[str] = []

    def write() -> None:
        key = MasterKey.load(path, environ={})
        writer, number = VaultWriter(key), 0
        while not stop.is_set():
            key.refresh()  # with each batch
            for number in range(number, number + 20):  # noqa: B020 - goes on counting
                writer.add(f"ph1_{number}", "phone", "+8613812345670")
            shelf.extend(entry for _, entry in writer.drain())
            number += 1
            shelf[:-2000] = []

    def keep_reading() -> None:
        key = MasterKey.load(path, environ={})
        while not stop.is_set():
            for entry in shelf[-50:]:
                try:
                    assert open_entry(entry, key) == "+8613812345670"
                    read[0] += 1
                except Exception as error:
                    failed.append(error)

    threads = [threading.Thread(target=work) for work in (write, write, keep_reading, keep_reading)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        version, before = add_version(path), read[0]
        while not failed and (read[0] < before + 200 or wrapped_by(json.loads(shelf[-1])["wrapped_key"]) < version):
            stop.wait(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert read[0] >= 20 * 200
    assert MasterKey.load(path, environ={}).version == 21
