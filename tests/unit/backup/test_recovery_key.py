"""The keys in a backup: sealed without a secret, opened by the passphrase alone."""

import json

import pytest

from infra.stack.settings import Ports, Settings
from pipelines.backup import recovery_key
from pipelines.backup.recovery_key import RecoveryKeyError
from pipelines.io import backup_keys
from pipelines.privacy.keys import MasterKey, add_version, drop_version

WORDS = "correct horse battery"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KEFULAKE_BACKUP", str(tmp_path / "backup"))
    monkeypatch.delenv("KEFULAKE_BACKUP_KEYS", raising=False)
    settings = Settings(tmp_path / "home", Ports(31000))
    settings.keys.mkdir(parents=True)
    MasterKey.create(settings.keys_file)
    return settings


def test_without_a_recovery_key_it_refuses_in_plain_words(home):
    with pytest.raises(RecoveryKeyError, match="kefulake backup init"):
        backup_keys.ship_keys(home)


def test_keys_come_back_by_the_passphrase_alone(home, tmp_path):
    backup_keys.init(home, WORDS)
    assert backup_keys.ship_keys(home)
    folder = tmp_path / "backup-keys"
    clear = home.keys_file.read_text().split(":")[1].strip()
    assert all(clear.encode() not in path.read_bytes() for path in folder.rglob("*"))
    with pytest.raises(RecoveryKeyError, match="passphrase is not the one"):
        backup_keys.bring_back(folder, "correct horse batterz", tmp_path / "other")
    assert backup_keys.bring_back(folder, WORDS, tmp_path / "other") == ["master.key"]
    assert (tmp_path / "other" / "master.key").read_text() == home.keys_file.read_text()
    assert (tmp_path / "other" / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_rotation_is_sealed_and_an_unchanged_key_is_not_sealed_again(home, tmp_path):
    backup_keys.init(home, WORDS)
    assert [backup_keys.ship_keys(home), backup_keys.ship_keys(home)] == [True, False]
    add_version(home.keys_file)
    assert backup_keys.ship_keys(home)
    backup_keys.bring_back(tmp_path / "backup-keys", WORDS, tmp_path / "other")
    assert MasterKey.load(tmp_path / "other" / "master.key", environ={}).versions == [1, 2]


def test_a_retired_version_opens_rounds_from_before(home, tmp_path):
    assert not backup_keys.keep_retired(home, 1)  # no recovery key: nobody could open a round
    backup_keys.init(home, WORDS)
    for _ in range(2):
        add_version(home.keys_file)
    before = home.keys_file.read_text()
    assert backup_keys.keep_retired(home, 2)
    drop_version(home.keys_file, 2)
    backup_keys.ship_keys(home)
    secret = before.split()[1].split(":")[1]
    assert all(secret.encode() not in path.read_bytes() for path in (tmp_path / "backup-keys").iterdir())
    backup_keys.bring_back(tmp_path / "backup-keys", WORDS, tmp_path / "other")
    assert (tmp_path / "other" / "master.key").read_text() == before
    assert (tmp_path / "other" / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_rotten_retired_version_keeps_nobody_from_the_others(home, tmp_path):
    backup_keys.init(home, WORDS)
    backup_keys.ship_keys(home)
    (tmp_path / "backup-keys" / "retired-7.sealed").write_text("rotten")
    assert backup_keys.bring_back(tmp_path / "backup-keys", WORDS, tmp_path / "other") == ["master.key"]


def test_altered_keys_are_not_taken(home, tmp_path):
    backup_keys.init(home, WORDS)
    backup_keys.ship_keys(home)
    sealed = tmp_path / "backup-keys" / "keys.sealed"
    told = json.loads(sealed.read_text())
    told["sealed"] = ("A" if told["sealed"][0] != "A" else "B") + told["sealed"][1:]
    sealed.write_text(json.dumps(told))
    with pytest.raises(RecoveryKeyError, match="altered"):
        backup_keys.bring_back(tmp_path / "backup-keys", WORDS, tmp_path / "other")


def test_it_is_set_up_once_and_not_with_a_short_passphrase(home):
    with pytest.raises(RecoveryKeyError, match="11 letters"):
        backup_keys.init(home, "elevenchars")
    backup_keys.init(home, WORDS)
    with pytest.raises(RecoveryKeyError, match="there already"):
        backup_keys.init(home, WORDS)
    assert recovery_key.LEAST_LETTERS == 12
