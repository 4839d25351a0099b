"""Secrets: made once, private, and never made anew for data that already lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.stack import keys
from infra.stack.files import write_atomic, write_if_changed
from infra.stack.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("KEFULAKE_MASTER_KEY", raising=False)
    return Settings.load(tmp_path, 20000)


def test_master_key_is_made_once_and_is_private(settings: Settings) -> None:
    keys.ensure_master_key(settings)
    first = settings.keys_file.read_bytes()
    keys.ensure_master_key(settings)
    assert settings.keys_file.read_bytes() == first
    assert settings.keys_file.stat().st_mode & 0o777 == 0o600
    assert settings.keys.stat().st_mode & 0o777 == 0o700


def test_lost_key_of_a_lake_with_data_is_an_error_not_a_new_key(settings: Settings) -> None:
    (settings.table_path("bronze.raw_events") / "_delta_log").mkdir(parents=True)
    with pytest.raises(keys.KeyLost, match="could not open what was written"):
        keys.ensure_master_key(settings)
    assert not settings.keys_file.exists()


def test_password_is_kept_and_has_no_quotes(settings: Settings) -> None:
    first = keys.ensure_password(settings, "mariadb_root")
    assert keys.ensure_password(settings, "mariadb_root") == first
    assert len(first) >= 32
    assert set("'\"\\\n").isdisjoint(first)
    assert (settings.keys / "mariadb_root.password").stat().st_mode & 0o777 == 0o600


def test_failed_write_leaves_the_old_file_and_no_scraps(tmp_path: Path) -> None:
    path = tmp_path / "conf"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800")  # cannot be encoded: fails halfway
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_same_content_is_not_written_again(tmp_path: Path) -> None:
    assert write_if_changed(tmp_path / "conf", "a")
    assert not write_if_changed(tmp_path / "conf", "a")
    assert write_if_changed(tmp_path / "conf", "b")
