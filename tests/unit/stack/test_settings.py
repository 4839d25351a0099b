"""Which folder and which ports a command works on."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.stack.settings import PORT_BASE_FILE, Settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEFULAKE_HOME", "KEFULAKE_PORT_BASE", "KEFULAKE_KAFKA", "KEFULAKE_DATABASE_URL", "KEFULAKE_JARS"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_stand_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert settings.home == tmp_path / ".kefulake"
    assert settings.ports.kafka == 19200
    assert settings.bootstrap == "127.0.0.1:19200"


def test_argument_goes_before_environment_and_environment_before_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / PORT_BASE_FILE).write_text("20000")
    assert Settings.load(tmp_path).ports.base == 20000  # what `up` remembered
    monkeypatch.setenv("KEFULAKE_PORT_BASE", "21000")
    assert Settings.load(tmp_path).ports.base == 21000
    assert Settings.load(tmp_path, 22000).ports.base == 22000


@pytest.mark.parametrize(
    "text",
    [
        "80",  # ports below 1024 belong to root
        "65530",  # the block of ports would end beyond 65535
        "kafka",
        "-19200",
    ],
)
def test_unusable_port_base_is_refused_in_plain_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFULAKE_PORT_BASE", text)
    with pytest.raises(ValueError, match="must be a number from 1024 to 65515"):
        Settings.load()


def test_password_with_structure_in_it_survives_the_url(tmp_path: Path) -> None:
    from sqlalchemy.engine import make_url

    settings = Settings.load(tmp_path, 20000)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "mariadb_kefulake_writer.password").write_text("p@ss/w:rd#\n")
    assert make_url(settings.database_url).password == "p@ss/w:rd#"


def test_missing_password_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="kefulake up"):
        _ = Settings.load(tmp_path, 20000).database_url


def test_servers_of_your_own_replace_the_bundled_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFULAKE_KAFKA", "kafka.example:9092")
    monkeypatch.setenv("KEFULAKE_DATABASE_URL", "mysql+pymysql://u:p@db.example/kefulake")
    settings = Settings.load(tmp_path, 20000)
    assert (settings.own_kafka, settings.own_mariadb) == (False, False)
    assert settings.bootstrap == "kafka.example:9092"
    assert settings.database_reader_url == settings.database_url
