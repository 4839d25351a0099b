"""Fetching jars: whole or not at all, and only when the pom changed. Maven is a script here: it is the network."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from infra.stack import jars
from infra.stack.settings import Settings

WORKS = """#!/bin/sh
for word in "$@"; do case $word in -Djars.root=*) root=${word#-Djars.root=};; esac; done
mkdir -p "$root/kafka" && echo jar > "$root/kafka/a.jar" && echo x >> "$COUNTER"
"""
FAILS_HALFWAY = """#!/bin/sh
for word in "$@"; do case $word in -Djars.root=*) root=${word#-Djars.root=};; esac; done
mkdir -p "$root/kafka" && echo half > "$root/kafka/a.jar"; echo "Could not resolve host" >&2; exit 1
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("KEFULAKE_JARS", str(tmp_path / "jars"))
    monkeypatch.setenv("COUNTER", str(tmp_path / "calls"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return Settings.load(tmp_path / "home", 20000)


def maven(tmp_path: Path, script: str) -> None:
    (tmp_path / "bin").mkdir(exist_ok=True)
    path = tmp_path / "bin" / "mvn"
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_second_fetch_needs_no_network(settings: Settings, tmp_path: Path) -> None:
    maven(tmp_path, WORKS)
    assert jars.fetch(settings, "kafka")
    assert not jars.fetch(settings, "kafka")
    assert (tmp_path / "calls").read_text() == "x\n"
    assert jars.class_path(settings, "kafka") == str(settings.jars / "kafka" / "a.jar")


def test_failed_fetch_leaves_nothing_half_and_says_why(settings: Settings, tmp_path: Path) -> None:
    maven(tmp_path, FAILS_HALFWAY)
    with pytest.raises(jars.JarsMissing, match="Could not resolve host"):
        jars.fetch(settings, "kafka")
    assert not (settings.jars / "kafka").exists()
    assert list(settings.jars.iterdir()) == []


def test_changed_pom_fetches_again(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven(tmp_path, WORKS)
    jars.fetch(settings, "kafka")
    changed = tmp_path / "pom.xml"
    changed.write_text("<project/>")
    monkeypatch.setattr(jars, "POM", changed)
    assert jars.fetch(settings, "kafka")


def test_missing_jars_say_what_to_run(settings: Settings) -> None:
    with pytest.raises(jars.JarsMissing, match="make setup"):
        jars.class_path(settings, "flink")
