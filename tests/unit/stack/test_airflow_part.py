"""Airflow's parts: what they are given, and what they never give away."""

from __future__ import annotations

import configparser
import stat
import subprocess
from pathlib import Path

import pytest

from infra.airflow import server
from infra.stack import programs
from infra.stack.settings import Ports, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "a home 客服", ports=Ports(20_000))


@pytest.fixture
def prepared(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Prepared with an Airflow that only notes what it was asked to do."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        asked.append(command[3:])
        server.database(settings).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(server.subprocess, "run", run)
    server.prepare(settings)
    assert [words[:2] for words in asked] == [["db", "migrate"], ["pools", "import"]]
    asked.clear()
    server.prepare(settings)
    assert asked == []  # the second time there is nothing to do
    return settings


def _config(settings: Settings) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read(server.folder(settings) / "airflow.cfg", encoding="utf-8")
    return config


def test_it_listens_on_loopback_and_tells_nobody(prepared):
    config = _config(prepared)
    assert config["api"]["host"] == "127.0.0.1"
    assert config["api"]["port"] == "20015"
    assert config["usage_data_collection"]["enabled"] == "False"
    assert config["api"]["expose_config"] == "False"
    assert "--skip-serve-logs" in server.scheduler_command(prepared)  # else logs are served on every address


def test_the_database_is_found_in_a_folder_of_any_name(prepared):
    from sqlalchemy import make_url

    address = make_url(_config(prepared)["database"]["sql_alchemy_conn"])
    assert address.database in (str(server.database(prepared)), server.database(prepared).as_posix())


def test_secrets_are_private_and_not_in_the_environment(prepared):
    config = _config(prepared)
    secrets = [config["core"]["fernet_key"], config["api"]["secret_key"], config["api_auth"]["jwt_secret"]]
    assert len(set(secrets)) == 3
    given = str(server.environment(prepared))
    assert not any(secret in given for secret in secrets)
    files = [server.folder(prepared) / "airflow.cfg", server.database(prepared), *prepared.keys.glob("airflow_*")]
    assert len(files) == 7
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_failed_migration_says_what_airflow_said(settings, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Error: disk is full")
    monkeypatch.setattr(server.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"airflow db migrate failed:\nError: disk is full"):
        server.prepare(settings)


@pytest.mark.parametrize(
    ("only", "extra", "there"),
    [
        (["airflow"], None, {"airflow-api-server", "airflow-scheduler", "airflow-dag-processor"}),
        (["mariadb"], ["airflow-scheduler"], {"mariadb", "airflow-scheduler"}),  # a part alone
    ],
)
def test_the_group_stands_for_its_parts(settings, only, extra, there):
    assert {program.name for program in programs.select(settings, only, extra)} == there


def test_it_is_left_out_unless_asked_for(settings):
    assert not {p.name for p in programs.select(settings)} & set(programs.GROUPS["airflow"])
    with pytest.raises(programs.UnknownPart, match="'airflw' is no part"):
        programs.select(settings, None, ["airflw"])
