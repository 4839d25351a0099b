"""`kefulake keys retire`: the version leaves the key file, and stays sealed for the rounds of the backup before it."""

from __future__ import annotations

from collections import Counter

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.ops import keys
from pipelines.backup.places import FOLDER
from pipelines.io import backup_keys
from pipelines.privacy.keys import MasterKey, add_version


@pytest.fixture
def three_versions(settings, tmp_path, monkeypatch):
    """Version 1 makes the tokens, 3 wraps, under 2 stands nothing any more. No broker, no audit log."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "backup"))
    monkeypatch.setattr(keys, "standing", lambda settings: {"identity.vault": Counter({3: 5})})
    monkeypatch.setattr(keys, "write_down", lambda *arguments, **options: None)
    for _ in range(2):
        add_version(settings.keys_file)
    return settings


def retire(version: int):
    arguments = ["keys", "retire", str(version), "--reason", "old"]
    return CliRunner().invoke(cli.build(arguments), arguments)


def test_a_retired_version_comes_back_with_the_keys_of_the_backup(three_versions, tmp_path) -> None:
    backup_keys.init(three_versions, "correct horse battery")
    before = three_versions.keys_file.read_text()
    told = retire(2)
    assert told.exit_code == 0, told.output
    assert "finds it sealed in" in " ".join(told.output.split())
    assert MasterKey.load(three_versions).versions == [1, 3]
    backup_keys.ship_keys(three_versions)
    backup_keys.bring_back(tmp_path / "backup-keys", "correct horse battery", tmp_path / "other")
    assert (tmp_path / "other" / "master.key").read_text() == before


def test_without_a_recovery_key_nothing_is_said_to_be_sealed(three_versions) -> None:
    told = retire(2)
    assert told.exit_code == 0, told.output
    assert "sealed" not in told.output


def test_the_version_that_wraps_stays(three_versions) -> None:
    backup_keys.init(three_versions, "correct horse battery")
    assert retire(3).exit_code != 0
    assert MasterKey.load(three_versions).versions == [1, 2, 3]
